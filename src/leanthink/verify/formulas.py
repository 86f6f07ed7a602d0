r"""Formulas in running text: ``$...$``, ``$$...$$``, ``\(...\)`` and ``\[...\]``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache


def formulas_in(text: str, dollars: re.Pattern[str]) -> Iterator[tuple[str, int, int]]:
    r"""The formulas of a text, left to right: what each says, where it begins, and where it ends.

    A bracket goes up to the first that closes it; one that nothing closes, or with nothing in it, is passed over. That
    nothing closes it is found out once, not at each bracket: a text may consist of them.

    Args:
        text: the text.
        dollars: how a formula between dollars looks; one group of its takes what it says.

    >>> list(formulas_in(r"\(a \(b\) $c$", re.compile(r"\$([^$]+)\$")))
    [('a \\(b', 0, 9), ('c', 10, 13)]
    """
    opening = _with_brackets(dollars)
    last = {"\\(": text.rfind("\\)"), "\\[": text.rfind("\\]")}
    place = 0
    while (found := opening.search(text, place)) is not None:
        start, end = found.span()
        if found[0] in last and found.lastindex is None:
            closes = text.find(_CLOSES[found[0]], end) if end < last[found[0]] else -1
            if closes <= end:
                place = start + 1
                continue
            inner, end = text[end:closes], closes + 2
        else:
            inner = found[found.lastindex or 0]
        yield inner, start, end
        place = end


_CLOSES = {"\\(": "\\)", "\\[": "\\]"}


@lru_cache
def _with_brackets(dollars: re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(rf"{dollars.pattern}|\\[(\[]", dollars.flags)
