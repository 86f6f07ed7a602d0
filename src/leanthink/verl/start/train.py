"""`leanthink train`: starts verl, follows it, and leaves a run's folder behind. Imports no verl itself."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import yaml

from leanthink.core import code
from leanthink.core.errors import ConfigError, DataError, DependencyError
from leanthink.core.installed import version_of
from leanthink.core.text import storable
from leanthink.files.reading import read_object
from leanthink.files.writing import make_folder, open_lock, write_text, writing
from leanthink.runs.floor import Floor
from leanthink.runs.folder import Run
from leanthink.runs.following import OnStep, Say, TrainingFailedError, claim, follow
from leanthink.runs.identity import MODEL, TRAIN_FILES, VAL_FILES, model_fact
from leanthink.runs.summary import write_summary
from leanthink.training.claim import check_folder, compared, finished_notice, is_finished, with_migration
from leanthink.verl.cpu import vllm
from leanthink.verl.start.identity import identity_of, versions
from leanthink.verl.start.launch import MAINS, Job


def train(
    job: Job,
    run: Run,
    on_step: OnStep,
    write_data: Callable[[], None] = lambda: None,
    floor: Floor | None = None,
    allowed: Sequence[str] = (),
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Run verl to the end, or go on where an earlier start of the same run stopped.

    What the run is, its data, model, keys and versions, is written into ``run.json`` and compared at the next start
    (`leanthink.runs.identity`).

    Args:
        job: what to train.
        run: the job's folder.
        on_step: called with each step's flat metrics as they appear, earlier steps of a resumed run included.
        write_data: called once the folder is this run's, before verl starts.
        floor: when the run counts as collapsed and is stopped, for good.
        allowed: names of what may differ from the folder's run (`leanthink.runs.identity.allows`).
        say: called with what the caller should know, a line each.

    Returns:
        The summary, which also lies in ``summary.json``; with ``stopped`` where the floor ended the run.

    Raises:
        StateError: the folder's run, going on or finished, is another one, or it is being trained already.
        ConfigError: ``allowed`` holds a name that nothing of a run has.
        TrainingFailedError: verl ended with an error; the message holds its last one.
        DependencyError: verl is not installed.
    """
    require_verl()
    make_folder(run.folder)
    with open_lock(run.folder / "lock") as lock:
        claim(lock, run)
        check_folder(run)
        run.mend_checkpoints()
        write_data()
        facts = identity_of(job, floor)
        migrates = job.options.get("changed_recipe") == "migrate"
        record, differing = compared(run, facts, allowed, job.steps, migrates)
        if is_finished(run, job.steps, differing):
            say(finished_notice(run, differing))
            return run.read_summary()
        resumed = run.last_checkpoint()
        for one in differing:
            say(f"changed: {one}")
        if resumed and any(one.name == TRAIN_FILES for one in differing):
            forget_position(job, run)
            say("the new training files are read from their first row")
        where = f"from step {resumed}" if resumed else "from the start"
        say(f"training {job.recipe.name} ({job.profile} profile) in {run.folder}, {where}; verl prints to {run.log}")
        write_text(run.recipe, yaml.safe_dump(job.recipe.to_node(), sort_keys=False))
        make_folder(run.attempts)
        record = record.started(facts, resumed, differing)
        record.write(run.record)
        job = replace(job, options={**with_migration(record, resumed), **job.options})
        started = time.time()
        evaluated = not any(one.name in (MODEL, VAL_FILES) for one in differing) or resumed > 0
        if evaluated and (run.validation / "0.jsonl").exists():
            job = replace(job, extra={"trainer.val_before_train": False, **job.extra})
        write_text(run.folder / "command.txt", storable(job.command())[0] + "\n")
        stopped = _follow(job, run, run.next_attempt(), lock, on_step, floor)
        return finish(job, run, time.time() - started, stopped)


def require_verl() -> None:
    """Raise unless what training needs is installed.

    Raises:
        DependencyError: naming the missing package and the command that installs it.
    """
    for module in ("verl", "ray", "transfer_queue"):
        if importlib.util.find_spec(module) is None:
            raise DependencyError(
                f"training needs {module}, which is not installed; install it with `pip install 'leanthink[verl]'` "
                "(on GPUs `pip install 'leanthink[gpu]'`)"
            )


