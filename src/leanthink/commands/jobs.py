"""What ``show`` and ``train`` share: from arguments to a job."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leanthink.commands import trust
from leanthink.core.code import check_keys_trusted
from leanthink.core.errors import ConfigError, DataError
from leanthink.core.text import quoted
from leanthink.files.writing import whole_folder
from leanthink.recipe.advice import warn
from leanthink.recipe.definition import Recipe, load_recipe
from leanthink.recipe.keys import AGENT, AGENTS, Profile, in_tree
from leanthink.recipe.lengths import LONGEST
from leanthink.recipe.overrides import read_override
from leanthink.runs.folder import Run
from leanthink.testbed.beds import DEFAULT, TESTBEDS, TOOLS
from leanthink.verl.cpu.tools import KEYS as TOOL_KEYS
from leanthink.verl.start.launch import VERL_DEFAULTS, Job
from leanthink.verl.start.schema import check_keys

SEED_KEYS = (
    "data.seed",
    "actor_rollout_ref.actor.data_loader_seed",
    "actor_rollout_ref.actor.fsdp_config.seed",
    "actor_rollout_ref.rollout.seed",
)
DATA = "data"
"""In a run's folder, where the testbed's questions lie."""
RUN_KEYS = ("trainer.default_local_dir", "trainer.validation_data_dir", "hydra.run.dir")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that make a job."""
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe's name, or a path ending in .yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the recipe or to verl's keys")
    trust.add_argument(parser)
    parser.add_argument("--out", type=Path, help="the run's folder (default: runs/RECIPE); an unfinished run goes on")
    parser.add_argument("--keep-rollouts", action="store_true", help="keep every training response, for watch, score")
    parser.add_argument("--profile", choices=("cpu", "gpu"), help="default: gpu where one is seen, else cpu")
    parser.add_argument("--trainer", choices=("verl", "trl"), default="verl", help="what trains (default: verl)")
    engines = ("tiny", "vllm")
    parser.add_argument("--engine", choices=engines, default="tiny", help="writes responses on the CPU (default: tiny)")
    parser.add_argument("--model", help="a folder or Hub name (cpu: the testbed's policy)")
    parser.add_argument("--testbed", choices=tuple(TESTBEDS), help="cpu: which task and policy (default: chains)")
    parser.add_argument("--train-file", action="append", metavar="PARQUET", help="from `leanthink prepare`; repeatable")
    parser.add_argument("--val-file", action="append", metavar="PARQUET", help="from `leanthink prepare`; repeatable")
    parser.add_argument("--steps", type=int, help="training steps (cpu: 70; gpu: what the epochs hold)")
    parser.add_argument("--nodes", type=int, default=1, help="machines (default: 1)")
    parser.add_argument("--gpus", type=int, help="GPUs a machine (default: 8), or CPU ranks (default: 1)")
    parser.add_argument("--seed", type=int, help="seed of data order, rollouts and training")


def folder_of(args: argparse.Namespace) -> Path:
    """The run's folder, as given or by the recipe's name."""
    return args.out or Path("runs") / Path(args.recipe).stem


def job_of(args: argparse.Namespace, folder: Path, data: Path | None = None, *, only_shown: bool = False) -> Job:
    """The job that the arguments describe.

    Args:
        args: the parsed arguments.
        folder: the run's, which need not exist yet.
        data: where the testbed's questions lie; in the run's folder if None.
        only_shown: whether model and data need not be there.

    Raises:
        ConfigError: an argument is wrong or missing.
    """
    profile: Profile = args.profile or default_profile()
    check_counts(args)
    given = _verl_keys(args.overrides)
    check_keys_trusted(given, "the overrides")
    options = {key.removeprefix("leanthink."): value for key, value in given.items() if key.startswith("leanthink.")}
    extra = {key: value for key, value in given.items() if not key.startswith("leanthink.")}
    if args.seed is not None:
        extra = {**dict.fromkeys(SEED_KEYS, args.seed), **extra}
    if args.keep_rollouts:
        extra = {"trainer.rollout_data_dir": str(Run(folder=folder.absolute()).rollouts), **extra}
    recipe = recipe_of(args, tree_overrides(args.overrides), profile)
    model, train, val = sources_of(args, recipe, profile, data or folder.absolute() / DATA, only_shown)
    if uses_tools(args, recipe, profile):
        extra = {**TOOL_KEYS, **extra}
    return Job(
        recipe=recipe,
        profile=profile,
        model=model,
        train_files=train,
        val_files=val,
        folder=str(folder.absolute()),
        nodes=args.nodes,
        gpus=args.gpus or (1 if profile == "cpu" else 8),
        steps=args.steps or (70 if profile == "cpu" else None),
        options=options,
        extra=extra,
        engine=args.engine,
    )


def check(job: Job) -> None:
    """Look up every key in verl's configuration, where verl is installed.

    Raises:
        ConfigError: naming the key, the value and the cure.
    """
    check_given({**job.recipe.verl, **job.extra})  # before sums are done with them
    check_given(job.keys())


def check_given(keys: Mapping[str, Any]) -> None:
    """Look up keys of verl's, where verl is installed; ours among them are left to the settings.

    Raises:
        ConfigError: naming the key, the value and the cure.
    """
    if importlib.util.find_spec("verl") is not None:
        check_keys({key: value for key, value in keys.items() if not key.startswith("leanthink.")})


def warn_of(job: Job, told: set[str] | None = None) -> None:
    """Warn of what works against itself under the keys that verl will have, its own defaults among them."""
    warn(job.recipe, {**VERL_DEFAULTS, **job.keys()}, told)


