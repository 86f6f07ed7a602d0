"""The picture of the start page: accuracy against tokens of every method, drawn from the search table of results.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

from leanthink.core.errors import DataError
from leanthink.testbed.front import front

RESULTS: Final = "docs/explanation/results.md"
CHAINS: Final = "| method | seeds | accuracy % | points | tokens |"
SEARCH: Final = "| method | seeds | accuracy % | tokens | tokens above the front |"
"""How the tables of the two tasks begin."""
START: Final = re.compile(r"^The start: ([\d.]+) ± [\d.]+ % at ([\d.]+) ± [\d.]+ tokens", re.MULTILINE)
CANDIDATES: Final = range(2, 9)
"""As many of each are held out."""
LABELLED: Final = {  # which points are named, how, and where
    "grpo": ("grpo", "start"),
    "vsrm_rpp": ("vsrm_rpp", "below"),
    "dler, limit 36": ("dler", "above"),
    "drpo, length temperature 0.02": ("drpo", "start"),
    "the penalty on every group": ("a penalty on every group", "start"),
    "the penalty on every group, guarded": ("the same, guarded", "start"),
}
PLACES: Final = {"start": (9, 5, "start"), "above": (0, -12, "middle"), "below": (0, 20, "middle")}
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 560, 400, 62, 22, 20, 52
TOKENS, ACCURACY = (0, 35), (0, 100)


class Point(NamedTuple):
    """A method's held-out figures: tokens a response, accuracy in percent."""

    name: str
    tokens: float
    accuracy: float


def points(text: str, head: str) -> list[Point]:
    """The start, and every method of the tables that begin so, each once.

    Raises:
        DataError: the page has no start, or no such table.
    """
    start, tables = START.search(text), text.split(head)[1:]
    if not tables or (head == CHAINS and start is None):
        raise DataError(f"{RESULTS}: no line 'The start: ...', or no table {head!r}; `make results` writes both")
    found = {}
    if head == CHAINS and start is not None:
        found["the start"] = Point("the start", float(start[2]), float(start[1]))
    names = [cell.strip() for cell in head.strip("| ").split(" | ")]
    accuracy, tokens = names.index("accuracy %"), names.index("tokens")
    for one in tables:
        for line in one.split("\n\n")[0].splitlines()[2:]:
            cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
            values = (float(cells[place].split(" ")[0]) for place in (tokens, accuracy))
            found.setdefault(cells[0], Point(cells[0], *values))
    return list(found.values())


def _x(tokens: float) -> str:
    low, high = TOKENS
    return f"{LEFT + (tokens - low) / (high - low) * (WIDTH - LEFT - RIGHT):.1f}"


def _y(accuracy: float) -> str:
    low, high = ACCURACY
    return f"{HEIGHT - BOTTOM - (accuracy - low) / (high - low) * (HEIGHT - TOP - BOTTOM):.1f}"


def picture(root: Path) -> str:
    """The picture as SVG."""
    start, *found = points((root / RESULTS).read_text(encoding="utf-8"), SEARCH)
    return "\n".join(_lines(start, found)) + "\n"


def _lines(start: Point, found: list[Point]) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="15" fill="#24292f">'
    )
    yield "<title>Held-out accuracy against tokens of every method on the search task, and the best possible</title>"
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#ffffff"/>'
    for accuracy in range(0, 101, 20):
        yield f'<path d="M{LEFT} {_y(accuracy)}H{WIDTH - RIGHT}" stroke="#e2e5e9"/>'
        yield f'<text x="{LEFT - 8}" y="{_y(accuracy)}" dy="4" text-anchor="end">{accuracy}</text>'
    for tokens in range(0, TOKENS[1] + 1, 5):
        yield f'<text x="{_x(tokens)}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{tokens}</text>'
    middle = (HEIGHT - BOTTOM + TOP) // 2
    yield f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">held-out accuracy, %</text>'
    yield f'<text x="{(WIDTH + LEFT - RIGHT) // 2}" y="{HEIGHT - 10}" text-anchor="middle">tokens a response</text>'
    best = front(dict.fromkeys(CANDIDATES, 1.0)).corners
    line = " ".join(f"{_x(tokens)},{_y(100 * accuracy)}" for tokens, accuracy in best)
    yield f'<polyline points="{line}" fill="none" stroke="#24292f" stroke-width="2"/>'
    tokens, accuracy = best[len(best) // 2]
    place = f'x="{_x(tokens)}" y="{_y(100 * accuracy)}" dx="-10" text-anchor="end"'
    yield f"<text {place}>the best possible</text>"
    for one in found:
        colour = "#00695c" if one.name in LABELLED else "#90a4ae"
        yield f'<circle cx="{_x(one.tokens)}" cy="{_y(one.accuracy)}" r="5" fill="{colour}">'
        yield f"<title>{escape(one.name)}: {one.accuracy} % at {one.tokens} tokens</title></circle>"
        if one.name in LABELLED:
            label, side = LABELLED[one.name]
            right, down, anchor = PLACES[side]
            place = f'x="{_x(one.tokens)}" y="{_y(one.accuracy)}" dx="{right}" dy="{down}" text-anchor="{anchor}"'
            yield f"<text {place}>{escape(label)}</text>"
    yield (
        f'<path d="M{_x(start.tokens)} {_y(start.accuracy)}m-7 0h14m-7 -7v14" stroke="#b71c1c" stroke-width="3">'
        f"<title>the start: {start.accuracy} % at {start.tokens} tokens</title></path>"
    )
    yield f'<text x="{_x(start.tokens)}" y="{_y(start.accuracy)}" dx="10" dy="16" fill="#b71c1c">the start</text>'
    yield "</svg>"
