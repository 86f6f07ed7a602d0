"""Runs that differ in their seed only, taken together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from leanthink.metrics import Interval
from leanthink.reporting.figures import Figures, figures, last_samples
from leanthink.reporting.sources import Source
from leanthink.runs.folder import is_size

SMOOTHED: Final = 9  # steps of the centred moving mean


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The runs of one label, with the figures of each one's last evaluation (None where there is none)."""

    label: str
    sources: Sequence[Source]
    last: Sequence[Figures | None]

    @property
    def stopped(self) -> bool:
        """Whether every one of them was ended early."""
        return all(source.stopped for source in self.sources)

    def over_seeds(self, value: Callable[[Figures], Interval]) -> Interval:
        """Of one seed its bootstrap interval; of several their mean, with the least and the greatest."""
        return over_seeds([value(one) for one in self.last if one is not None])


def over_seeds(each: Sequence[Interval]) -> Interval:
    """Of one interval itself; of several the mean of their values with the least and the greatest; NaN of none.

    >>> over_seeds([Interval(value=1.0, low=0.0, high=3.0), Interval(value=3.0, low=2.0, high=4.0)])
    Interval(value=2.0, low=1.0, high=3.0)
    """
    values = [one.value for one in each if not math.isnan(one.value)]
    if len(each) == 1:
        return each[0]
    if not values:
        return Interval(value=math.nan, low=math.nan, high=math.nan)
    return Interval(value=fmean(values), low=min(values), high=max(values))


def variants(sources: Sequence[Source]) -> list[Variant]:
    """The variants in the order of their first run."""
    grouped: dict[str, list[Source]] = {}
    for source in sources:
        grouped.setdefault(source.label, []).append(source)

    def last_of(source: Source) -> Figures | None:
        last = last_samples(source)
        return None if last is None else figures(*last)

    return [Variant(label=label, sources=own, last=list(map(last_of, own))) for label, own in grouped.items()]


def curve(sources: Sequence[Source], key: str) -> list[tuple[int, float, float, float]]:
    """A training metric as (step, mean over seeds, least, greatest) of the seeds' smoothed curves."""
    by_step: dict[int, list[float]] = {}
    for source in sources:
        known = [(row["step"], float(row[key])) for row in source.metrics if is_size(row.get(key))]
        for step, value in smoothed(known):
            by_step.setdefault(int(step), []).append(value)
    return [(step, fmean(values), min(values), max(values)) for step, values in sorted(by_step.items())]


def smoothed(points: Sequence[tuple[float, float]], width: int = SMOOTHED) -> list[tuple[float, float]]:
    """A centred moving mean, with what there is at the ends.

    >>> smoothed([(1, 1.0), (2, 2.0), (3, 6.0)], width=3)
    [(1, 1.5), (2, 3.0), (3, 4.0)]
    """
    half = width // 2
    values = [value for _, value in points]
    windows = [values[max(0, place - half) : place + half + 1] for place in range(len(values))]
    return [(step, sum(window) / len(window)) for (step, _), window in zip(points, windows, strict=True)]
