"""What every command asks that reads rows: which field is what, how responses are verified, whose rows."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, get_args

from leanthink.data.fields import ROLES, USUAL, Fields
from leanthink.verify.golds import Lists

OPTIONS = {
    "group": "the prompt's id",
    "gold": "the gold answer",
    "response": "the response's text",
    "prompt": "the prompt's text or messages",
    "length": "the tokens",
    "correct": "the verdict",
    "truncated": "whether a limit ended the response, or why it ended",
}


def add_arguments(parser: argparse.ArgumentParser, roles: tuple[str, ...] = ROLES) -> None:
    """The options, for the roles that a command reads."""
    add = parser.add_argument_group("rows").add_argument
    for role in roles:
        usual = ", ".join(USUAL[role][:3])
        add(f"--{role}-field", metavar="FIELD", help=f"{OPTIONS[role]}; a path as a.b[0].c will do (usual: {usual})")
    if "gold" in roles:
        add(
            "--gold-lists",
            choices=get_args(Lists),
            default="any",
            help="of several golds",
        )
    add("--source", metavar="NAME", help="take the rows whose data_source is this")
    add("--thinking-end", default="</think>", metavar="TAG", help="what closes the thinking (default: </think>)")
    add("--require-thinking-end", action="store_true", help="without an end of thinking there is no answer")


def fields_of(args: argparse.Namespace) -> Fields:
    """The fields that were named."""
    given = {role: getattr(args, f"{role}_field", None) for role in ROLES}
    return Fields(**given, gold_lists=getattr(args, "gold_lists", "any"))


def verifying(args: argparse.Namespace) -> Mapping[str, Any]:
    """The settings of the verifier beside workers and deadline."""
    return {"thinking_end": args.thinking_end, "require_thinking_end": args.require_thinking_end}
