"""``leanthink show RECIPE --verl --diff SCRIPT``: what the recipe would change in a verl command of somebody's own."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from leanthink.commands import jobs
from leanthink.core.errors import ConfigError
from leanthink.core.text import printable, quoted
from leanthink.files.reading import read_text
from leanthink.recipe.yaml import SIZE
from leanthink.verl.hydra import literal
from leanthink.verl.start.launch import Job
from leanthink.verl.start.schema import MISSING
from leanthink.verl.start.theirs import GPUS, MODEL, NODES, TRAIN, VAL, Difference, Theirs, compare, find_command

NARROWEST: Final = 60
LONGEST: Final = 200
"""Signs of a value that are shown."""
INDENT: Final = 4
_VARIABLES: Final = re.compile(
    r"[A-Za-z0-9_./:@=,+ -]*+(?:\$(?:[A-Z_a-z][A-Z_a-z0-9]*+|\{[A-Z_a-z][A-Z_a-z0-9]*+\})[A-Za-z0-9_./:@=,+ -]*+)+"
)
"""Text with variables, and with no sign beside them that means anything in double quotes."""


def run(args: argparse.Namespace, width: int) -> int:
    """Print both commands side by side."""
    if args.trainer != "verl" or args.profile == "cpu":
        raise ConfigError("--diff compares commands of verl for GPUs; leave out --trainer trl and --profile cpu")
    theirs = read(args.diff)
    args.profile = "gpu"
    take_over(theirs, args)
    job = jobs.job_of(args, jobs.folder_of(args), only_shown=True)
    jobs.check(job)
    for line in lines(theirs, compare(theirs, job), job, args, max(width, NARROWEST)):
        print(printable(line))
    return 0


def read(given: str) -> Theirs:
    """The command in a file, or on one line of it, as ``FILE`` or ``FILE:LINE``."""
    name, colon, line = given.rpartition(":")
    if colon and line.isdigit() and not Path(given).exists():
        return find_command(read_text(Path(name), SIZE), name, int(line))
    return find_command(read_text(Path(given), SIZE), given)


def take_over(theirs: Theirs, args: argparse.Namespace) -> None:
    """Let the recipe run on their model, data and machines, where the caller names no others."""
    values = {key: value for key, value in theirs.values.items() if key not in theirs.unknown}
    if args.model is None and isinstance(theirs.values.get(MODEL), str):
        args.model = theirs.values[MODEL]
    for name, key in (("train_file", TRAIN), ("val_file", VAL)):
        files = theirs.values.get(key)
        if getattr(args, name) is None and files:
            setattr(args, name, [str(file) for file in (files if isinstance(files, list) else [files])])
    if args.gpus is None and isinstance(values.get(GPUS), int):
        args.gpus = values[GPUS]
    if args.nodes == 1 and isinstance(values.get(NODES), int):
        args.nodes = values[NODES]


def lines(theirs: Theirs, found: Difference, job: Job, args: argparse.Namespace, width: int) -> Iterator[str]:
    """Everything that is printed, in lines of up to ``width`` characters; the command at the end may be longer."""
    name = job.recipe.name
    yield from _wrapped(
        f"{args.diff}, line {theirs.line}: {theirs.program or 'a command'} with {len(theirs.values)} keys, beside "
        f"`leanthink train {args.recipe}`. Read, not run.",
        width,
    )
    pairs = (
        (f"{name} changes", found.recipe, "theirs", name),
        ("leanthink's settings for GPUs differ; yours win where you give them", found.profile, "theirs", "leanthink's"),
        (f"{name} adds", found.added, "verl's own", name),
    )
    for title, sides, left, right in pairs:
        if sides:
            yield ""
            yield from _wrapped(f"{title} ({len(sides)}):", width)
            yield from _table(sides, (left, right), theirs.unknown, width)
    for title, values in (
        (f"{name} leaves out, and verl has it at another value; give it behind the recipe to keep it", found.lost),
        (
            "who judges a response is leanthink's verifier; a function of your own is named by "
            "leanthink.verify={task: 'pkg.mod:fn'}",
            found.judges,
        ),
        ("no key of verl 0.9, a fork's or an earlier version's: what it does has to come from a recipe", found.foreign),
    ):
        if values:
            yield ""
            yield from _wrapped(f"{title} ({len(values)}):", width)
            yield from _table(
                {key: (value, "") for key, value in values.items()}, ("theirs", ""), theirs.unknown, width
            )
    yield ""
    yield from _wrapped(
        f"{found.same} keys mean the same in both; {found.calls} more make verl call leanthink: `leanthink show "
        f"{args.recipe} --verl` prints them, `leanthink show {args.recipe}` the reward, the advantage and the loss.",
        width,
    )
    if theirs.unknown:
        names = list(dict.fromkeys(one for each in theirs.unknown.values() for one in each))
        yield from _wrapped(f"note: marked (?): not known without running the script: {', '.join(names)}", width)
    if dropped := [key for key, value in _kept(found, args).items() if not _can_be_kept(value)]:
        yield from _wrapped(
            f"note: left out below, for their values are what commands print: {', '.join(dropped)}", width
        )
    for notice in theirs.notices:
        yield from _wrapped(f"note: {notice}", width)
    yield ""
    yield "With what is theirs kept, and the recipe's method:"
    yield " \\\n    ".join(command(theirs, found, args))


def command(theirs: Theirs, found: Difference, args: argparse.Namespace) -> list[str]:
    """The words of ``leanthink train`` that keep what is theirs beside the recipe's method, a line each."""
    words = [f"  leanthink train {quoted(args.recipe)}"]
    words += [f"--model {_in_shell(args.model)}"] if args.model else []
    for option, files in (("train-file", args.train_file), ("val-file", args.val_file)):
        words += [f"--{option} {_in_shell(file)}" for file in files or ()]
    words += [f"--nodes {args.nodes} --gpus {args.gpus or 8}", *map(quoted, args.overrides)]
    return words + [f"{key}={_in_shell(value)}" for key, value in _kept(found, args).items() if _can_be_kept(value)]


