"""``leanthink show``: a resolved recipe, the command for verl or TRL that it stands for, or a part by its name."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from leanthink.commands import jobs, theirs, under_trl
from leanthink.core.control import OWN, StatefulComposite, states
from leanthink.core.errors import TrustError
from leanthink.core.reward import State
from leanthink.recipe import parts
from leanthink.recipe.advice import warn
from leanthink.recipe.definition import Recipe, load_recipe, recipe_names
from leanthink.recipe.registry import name_of
from leanthink.recipe.yaml import format_yaml, read_yaml
from leanthink.training import States
from leanthink.training.state import FILE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    jobs.add_arguments(parser)
    parser.add_argument("--state", action="store_true", help="print what is remembered across steps, and where it lies")
    parser.add_argument("--verl", action="store_true", help="print the command that `train` runs, to be pasted")
    text = "with --verl: what the recipe would change in this script's verl command; the script is read, not run"
    parser.add_argument("--diff", metavar="SCRIPT[:LINE]", help=text)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the recipe as YAML, a command, or what it remembers; a part, where no recipe has the name."""
    known = args.recipe in recipe_names()
    if not known and (found := parts.named(args.recipe)):
        for part in found:
            print("\n".join(page(part)))
        return 0
    if args.diff is not None:
        return theirs.run(args, console.width)
    if args.trainer == "trl":
        print(under_trl.job_of(args, jobs.folder_of(args), only_shown=True).command())
    elif args.verl:
        job = jobs.job_of(args, jobs.folder_of(args), only_shown=True)
        jobs.check(job)
        jobs.warn_of(job)
        print(job.command())
        if told := jobs.testbed_notice(job, jobs.folder_of(args).absolute() / jobs.DATA, args.testbed):
            sys.stdout.flush()
            print(f"leanthink show: note: {told}", file=sys.stderr)
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


def page(part: parts.Part, width: int = 80) -> Iterator[str]:
    """A part in full, in lines of up to ``width`` characters."""
    scope = f", looks at {parts.LOOKS_AT[part.scope]}" if part.scope else ""
    yield f"{part.kind} {part.name}{scope}"
    for paragraph in (part.summary, *part.text):
        yield ""
        yield from textwrap.wrap(paragraph, width, break_long_words=False, break_on_hyphens=False)
    if part.arguments:
        yield ""
        yield "Arguments:"
    for one in part.arguments:
        default = "must be given" if one.default is None else f"default {one.default}"
        kind = f" ({one.kind}; {default})" if one.kind else f" ({default})"
        told = f"{one.name}{kind}{': ' if one.text else ''}{one.text}"
        yield from textwrap.wrap(
            told, width, initial_indent="  ", subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
        )
    if part.example:
        yield ""
        yield "In Python:"
        yield from (f"  {line}".rstrip() for line in part.example.splitlines())


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
