"""The command line: one program, ``leanthink``; an error is one paragraph on standard error and a non-zero exit."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from leanthink import __version__
from leanthink.core.code import named_in, trusting
from leanthink.core.errors import AdviceWarning, LeanthinkError
from leanthink.core.installed import version_of
from leanthink.core.text import printable, shortened
from leanthink.terminal import Terminal

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

CURES: Final = {
    errno.ENOSPC: "free some space on its disk",
    errno.EDQUOT: "free some of your quota there",
    errno.EROFS: "its disk is read-only: choose another folder, or mend the disk",
    errno.EIO: "its disk fails: choose another folder, or mend the disk",
    errno.EMFILE: "close other programs, or raise the limit of open files (ulimit -n)",
}
"""What helps, by the system's number of the error."""

FAILED: Final = 1
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


class _Version(argparse.Action):
    """Prints the version, and below it what is installed of the packages that leanthink works with."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from leanthink.doctor import found_versions

        print(f"leanthink {__version__}", *found_versions(version_of), sep="\n")
        parser.exit()


def parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line; only the ``wanted`` command's module is imported, if one is named.

    So ``leanthink doctor`` still answers where what another command needs is broken.
    """
    program = argparse.ArgumentParser(
        prog="leanthink",
        description="Rewards and algorithms that make reasoning models think no longer than they need.",
    )
    program.add_argument("--version", action=_Version, nargs=0, help="show the version, and those found of others")
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
                _say(f"leanthink {command}: warning: {message}")
            else:
                shown(message, category, *place, **more)

        warnings.showwarning = show
        warnings.simplefilter("always", AdviceWarning)
        yield


def _say(text: str) -> None:
    """Print what went wrong, which may hold a text of somebody else's."""
    print(shortened(printable(text)), file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    sys.path[:] = [path for path in sys.path if path]  # "" stands for the current folder, whose files are nobody's
    with suppress(AttributeError, ValueError):  # a name or a text that is none is shown, not a traceback
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    given = list(sys.argv[1:] if arguments is None else arguments)
    program = parser(next((word for word in given if word in COMMANDS), ""))
    if not given:
        program.print_help()
        return 0
    args, rest = program.parse_known_args(given)
    if rest:  # argparse gives up on key=value behind an option
        if not hasattr(args, "overrides") or any(word.startswith("-") for word in rest):
            program.error(f"unrecognized arguments: {' '.join(rest)}; see `leanthink {args.command} --help`")
        args.overrides += rest
    try:
        with _advice_as_text(args.command), trusting(None if getattr(args, "trust_code", False) else named_in(given)):
            code = int(args.run(args, Terminal()))
            sys.stdout.flush()  # a full disk is told here, not by Python at its end
            return code
    except LeanthinkError as error:
        _say(f"leanthink {args.command}: {error}")
        return FAILED
    except KeyboardInterrupt:
        print(f"leanthink {args.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `leanthink score ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        _say(f"leanthink {args.command}: {told(error)}")
        return FAILED


def told(error: OSError) -> str:
    """A failure of the file system as a paragraph."""
    where = " and ".join(str(name) for name in (error.filename, error.filename2) if name) or "a file"
    cure = CURES.get(error.errno or 0, "check the path and its permissions")
    return f"{where}: {error.strerror or error}; {cure}, and run the same command again"


if __name__ == "__main__":
    raise SystemExit(main())