def require_engine(job: Job) -> None:
    """Raise unless the engine that the job asks for can run here.

    Raises:
        DependencyError: naming what is missing and the cure.
    """
    if job.engine == "vllm" and (lack := vllm.lacking(version_of)):
        raise DependencyError(f"--engine vllm: {lack}; {vllm.CURE}, or train with --engine tiny")


def check_model(job: Job) -> None:
    """Refuse a model that verl would look for in vain, a quarter of a minute later.

    Raises:
        DataError: it is a path without a model, or, where nothing is looked up on the network, not in the Hub's cache.
        ConfigError: the engine has no kernel for it.
    """
    name = str(job.keys()[MODEL])
    cure = "give --model a folder that holds config.json, weights and tokenizer, or a name of the Hub"
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise DataError(f"--model {name}: the folder holds no config.json; {cure}")
        if job.engine == "vllm" and (size := vllm.wrong_heads(read_object(folder / "config.json"))):
            raise ConfigError(
                f"--engine vllm: the attention heads of {name} have {size} numbers, and vLLM's kernels for CPUs take "
                f"{', '.join(map(str, vllm.HEAD_SIZES))}; train it with --engine tiny, or give another --model"
            )
    elif "://" in name:
        return  # verl fetches it
    elif name.startswith(("/", ".", "~")) or name.count("/") > 1 or folder.exists():
        raise DataError(f"--model {name}: no such folder; {cure}")
    elif job.profile == "cpu" and "commit" not in model_fact(name):
        raise DataError(
            f"--model {name}: no such folder, and it is not in the Hub's cache; the CPU profile looks nothing up on "
            f"the network: run `hf download {name}` first, or {cure}"
        )


def forget_position(job: Job, run: Run) -> None:
    """Put away where the checkpoint stood in the earlier files, which says nothing about the new ones."""
    keys = job.keys()
    folder = run.checkpoints / f"global_step_{run.last_checkpoint()}"
    if keys.get("trainer.resume_mode") == "resume_path":
        folder = Path(str(keys.get("trainer.resume_from_path")))
    position = folder / "data.pt"
    if position.exists():
        with writing(position):
            position.replace(folder / "data.pt.of-earlier-files")


def check_accelerator(job: Job) -> None:
    """Refuse GPUs that this machine does not have, unless the run goes to a Ray cluster elsewhere.

    Raises:
        ConfigError: torch sees too few.
    """
    device = job.keys().get("trainer.device")
    if device != "cuda" or job.options.get("check_cluster") is False or os.environ.get("RAY_ADDRESS"):
        return
    import torch

    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if seen < job.gpus:
        raise ConfigError(
            f"the run wants {job.gpus} GPUs on this machine, and torch {torch.__version__} sees {seen}; give --gpus "
            f"{seen or 'N'}, set RAY_ADDRESS to the cluster that has them, or train with --profile cpu (`leanthink "
            "doctor` tells what is missing)"
        )


def _follow(
    job: Job, run: Run, attempt: Path, lock: IO[str], on_step: OnStep, floor: Floor | None
) -> dict[str, Any] | None:
    """Run verl to its end, or to the floor; then returns why it was stopped."""
    arguments = job.arguments()
    environment = dict(os.environ)
    if job.profile == "cpu":
        environment = {**job.environment, **environment, "VERL_PLATFORM": "cpu"}
    environment |= {
        "VERL_FILE_LOGGER_PATH": str(attempt.absolute()),
        code.FOLDERS: os.pathsep.join(code.folders()),
    }
    environment.setdefault("TENSORBOARD_DIR", str((run.folder / "tensorboard").absolute()))
    if job.profile == "cpu":
        environment.pop("RAY_ADDRESS", None)  # the profile's logical CPUs and GPUs need a Ray of their own
    command = [sys.executable, "-P", "-m", MAINS[job.kind], *arguments]
    return follow(command, environment, run, lock, on_step, floor, "verl")


def finish(job: Job, run: Run, seconds: float, stopped: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Compute and write the summary of a run that reached its end, or was stopped for a reason.

    Raises:
        TrainingFailedError: there is no step, or no evaluation to compare.
    """
    more = {
        "validation": job.validation(),
        "seed": job.extra.get("data.seed"),
        "stopped": None if stopped is None else dict(stopped),
    }
    try:
        return write_summary(run, job.recipe.name, job.profile, seconds, versions(), **more)
    except DataError as error:
        raise TrainingFailedError(f"{error}; see {run.log}") from error
