"""A grid for a terminal, or a pipe, of any width: nothing in it is cut off."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from leanthink.core.text import as_label
from leanthink.reporting.page import Grid

WIDE: Final = 150  # columns of a terminal
LESS: Final = ("where", "questions", "responses", "shared questions", "tokens, right", "tokens, wrong")
"""Columns that only a wide terminal shows."""
LEAST: Final = 10  # characters of a column of texts
_FIGURE: Final = re.compile(r"[-+<?]?\s*[\d.]|[-?]?$|refused$")
_PIECES: Final = re.compile(r"[^\s.:/,]*[\s.:/,]*")
_BREAKS: Final = (re.compile(r" (?=\[)|(?=±)"), re.compile(r" (?=\[)|(?<=,) |(?=±)"))
"""Where a figure is broken: before its interval or error, then between the bounds."""
FEW: Final = 3  # lines of a figure
_SMALLER: Final = re.compile(r"[^=_-]*[=_-]*")


def grid_table(title: str, grid: Grid, width: int) -> Table:
    """The grid as a table of up to ``width`` columns; heads, intervals and texts are folded as far as it takes."""
    shown = [place for place, head in enumerate(grid.heads) if width >= WIDE or head not in LESS]
    heads = [grid.heads[place] for place in shown]
    cells = [[as_label(row[place]) for place in shown] for row in grid.rows]
    columns = [[row[place] for row in cells] for place in range(len(heads))]
    is_text = [not all(map(_FIGURE.match, column)) for column in columns]
    room = width - 3 * len(heads) - 1
    sizes = _sizes(heads, columns, is_text, room)
    table = Table(title=title, caption=grid.note or None)
    for place, head in enumerate(heads):
        side = "left" if is_text[place] else "right"
        table.add_column(Text(folded(head, sizes[place])), justify=side, no_wrap=True, overflow="fold")  # type: ignore[arg-type]
    for row in cells:
        table.add_row(*(Text(folded(cell, size)) for cell, size in zip(row, sizes, strict=True)))
    return table


def _sizes(heads: Sequence[str], columns: Sequence[Sequence[str]], is_text: Sequence[bool], room: int) -> list[int]:
    """Characters for each column: all it wants, or heads in lines, or intervals in two, or texts share the rest."""
    longest = [max(map(len, column), default=0) for column in columns]
    wanted = [max(len(head), most) for head, most in zip(heads, longest, strict=True)]
    if sum(wanted) <= room:
        return wanted
    words = [max(map(len, head.split()), default=0) for head in heads]
    folded_heads = [max(word, most) for word, most in zip(words, longest, strict=True)]
    if sum(folded_heads) <= room:
        return folded_heads
    for apart in _BREAKS:
        pieces = [max((len(part) for cell in column for part in apart.split(cell)), default=0) for column in columns]
        least = [
            max(word, most if text else min(piece, most))
            for word, most, piece, text in zip(words, longest, pieces, is_text, strict=True)
        ]
        if sum(min(size, LEAST) if text else size for size, text in zip(least, is_text, strict=True)) <= room:
            break
    left = room - sum(size for size, text in zip(least, is_text, strict=True) if not text)
    texts = [place for place, text in enumerate(is_text) if text]
    for number, place in enumerate(sorted(texts, key=lambda place: least[place])):
        share = max(left // (len(texts) - number), LEAST)
        least[place] = min(least[place], share)
        left -= least[place]
    return least


def folded(text: str, size: int) -> str:
    r"""A text in lines of up to ``size`` signs, broken behind blanks and the signs between the words of a key.

    >>> folded("trle: reward.sigmoid_length.alpha", 22)
    'trle: reward.\nsigmoid_length.alpha'
    >>> folded("reward.sigmoid_length.alpha", 10)
    'reward.\nsigmoid_\nlength.\nalpha'
    >>> folded("75.2 [71.9, 78.4]", 12)
    '75.2\n[71.9, 78.4]'
    """
    if len(text) <= size:
        return text
    for apart in _BREAKS:
        parts = apart.split(text)
        if 1 < len(parts) <= FEW and max(map(len, parts)) <= size:
            return "\n".join(parts)
    lines = [""]
    for word in filter(None, _PIECES.findall(text)):
        for piece in _cut(word, size):
            if len((lines[-1] + piece).rstrip()) > size and lines[-1]:
                lines.append("")
            lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def _cut(word: str, size: int) -> list[str]:
    """A word whole if it fits, else between its own words, else anywhere."""
    if len(word.rstrip()) <= size:
        return [word]
    pieces = filter(None, _SMALLER.findall(word))
    return [
        part for piece in pieces for part in ([piece] if len(piece.rstrip()) <= size else textwrap.wrap(piece, size))
    ]
