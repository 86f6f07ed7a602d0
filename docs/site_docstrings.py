"""Docstrings as Markdown for the API's pages: examples in fences, roles of another tool as plain code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from griffe import Extension, Object

FACTS: Final = re.compile(r"^Class facts:\n(?:[ \t]+.*\n?)+", re.MULTILINE)
FACT: Final = re.compile(r"^(    )(\w+): ", re.MULTILINE)
ROLE: Final = re.compile(r":(?:class|func|meth|mod|attr|data):`~?([\w.]+)`")


def fenced(text: str) -> str:
    r"""A docstring whose interactive examples, which end at a blank line, stand in fences.

    >>> fenced("One.\n\n>>> 1\n1\n\nTwo.").splitlines()
    ['One.', '', '```pycon', '>>> 1', '1', '```', '', 'Two.']
    """
    return "\n".join(_lines(FACTS.sub(_listed, ROLE.sub(r"`\1`", text))))


def _listed(facts: re.Match[str]) -> str:
    """What stands under ``Class facts:``, a point each."""
    return FACT.sub(r"\1- `\2`: ", facts[0])


def _lines(text: str) -> Iterator[str]:
    inside = False
    for line in text.splitlines():
        if not inside and line.lstrip().startswith(">>> "):
            inside = True
            yield "```pycon"
        elif inside and not line.strip():
            inside = False
            yield "```"
        yield line.strip() if inside and line.lstrip().startswith(">>>") else line
    if inside:
        yield "```"


class Docstrings(Extension):
    """Rewrites each docstring once, before it is parsed."""

    def on_object(self, *, obj: Object, **more: Any) -> None:
        """Called for every object that is loaded."""
        if obj.docstring is not None and not obj.is_alias:
            obj.docstring.value = fenced(obj.docstring.value)
