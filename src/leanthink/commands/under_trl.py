"""From the arguments of ``show`` and ``train`` to a job under TRL."""

from __future__ import annotations

import argparse
from pathlib import Path

from leanthink.commands.jobs import DATA, check_counts, default_profile, recipe_of, sources_of
from leanthink.core.code import check_keys_trusted
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
    check_counts(args)
    rest, options, own = split(args.overrides)
    recipe = recipe_of(args, rest, profile)
    trls = {f"trl.{name}": value for name, value in own.items()}
    check_keys_trusted({**keys_of(recipe, rest, profile), **trls}, "the overrides")
    model, train, val = sources_of(args, recipe, profile, folder.absolute() / DATA, only_shown)
    return Job(
        recipe=recipe,
        source=args.recipe,
        overrides=tuple(args.overrides),
        profile=profile,
        model=model,
        train_files=train,
        val_files=val,
        nodes=args.nodes,
        gpus=args.gpus or (1 if profile == "cpu" else 8),
        steps=args.steps or (70 if profile == "cpu" else None),
        seed=args.seed,
        keeps_rollouts=args.keep_rollouts,
        options=options,
        own=own,
    )
