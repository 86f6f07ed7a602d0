"""``leanthink show``: a resolved recipe, or the verl command it stands for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from leanthink.commands import jobs
from leanthink.core.errors import TrustError
from leanthink.recipe.advice import warn
from leanthink.recipe.definition import load_recipe
from leanthink.recipe.yaml import format_yaml, read_yaml


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    jobs.add_arguments(parser)
    parser.add_argument("--verl", action="store_true", help="print the `python -m verl.trainer.main_ppo` command")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the recipe as YAML, or the command."""
    if args.verl:
        job = jobs.job_of(args, testbed_data=None)
        jobs.warn_of(job)
        print(job.command())
    else:
        try:
            recipe = load_recipe(args.recipe, args.overrides)
        except TrustError as error:
            print(format_yaml(read_yaml(Path(args.recipe))), end="")
            print(f"leanthink show: {error}; shown as it stands in the file, nothing imported", file=sys.stderr)
            return 0
        warn(load_recipe(args.recipe, jobs.tree_overrides(args.overrides)), recipe.verl)
        print(format_yaml(recipe.to_node()), end="")
    return 0