def _kept(found: Difference, args: argparse.Namespace) -> dict[str, Any]:
    """What is theirs and not the method's, unless the caller says otherwise."""
    given = {text.partition("=")[0] for text in args.overrides}
    theirs = {**{key: mine for key, (mine, _) in found.profile.items()}, **found.lost}
    return {key: value for key, value in theirs.items() if key not in given}


def _can_be_kept(value: Any) -> bool:
    """Whether a shell that is given the value runs nothing for it."""
    return not isinstance(value, str) or not ("`" in value or "$(" in value)


def _in_shell(value: Any) -> str:
    """A value for a shell; a plain variable stays open to it, anything else is text."""
    if isinstance(value, str) and _VARIABLES.fullmatch(value):
        return f'"{value}"'
    return quoted(value if isinstance(value, str) else literal(value))


def _table(
    sides: Mapping[str, tuple[Any, Any]], heads: tuple[str, str], unknown: Mapping[str, Any], width: int
) -> Iterator[str]:
    """Keys under their parents, with two values side by side."""
    tails = {key: key.rpartition(".")[2] for key in sides}
    most = (width - INDENT) * 2 // 5
    first = min(most, max(len(tail) for tail in tails.values()))
    each = (width - INDENT - first - 4) // 2 if heads[1] else width - INDENT - first - 2
    yield _row(("", *heads), (first, each, each))
    parents: dict[str, list[str]] = {}
    for key in sides:
        parents.setdefault(key.rpartition(".")[0], []).append(key)
    for parent, keys in parents.items():
        if parent:
            yield f"  {parent}."
        for key in keys:
            left, right = sides[key]
            left_text = f"{_shown(left)}{' (?)' if key in unknown else ''}"
            columns = [
                _cells(text, size)
                for text, size in zip((tails[key], left_text, _shown(right)), (first, each, each), strict=True)
            ]
            for place in range(max(map(len, columns))):
                yield _row(
                    tuple(column[place] if place < len(column) else "" for column in columns), (first, each, each)
                )


def _row(cells: Sequence[str], sizes: Sequence[int]) -> str:
    return (" " * INDENT + "  ".join(cell.ljust(size) for cell, size in zip(cells, sizes, strict=True))).rstrip()


def _cells(text: str, size: int) -> list[str]:
    return textwrap.wrap(text, size, break_on_hyphens=False) or [""]


def _shown(value: Any) -> str:
    if value is MISSING or value == "???":
        return "-"
    text = value if isinstance(value, str) else literal(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, subsequent_indent="  ")
