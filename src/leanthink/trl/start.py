"""`leanthink train --trainer trl`: starts a trainer under TRL, follows it, and leaves a run's folder behind.

Imports no TRL: what trains is `leanthink.trl.main`, in processes of its own.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from leanthink.core import code
from leanthink.core.errors import DataError, DependencyError
from leanthink.core.text import on_one_line, quoted
from leanthink.files.writing import make_folder, open_lock, write_text
from leanthink.recipe.definition import Recipe
from leanthink.recipe.keys import Profile
from leanthink.recipe.overrides import read_override
from leanthink.runs.floor import Floor
from leanthink.runs.folder import STATE, Run
from leanthink.runs.following import OnStep, Say, TrainingFailedError, claim, follow
from leanthink.runs.identity import MODEL, STEPS, TRAIN_FILES, VAL_FILES, facts_of
from leanthink.training.claim import check_folder, compared, finished_notice, is_finished, with_migration
from leanthink.training.settings import Settings
from leanthink.trl.arguments import arguments, keys_of, told
from leanthink.trl.keeping import Keeper, versions

OWN: Final = "trl."
"""How an override begins that is an argument of TRL's ``GRPOConfig``: ``trl.use_vllm=true``."""
OPTION: Final = "leanthink."

BESIDE: Final = frozenset(
    (
        *("output_dir", "run_name", "logging_dir", "logging_steps", "report_to", "disable_tqdm", "max_steps"),
        *("save_steps", "save_total_limit", "save_strategy", "num_train_epochs", "gradient_checkpointing"),
        *("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"),
        *("vllm_gpu_memory_utilization", "vllm_server_base_url", "vllm_server_host", "vllm_server_port"),
    )
)
"""TRL's arguments that may change from start to start: how long, how often, what fits into memory."""


_BEGINS_LINE: Final = re.compile(r"--(?:model|train-file|val-file|run)$|\w[\w.]*=")
"""Words of a printed command that begin a line of it."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training run under TRL.

    Attributes:
        recipe: what to train by, loaded for the same profile.
        source: how it was named: a name, or a path ending in .yaml.
        overrides: ``key=value`` as given: the recipe's tree, verl's keys, ``leanthink.`` options, ``trl.`` arguments.
        profile: ``cpu`` or ``gpu``.
        model: a folder or a Hub name.
        train_files: parquet files as ``leanthink prepare`` writes them; so are ``val_files``.
        nodes: machines.
        gpus: processes on each: GPUs, or CPU ranks.
        steps: training steps, one generation each; None for as many as the epochs hold.
        seed: of data order, rollouts and training.
        keeps_rollouts: whether every training response is kept.
    """

    recipe: Recipe
    source: str
    overrides: tuple[str, ...]
    profile: Profile
    model: str
    train_files: tuple[str, ...]
    val_files: tuple[str, ...]
    nodes: int = 1
    gpus: int = 1
    steps: int | None = None
    seed: int | None = None
    keeps_rollouts: bool = False
    checkpoints: str = "checkpoints"
    options: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> dict[str, Any]:
        """verl's keys of the run, from which TRL's arguments are made."""
        return keys_of(self.recipe, self._verls, self.profile)

    @property
    def _verls(self) -> list[str]:
        return [text for text in self.overrides if not text.startswith((OWN, OPTION))]

    def arguments(self) -> dict[str, Any]:
        """The arguments of ``GRPOConfig``, as plain values.

        Raises:
            ConfigError: what TRL cannot do, or sizes that do not divide.
        """
        seed = {} if self.seed is None else {"seed": self.seed}
        own = {"output_dir": self.checkpoints, **seed, **self.own}
        world = self.nodes * self.gpus
        return arguments(self.recipe, self.keys, profile=self.profile, steps=self.steps, world=world, own=own)

    def notices(self) -> list[str]:
        """What to know of the recipe under TRL."""
        return told(self.recipe, self.keys)

    def words(self, run: Path | None = None) -> list[str]:
        """What `leanthink.trl.main` is started with."""
        words = [self.source, *self.overrides, "--profile", self.profile, "--model", self.model]
        for flag, files in (("--train-file", self.train_files), ("--val-file", self.val_files)):
            words += [word for file in files for word in (flag, file)]
        for flag, value in (("--steps", self.steps), ("--seed", self.seed), ("--run", run)):
            words += [] if value is None else [flag, str(value)]
        return words + ["--keep-rollouts"] * self.keeps_rollouts

    def launcher(self) -> list[str]:
        """What starts the processes: accelerate, or Python alone where one is enough."""
        if self.profile == "cpu" and self.nodes * self.gpus == 1:
            return ["python", "-m"]
        ranks = ["--num_machines", str(self.nodes), "--num_processes", str(self.nodes * self.gpus)]
        device = ["--cpu"] if self.profile == "cpu" else ["--mixed_precision", "bf16"]
        several = ["--multi_gpu"] if self.profile == "gpu" and self.nodes * self.gpus > 1 else []
        return ["accelerate", "launch", *device, *several, *ranks, "-m"]

    def command(self) -> str:
        """The whole command, to be pasted into a shell; below it, as comments, what it means to TRL."""
        first = " ".join([*self.launcher(), "leanthink.trl.main"])
        for word in self.words(Path("runs") / self.recipe.name):
            first += f" \\\n  {quoted(word)}" if _BEGINS_LINE.match(word) else f" {quoted(word)}"
        told = [*self.notices(), *(f"{name}: {value!r}" for name, value in sorted(self.arguments().items()))]
        return "\n".join([first, *(f"# {on_one_line(text)}" for text in told)])  # what follows a line's end would run

    def facts(self, floor: Floor | None = None) -> dict[str, Any]:
        """By what the run is known again."""
        given = {f"{OWN}{name}": value for name, value in self.arguments().items() if name not in BESIDE}
        data = {TRAIN_FILES: list(self.train_files), VAL_FILES: list(self.val_files), MODEL: self.model}
        settings = Settings.of(self.recipe, **self.options).node()
        options = {name: value for name, value in settings.items() if name in self.options}
        keys = {**given, **data, STEPS: self.steps}
        return facts_of(keys, self.recipe.parts(), options, versions(), None if floor is None else vars(floor))


