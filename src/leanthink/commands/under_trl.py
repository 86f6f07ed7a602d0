"""From the arguments of ``show`` and ``train`` to a job under TRL."""

from __future__ import annotations

import argparse
from pathlib import Path

from leanthink.commands.jobs import DATA, default_profile, with_testbed
from leanthink.core.code import check_keys_trusted
from leanthink.core.errors import ConfigError, DataError
from leanthink.recipe.definition import load_recipe
from leanthink.recipe.keys import Profile
from leanthink.trl.arguments import keys_of
from leanthink.trl.start import Job, split


def job_of(args: argparse.Namespace, folder: Path, *, only_shown: bool = False) -> Job:
    """The job that the arguments describe.

    Args:
        args: the parsed arguments.
        folder: the run's, which need not exist yet.
        only_shown: whether model and data need not be there.

    Raises:
        ConfigError: an argument is wrong or missing.
    """
    profile: Profile = args.profile or default_profile()
    for name in ("steps", "nodes", "gpus"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} is {value}; give 1 or more")
    rest, options, own = split(args.overrides)
    recipe = load_recipe(args.recipe, rest, profile)
    check_keys_trusted({**keys_of(recipe, rest, profile), **own}, "the overrides")
    model, train, val = args.model, args.train_file, args.val_file
    if profile == "cpu":
        model, train, val = with_testbed(args, folder.absolute() / DATA)
    elif args.testbed:
        raise ConfigError(f"--testbed {args.testbed} is of the CPU profile; leave it out, or give --profile cpu")
    elif not only_shown:
        missing = [flag for flag, value in (("model", model), ("train-file", train), ("val-file", val)) if not value]
        if missing:
            raise ConfigError(f"--profile gpu needs --{missing[0]}; prepare data with `leanthink prepare`")
    for path in (*(args.train_file or ()), *(args.val_file or ())):
        if not only_shown and not Path(path).expanduser().exists():
            raise DataError(f"no file {path}; write it with `leanthink prepare`")
    return Job(
        recipe=recipe,
        source=args.recipe,
        overrides=tuple(args.overrides),
        profile=profile,
        model=model or "MODEL",
        train_files=tuple(train or ("TRAIN.parquet",)),
        val_files=tuple(val or ("VAL.parquet",)),
        nodes=args.nodes,
        gpus=args.gpus or (1 if profile == "cpu" else 8),
        steps=args.steps or (70 if profile == "cpu" else None),
        seed=args.seed,
        keeps_rollouts=args.keep_rollouts,
        options=options,
        own=own,
    )
