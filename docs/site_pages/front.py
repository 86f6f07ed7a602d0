"""The picture of the start page: accuracy against tokens of every method, drawn from the tables of results.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

from leanthink.core.errors import DataError

RESULTS: Final = "docs/explanation/results.md"
HEAD: Final = "| method | seeds | accuracy % | points | tokens |"
START: Final = re.compile(r"^The start: ([\d.]+) ± [\d.]+ % at ([\d.]+) ± [\d.]+ tokens", re.MULTILINE)
LABELLED: Final = {  # which points are named, and where
    "grpo": "start",
    "trle, alpha 0.7": "end",
    "dler, limit 32": "end",
    "drpo, length temperature 0.02": "start",
    "grpo_lambda": "below",
    "the penalty on every group": "start",
}
PLACES: Final = {"start": (9, 4, "start"), "end": (-9, 4, "end"), "below": (-14, 18, "middle")}
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 560, 400, 62, 22, 20, 52
TOKENS, ACCURACY = (0, 60), (0, 100)


class Point(NamedTuple):
    """A method's held-out figures: tokens a response, accuracy in percent."""

    name: str
    tokens: float
    accuracy: float


def points(text: str) -> tuple[Point, list[Point]]:
    """The start, and every method of the chains' tables, each once.

    Raises:
        DataError: the page has no start, or no such table.
    """
    start, tables = START.search(text), text.split(HEAD)[1:]
    if start is None or not tables:
        raise DataError(f"{RESULTS}: no line 'The start: ...', or no table {HEAD!r}; `make results` writes both")
    found: dict[str, Point] = {}
    for one in tables:
        for line in one.split("\n\n")[0].splitlines()[2:]:
            cells = [cell.strip().strip("`") for cell in line.strip("| ").split(" | ")]
            name, accuracy, tokens = cells[0], *(float(cells[place].split(" ")[0]) for place in (2, 4))
            found.setdefault(name, Point(name, tokens, accuracy))
    return Point("the start", float(start[2]), float(start[1])), list(found.values())


def front(found: list[Point]) -> list[Point]:
    """The points that none beats in both, by tokens."""
    best: list[Point] = []
    for one in sorted(found, key=lambda point: (point.tokens, -point.accuracy)):
        if not best or one.accuracy > best[-1].accuracy:
            best.append(one)
    return best


def _x(tokens: float) -> str:
    low, high = TOKENS
    return f"{LEFT + (tokens - low) / (high - low) * (WIDTH - LEFT - RIGHT):.1f}"


def _y(accuracy: float) -> str:
    low, high = ACCURACY
    return f"{HEIGHT - BOTTOM - (accuracy - low) / (high - low) * (HEIGHT - TOP - BOTTOM):.1f}"


def picture(root: Path) -> str:
    """The picture as SVG."""
    start, found = points((root / RESULTS).read_text(encoding="utf-8"))
    return "\n".join(_lines(start, found)) + "\n"


def _lines(start: Point, found: list[Point]) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="15" fill="#24292f">'
    )
    yield "<title>Held-out accuracy against tokens of every method on the testbed of chains</title>"
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#ffffff"/>'
    for accuracy in range(0, 101, 20):
        yield f'<path d="M{LEFT} {_y(accuracy)}H{WIDTH - RIGHT}" stroke="#e2e5e9"/>'
        yield f'<text x="{LEFT - 8}" y="{_y(accuracy)}" dy="4" text-anchor="end">{accuracy}</text>'
    for tokens in range(0, 61, 10):
        yield f'<text x="{_x(tokens)}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{tokens}</text>'
    middle = (HEIGHT - BOTTOM + TOP) // 2
    yield f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">held-out accuracy, %</text>'
    yield f'<text x="{(WIDTH + LEFT - RIGHT) // 2}" y="{HEIGHT - 10}" text-anchor="middle">tokens a response</text>'
    line = " ".join(f"{_x(one.tokens)},{_y(one.accuracy)}" for one in front(found))
    yield f'<polyline points="{line}" fill="none" stroke="#00695c" stroke-width="2" stroke-dasharray="5 4"/>'
    for one in found:
        colour = "#00695c" if one.name in LABELLED else "#90a4ae"
        yield f'<circle cx="{_x(one.tokens)}" cy="{_y(one.accuracy)}" r="5" fill="{colour}">'
        yield f"<title>{escape(one.name)}: {one.accuracy} % at {one.tokens} tokens</title></circle>"
        if side := LABELLED.get(one.name):
            right, down, anchor = PLACES[side]
            place = f'x="{_x(one.tokens)}" y="{_y(one.accuracy)}" dx="{right}" dy="{down}" text-anchor="{anchor}"'
            yield f"<text {place}>{escape(one.name.partition(',')[0])}</text>"
    yield (
        f'<path d="M{_x(start.tokens)} {_y(start.accuracy)}m-7 0h14m-7 -7v14" stroke="#b71c1c" stroke-width="3">'
        f"<title>the start: {start.accuracy} % at {start.tokens} tokens</title></path>"
    )
    yield (f'<text x="{_x(start.tokens)}" y="{_y(start.accuracy)}" dx="10" dy="16" fill="#b71c1c">the start</text>')
    yield "</svg>"