def default_profile() -> Profile:
    """``gpu`` where torch sees one, else ``cpu``."""
    import torch

    return "gpu" if torch.cuda.is_available() else "cpu"


def tree_overrides(overrides: list[str]) -> list[str]:
    """The overrides that reach into the recipe's tree, and the limit that its lengths may be shares of."""
    return [text for text in overrides if in_tree(key := text.split("=")[0]) or key == LONGEST]


def _verl_keys(overrides: list[str]) -> dict[str, Any]:
    """The overrides that do not reach into the recipe: verl's own keys, and ours under ``leanthink.``."""
    keys = {}
    for text in overrides:
        key, value = read_override(text)
        if key in RUN_KEYS:
            raise ConfigError(f"{key} is decided by the run's folder; choose that with --out")
        if not in_tree(key):
            keys[key] = value
    return keys


def check_counts(args: argparse.Namespace) -> None:
    """Refuse a number of steps or machines below 1.

    Raises:
        ConfigError: naming it.
    """
    for name in ("steps", "nodes", "gpus"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} is {value}; give 1 or more")


def recipe_of(args: argparse.Namespace, overrides: list[str], profile: Profile) -> Recipe:
    """The recipe, with overrides; on the testbed with tools any recipe's responses have tools, and room for them."""
    recipe = load_recipe(args.recipe, overrides, profile)
    if not uses_tools(args, recipe, profile):
        return recipe
    return load_recipe(args.recipe, [f"{AGENT}={AGENTS[0]}", f"{LONGEST}={TOOL_KEYS[LONGEST]}", *overrides], profile)


def uses_tools(args: argparse.Namespace, recipe: Recipe, profile: Profile) -> bool:
    """Whether the run is on the testbed with tools, which a recipe that wants tools has by itself."""
    own = args.train_file or args.val_file  # a model of one's own, without, answers the testbed's questions
    return args.testbed == TOOLS.name or (profile == "cpu" and recipe.agent is not None and not own)


def sources_of(
    args: argparse.Namespace, recipe: Recipe, profile: Profile, data: Path, only_shown: bool
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The model, and the files that are trained and validated on, under any trainer.

    Args:
        args: the parsed arguments.
        recipe: one that wants tools has the testbed with tools.
        profile: cpu for the testbed's, where the caller gave none.
        data: the folder of the testbed's questions.
        only_shown: whether they need not be there.

    Raises:
        ConfigError: one is missing, or two exclude each other.
        DataError: a file is not there.
    """
    model, train, val = args.model, args.train_file, args.val_file
    if profile == "cpu":
        model, train, val = _with_testbed(args, recipe, data)
    elif args.testbed:
        raise ConfigError(f"--testbed {args.testbed} is of the CPU profile; leave it out, or give --profile cpu")
    elif not only_shown:
        missing = [flag for flag, value in (("model", model), ("train-file", train), ("val-file", val)) if not value]
        if missing:
            raise ConfigError(f"--profile gpu needs --{missing[0]}; prepare data with `leanthink prepare`")
    for path in (*(args.train_file or ()), *(args.val_file or ())):
        if not only_shown and not Path(path).expanduser().exists():
            raise DataError(f"no file {path}; write it with `leanthink prepare`")
    return model or "MODEL", tuple(train or ("TRAIN.parquet",)), tuple(val or ("VAL.parquet",))


def _with_testbed(args: argparse.Namespace, recipe: Recipe, data: Path) -> tuple[str, list[str], list[str]]:
    """The testbed's policy and questions where the caller gave none; data of one's own need a model."""
    from leanthink.testbed import policy_path

    model, train, val = args.model, args.train_file, args.val_file
    if not train and not val:
        policy = model or str(policy_path(testbed_of(args.testbed, recipe)))
        return policy, [str(data / "train.parquet")], [str(data / "test.parquet")]
    if args.testbed:
        raise ConfigError(f"--testbed {args.testbed} brings its own questions; give it or --train-file and --val-file")
    if not (train and val and model):
        raise ConfigError("your own data on the CPU need --model, --train-file and --val-file together")
    return model, train, val


def testbed_of(given: str | None, recipe: Recipe) -> str:
    """The testbed by its name, as given or by what the recipe needs.

    Raises:
        ConfigError: the one given has no tools, and the recipe wants some.
    """
    if recipe.agent is None:
        return given or DEFAULT
    if given not in (None, TOOLS.name):
        raise ConfigError(
            f"--testbed {given} has no tools, and recipe {recipe.name} wants some (agent: {recipe.agent}); leave "
            f"--testbed out, or give {TOOLS.name}"
        )
    return TOOLS.name


def write_testbed(job: Any, data: Path, testbed: str | None = None) -> None:
    """Write a testbed's questions if the job trains on them and they are not there yet."""
    if str(data / "train.parquet") in job.train_files and not data.exists():
        from leanthink.testbed.rows import write_parquet

        with whole_folder(data) as part:
            write_parquet(part, task=TESTBEDS[testbed_of(testbed, job.recipe)].task)


def testbed_notice(job: Any, data: Path, testbed: str | None) -> str:
    """How a pasted command comes by a testbed's questions; empty where they are there, or where it needs none."""
    if str(data / "train.parquet") not in job.train_files or data.exists():
        return ""
    return (
        "`leanthink train` writes the testbed's questions first; before you paste this, write them with `python -m "
        f"leanthink.testbed.rows --testbed {testbed_of(testbed, job.recipe)} {quoted(str(data))}`"
    )
