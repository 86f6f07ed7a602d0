r"""Boxes in a text, and the marks around mathematics: for whoever reads answers, the verifier and rewards of texts."""

from __future__ import annotations

import re
from typing import NamedTuple

_WRAPPERS = (("**", "**"), ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("`", "`"))


class Box(NamedTuple):
    """A closed box: where it stands, characters ``[start, end)``, and what it holds."""

    start: int
    end: int
    content: str


_BRACES = re.compile(r"\\(?:boxed|fbox)\s*(\{)|\\[{}]|[{}]")
_BARE_BOX = re.compile(
    r"\\(?:boxed|fbox)\s*"
    r"([-+]?\d+(?:[.,/]\d+)*|[A-Za-z](?![A-Za-z])|\\[A-Za-z]+(?:\{[^{}]*\})+"
    r"|\\[dtc]?frac ?(?:\d|\{[^{}]*\}) ?(?:\d|\{[^{}]*\})|\\sqrt ?\d)"
    r"(?=[^\w{.,/]|[.,]\s)"
)


def boxes_in(text: str, *, truncated: bool = False) -> list[Box]:
    """The closed boxes in order, in one pass; of nested boxes the innermost, as math-verify has it."""
    ended = text if truncated else text + "\n"  # a box without braces ends where something else begins
    found = [(match.start(), match.end(), *match.span(1)) for match in _BARE_BOX.finditer(ended)]
    stack: list[tuple[int, int] | None] = []
    first = re.search(r"\\(?:boxed|fbox)", text)
    for match in _BRACES.finditer(text, first.start() if first else len(text)):
        if match[1]:
            stack.append((match.start(), match.end()))
        elif match[0] == "{":
            stack.append(None)
        elif match[0] == "}" and stack:
            opened = stack.pop()
            if opened is not None:
                found.append((opened[0], match.end(), opened[1], match.start()))
    found.sort()
    starts = [*(start for start, *_ in found[1:]), len(ended)]
    innermost = [place for place, following in zip(found, starts, strict=False) if place[1] <= following]
    return [Box(start, end, ended[begin:stop].strip()) for start, end, begin, stop in innermost]


def last_box(text: str) -> str | None:
    r"""What the last box of a text holds that closes and holds anything, whatever follows it; None without one.

    >>> last_box(r"\[ \boxed{\frac{1}{2}} \] apples"), last_box(r"\boxed{1} or \boxed{2"), last_box(r"\boxed{}")
    ('\\frac{1}{2}', '1', None)
    """
    filled = [box.content for box in boxes_in(text) if box.content]
    return filled[-1] if filled else None


def unwrap(text: str) -> str:
    r"""The text without spaces, a final stop and the marks of bold, code or maths around it.

    >>> unwrap(" **$\\frac{1}{2}$**. ")
    '\\frac{1}{2}'
    """
    text = text.strip().removesuffix(".")
    for left, right in _WRAPPERS:
        inner = text.removeprefix(left).removesuffix(right)
        if len(inner) == len(text) - len(left) - len(right) and left not in inner and right not in inner:
            text = inner.strip()
    return text
