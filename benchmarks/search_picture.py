"""The picture of the search task's results: the best possible, the start, every method; those near it drawn larger."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leanthink.metrics import Interval
from leanthink.reporting.figures import Figures
from leanthink.reporting.pictures import error_bar, scaled, styles, subplots
from leanthink.reporting.variants import over_seeds
from leanthink.testbed.front import Front, Point

NEAR, HIGH = 4.5, 80.0
"""Within so many tokens of the front and above this accuracy, in percent, a variant is drawn in the second panel."""
START = "#b71c1c"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where runs stand: tokens, and accuracy in percent, over their seeds."""

    x: Interval
    y: Interval

    def mark(self, axis: Any, colour: str, shape: str, *, faint: bool = False) -> None:
        """Draw it with its intervals."""
        size, alpha = (5, 0.5) if faint else (8, 1.0)
        error_bar(axis, self.x, self.y, fmt=shape, color=colour, alpha=alpha, markersize=size)


def place_of(each: Sequence[Figures]) -> Place:
    """The place of a variant's runs."""
    accuracy = over_seeds([one.accuracy for one in each])
    return Place(x=over_seeds([one.tokens for one in each]), y=scaled(accuracy))


def picture(last: Mapping[str, Sequence[Figures]], start: Figures, best: Front, dropped: Sequence[Point]) -> Any:
    """The figure, for matplotlib to save.

    Args:
        last: the last evaluations of each variant, one a seed.
        start: the policy before training.
        best: the front.
        dropped: where the start goes as it drops waste alone.
    """
    figure, (whole, near) = subplots(1, 2, 13, 6.4, width_ratios=(1, 1.15))
    places = {name: place_of(each) for name, each in last.items()}
    close = [
        name
        for name, own in places.items()
        if own.x.value - best.tokens_at(own.y.value / 100) < NEAR and own.y.value > HIGH
    ]
    for axis in (whole, near):
        axis.plot(*_columns(best.corners), color="black", linewidth=1.6)
        axis.plot(*_columns(dropped), "--", color="black", linewidth=1)
        for name, colour, shape in styles(places):
            if axis is whole or name in close:
                places[name].mark(axis, colour, shape, faint=axis is whole and name in close)
    place_of([start]).mark(whole, START, "*")
    seeds = sorted({len(each) for each in last.values()})
    whole.set(xlim=(0, 36), ylim=(0, 102), xlabel="mean response length (tokens)")
    whole.set_ylabel(f"accuracy on {start.questions} held-out questions (%)")
    _label(whole, "the best possible,\nby calculation", best.corners[len(best.corners) // 2], (-10, 0), "right")
    _label(whole, "the start as it\ndrops waste alone", max(dropped), (6, -4), "left")
    _label(whole, "the start", (start.tokens.value, start.accuracy.value), (10, -12), "left")
    others = [own for name, own in places.items() if name not in close]
    for name, own in places.items():
        if name not in close:
            crowded = any(0 < one.x.value - own.x.value < 6 and abs(one.y.value - own.y.value) < 5 for one in others)
            _label(whole, textwrap.fill(name, 22), (own.x.value, own.y.value / 100), (9, -26 if crowded else 7), "left")
    near.set_xlabel(
        f"mean response length (tokens); bars: {seeds[0] if len(seeds) == 1 else f'{seeds[0]}-{seeds[-1]}'} seeds, the "
        "least and the greatest"
    )
    if close:
        _zoom(whole, near, {name: places[name] for name in close})
    return figure


def _zoom(whole: Any, near: Any, close: Mapping[str, Place]) -> None:
    """Set the second panel to these, each with its name at the right, and frame it in the first."""
    left, right = min(own.x.low for own in close.values()) - 1, max(own.x.high for own in close.values()) + 0.4
    low, high = min(own.y.low for own in close.values()) - 0.5, max(own.y.high for own in close.values()) + 0.5
    near.set(xlim=(left, right + 0.6 * (right - left)), ylim=(low, high), title="near the best possible")
    whole.indicate_inset((left, low, right - left, high - low), edgecolor="grey", alpha=0.8)
    by_height = sorted(close, key=lambda name: close[name].y.value)
    for rank, name in enumerate(by_height):
        height = low + (rank + 0.5) * (high - low) / len(by_height)
        near.annotate(
            textwrap.fill(name, 30), (close[name].x.value, close[name].y.value), (right + 0.1, height), fontsize=9,
            va="center", arrowprops={"arrowstyle": "-", "color": "grey", "linewidth": 0.6},
        )  # fmt: skip


def _label(axis: Any, text: str, point: Point, away: tuple[int, int], side: str) -> None:
    axis.annotate(text, (point[0], 100 * point[1]), away, textcoords="offset points", fontsize=9, ha=side)


def _columns(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [tokens for tokens, _ in points], [100 * accuracy for _, accuracy in points]
