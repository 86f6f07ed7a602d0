"""``leanthink show``: a resolved recipe, or the verl command it stands for."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from leanthink.commands import jobs
from leanthink.core.control import OWN, StatefulComposite, states
from leanthink.core.errors import TrustError
from leanthink.core.reward import State
from leanthink.recipe.advice import warn
from leanthink.recipe.definition import Recipe, load_recipe
from leanthink.recipe.registry import name_of
from leanthink.recipe.yaml import format_yaml, read_yaml
from leanthink.training import States
from leanthink.training.state import FILE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    jobs.add_arguments(parser)
    parser.add_argument("--state", action="store_true", help="print what is remembered across steps, and where it lies")
    parser.add_argument("--verl", action="store_true", help="print the command that `train` runs, to be pasted")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the recipe as YAML, the verl command, or what it remembers."""
    if args.verl:
        job = jobs.job_of(args, jobs.folder_of(args), only_shown=True)
        jobs.check(job)
        jobs.warn_of(job)
        print(job.command())
    elif args.state:
        for line in state_lines(load_recipe(args.recipe, jobs.tree_overrides(args.overrides))):
            print(line)
    else:
        try:
            recipe = load_recipe(args.recipe, args.overrides)
        except TrustError as error:
            print(format_yaml(read_yaml(Path(args.recipe))), end="")
            print(f"leanthink show: {error}; shown as it stands in the file, nothing imported", file=sys.stderr)
            return 0
        jobs.check_given(recipe.verl)
        warn(load_recipe(args.recipe, jobs.tree_overrides(args.overrides)), recipe.verl)
        print(format_yaml(recipe.to_node()), end="")
    return 0


def state_lines(recipe: Recipe) -> Iterator[str]:
    """What the parts of a recipe remember, each by its place in a checkpoint's state file.

    >>> list(state_lines(load_recipe("hapo")))[1]
    '  state.length.of (history_length): {"length": {}, "count": {}}'
    """
    start = States.start(recipe)
    kept: dict[str, tuple[Any, State]] = {
        ".".join(["state", *path, *([OWN] if isinstance(part, StatefulComposite) else [])]): (part, own)
        for path, part, own in states(recipe.reward, start.reward)
        if own
    }
    others = {"limit_state": (recipe.limit, start.limit), "advantage_state": (recipe.advantage, start.advantage)}
    kept |= {place: (part, own) for place, (part, own) in others.items() if own}
    if not kept:
        yield f"{recipe.name} remembers nothing across steps"
        return
    yield f"in {FILE} of each checkpoint, at the start:"
    for place, (part, own) in kept.items():
        yield f"  {place} ({name_of(type(part))}): {json.dumps(own)}"
