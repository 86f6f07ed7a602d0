"""The command line: one program, ``leanthink``; an error is one paragraph on standard error and a non-zero exit."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from rich.console import Console

from leanthink import __version__
from leanthink.core.errors import AdviceWarning, LeanthinkError

COMMANDS: Final = {
    "list": "recipes and registered parts",
    "show": "the resolved recipe; with --verl the whole command it stands for",
    "train": "train a policy by a recipe with the real verl trainer",
    "sweep": "train many: recipes, variants, changes and seeds, from one file; goes on where it was stopped",
    "check": "contract tests of a reward or an advantage, your own included",
    "score": "replay stored rollouts through recipes: every part of the reward, advantages, diagnostics",
    "verify": "judge answers: what was extracted, who decided, the verdict, why, how long it took",
    "prepare": "turn questions and answers into the parquet files that verl trains on",
    "pairs": "preference pairs for DPO, from rollouts of a long-thinking and a short-thinking model",
    "merge": "add the largest weight changes of a trained model back to its base (update-selective merging)",
    "report": "finished runs side by side: accuracy and tokens before and after",
    "watch": "a running or finished run in the browser: curves, responses, verdicts; for this machine only",
    "doctor": "check versions, the plug-in in verl, the verifier, the testbed, disk and memory",
}

FAILED: Final = 1
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


def parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line; only the ``wanted`` command's module is imported, if one is named.

    So ``leanthink doctor`` still answers where what another command needs is broken.
    """
    program = argparse.ArgumentParser(
        prog="leanthink",
        description="Rewards and algorithms that make reasoning models think no longer than they need.",
    )
    program.add_argument("--version", action="version", version=f"leanthink {__version__}")
    subparsers = program.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=text)
        if wanted in (None, name):
            module = importlib.import_module(f"leanthink.commands.{name}")
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    return program


@contextmanager
def _advice_as_text(command: str) -> Iterator[None]:
    """Print advice as a paragraph, without the place in the source that Python shows; other warnings as ever."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, AdviceWarning):
                print(f"leanthink {command}: warning: {message}", file=sys.stderr)
            else:
                shown(message, category, *place, **more)

        warnings.showwarning = show
        warnings.simplefilter("always", AdviceWarning)
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # so that "my_rewards:Mine" is found next to where the command runs
    with suppress(AttributeError, ValueError):  # a name or a text that is none is shown, not a traceback
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    given = list(sys.argv[1:] if arguments is None else arguments)
    program = parser(next((word for word in given if word in COMMANDS), ""))
    args, rest = program.parse_known_args(given)
    if rest:  # argparse gives up on key=value behind an option
        if not hasattr(args, "overrides") or any(word.startswith("-") for word in rest):
            program.error(f"unrecognized arguments: {' '.join(rest)}; see `leanthink {args.command} --help`")
        args.overrides += rest
    try:
        with _advice_as_text(args.command):
            return int(args.run(args, Console()))
    except LeanthinkError as error:
        print(f"leanthink {args.command}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"leanthink {args.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `leanthink score ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


if __name__ == "__main__":
    raise SystemExit(main())