def require_trl() -> None:
    """Raise unless what training needs is installed.

    Raises:
        DependencyError: naming the missing package and the command that installs it.
    """
    for module in ("trl", "accelerate", "datasets"):
        if importlib.util.find_spec(module) is None:
            raise DependencyError(
                f"training under TRL needs {module}, which is not installed; install it with "
                "`pip install 'leanthink[trl]'`"
            )


def train(
    job: Job,
    run: Run,
    on_step: OnStep,
    write_data: Callable[[], None] = lambda: None,
    floor: Floor | None = None,
    allowed: Sequence[str] = (),
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Train under TRL to the end, or go on where an earlier start of the same run stopped.

    The arguments are those of `leanthink.verl.start.train.train`.

    Raises:
        StateError: the folder's run is another one, or it is being trained already.
        ConfigError: what TRL cannot do, or ``allowed`` holds a name that nothing of a run has.
        TrainingFailedError: it ended with an error; the message holds its last one.
        DependencyError: TRL is not installed.
    """
    require_trl()
    job.arguments()
    make_folder(run.folder)
    with open_lock(run.folder / "lock") as lock:
        claim(lock, run)
        check_folder(run)
        write_data()
        facts = job.facts(floor)
        migrates = job.options.get("changed_recipe") == "migrate"
        record, differing = compared(run, facts, allowed, job.steps, migrates)
        if is_finished(run, job.steps, differing):
            say(finished_notice(run, differing))
            return run.read_summary()
        for one in differing:
            say(f"changed: {one}")
        last = last_checkpoint(run.checkpoints)
        resumed = 0 if last is None else int(last.name.rpartition("-")[2])
        where = f"from {last.name}" if last else "from the start"
        say(
            f"training {job.recipe.name} ({job.profile} profile, TRL) in {run.folder}, {where}; TRL prints to {run.log}"
        )
        for notice in job.notices():
            say(f"note: {notice}")
        write_text(run.recipe, yaml.safe_dump(job.recipe.to_node(), sort_keys=False))
        make_folder(run.attempts)
        record = record.started(facts, resumed, differing)
        record.write(run.record)
        words = job.words(run.folder.absolute())
        words += [f"{OPTION}{name}={value}" for name, value in with_migration(record, resumed).items()]
        write_text(
            run.folder / "command.txt",
            " ".join([*job.launcher(), "leanthink.trl.main", *map(quoted, words)]) + "\n",
        )
        started = time.time()
        stopped = follow(_started(job, words), _environment(job, run), run, lock, on_step, floor, "TRL")
        more = {"seed": job.seed, "stopped": stopped}
        try:
            return Keeper(run, job.recipe, profile=job.profile).summary(time.time() - started, **more)
        except DataError as error:
            raise TrainingFailedError(f"{error}; see {run.log}") from error


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of TRL's below a folder: one with what the recipe remembers, written last of all."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{STATE}")]
    steps = {int(path.name.rpartition("-")[2]): path for path in found if path.name.rpartition("-")[2].isdecimal()}
    return steps[max(steps)] if steps else None


def split(overrides: Sequence[str]) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    """Overrides of the recipe and of verl's keys; our options; TRL's own arguments.

    Raises:
        ConfigError: an override that is none.

    >>> split(["reward.kimi_length=1", "leanthink.truncated=mask", "trl.use_vllm=true"])
    (['reward.kimi_length=1'], {'truncated': 'mask'}, {'use_vllm': True})
    """
    rest, options, own = [], {}, {}
    for text in overrides:
        key, value = read_override(text)
        if key.startswith(OPTION):
            options[key.removeprefix(OPTION)] = value
        elif key.startswith(OWN):
            own[key.removeprefix(OWN)] = value
        else:
            rest.append(text)
    return rest, options, own


def _started(job: Job, words: Sequence[str]) -> list[str]:
    launcher = job.launcher()
    python = [sys.executable, "-P", *([] if launcher[0] == "python" else ["-m", "accelerate.commands.launch"])]
    return [*python, *launcher[1 if launcher[0] == "python" else 2 :], "leanthink.trl.main", *words]


def _environment(job: Job, run: Run) -> dict[str, str]:
    environment = {**os.environ, code.FOLDERS: os.pathsep.join(code.folders())}
    environment["PYTHONSAFEPATH"] = "1"  # for what accelerate starts: the current folder hides no module
    environment.setdefault("TENSORBOARD_LOGGING_DIR", str((run.folder / "tensorboard").absolute()))
    if job.profile == "cpu":
        environment.setdefault("OMP_NUM_THREADS", "1")  # a policy so small gains nothing from more threads
        environment["HF_HUB_OFFLINE"] = environment.get("HF_HUB_OFFLINE", "1")
    return environment
