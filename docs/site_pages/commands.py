"""The reference of the command line, read off the parser."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Final

from leanthink.cli import COMMANDS, parser
from site_pages.markdown import Recipes, table

HIDDEN: Final = ("help",)


def commands(recipes: Recipes, page: str) -> str:
    """A section for each command: what it does, how it is called, its options."""
    (subparsers,) = (one for one in parser()._actions if isinstance(one, argparse._SubParsersAction))
    lines: list[str] = []
    for name in COMMANDS:
        lines += section(name, subparsers.choices[name])
    return "\n".join(lines).rstrip()


def section(name: str, sub: argparse.ArgumentParser) -> Iterator[str]:
    """The section of a command."""
    actions = [one for one in sub._actions if one.dest not in HIDDEN and one.help is not argparse.SUPPRESS]
    words = [_word(one) for one in actions if not one.option_strings]
    needed = [f"{one.option_strings[-1]} {_value(one)}" for one in actions if one.option_strings and one.required]
    yield f"## leanthink {name}"
    yield ""
    yield f"{_sentence(COMMANDS[name])}"
    yield ""
    yield "```text"
    yield " ".join(["leanthink", name, *words, *needed, "[options]"])
    yield "```"
    yield ""
    yield table(["argument", "meaning"], [[_shown(one), _told(one)] for one in actions])
    yield ""


def _word(action: argparse.Action) -> str:
    """A positional argument as usage shows it."""
    name = _value(action)
    if action.nargs in ("*", argparse.REMAINDER):
        return f"[{name} ...]"
    if action.nargs == "+":
        return f"{name} [{name} ...]"
    return f"[{name}]" if action.nargs == "?" else name


def _value(action: argparse.Action) -> str:
    """What stands for an argument's value."""
    if action.metavar is not None:
        return " ".join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.dest if not action.option_strings else action.dest.upper().replace("_", "-")


def _shown(action: argparse.Action) -> str:
    """An argument's names, with what follows them."""
    if not action.option_strings:
        return f"`{_word(action)}`"
    takes = action.nargs != 0 and not isinstance(action, argparse.BooleanOptionalAction)
    return f"`{', '.join(action.option_strings)}{' ' + _value(action) if takes else ''}`"


def _told(action: argparse.Action) -> str:
    """An argument's help, with its default where that is not said."""
    text = (action.help or "").replace("%%", "%")
    text = re.sub(r"%\((\w+)\)s", lambda name: str(getattr(action, name[1])), text)
    default = action.default
    if action.option_strings and "default" not in text and default not in (None, False, [], (), argparse.SUPPRESS):
        shown = " ".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
        text = f"{text} (default: {shown})"
    return text


def _sentence(text: str) -> str:
    """A line of help as a sentence."""
    return f"{text[0].upper()}{text[1:]}."
