"""Intervals by resampling questions, and the comparison of two runs on the same questions."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, TypeAlias

import numpy
from numpy.typing import NDArray

from leanthink.core.errors import ConfigError

Sums: TypeAlias = Mapping[str, NDArray[numpy.float64]]

EXACT: Final = 12  # up to so many differences all sign flips are tried
CHUNK: Final = 200  # draws at once: bounds the memory


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with the bounds of its confidence interval; NaN bounds where nothing can be said."""

    value: float
    low: float
    high: float


def bootstrap(
    sums: Mapping[str, Sequence[float]],
    statistic: Callable[[Sums], NDArray[numpy.float64]],
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """A percentile bootstrap interval, questions drawn with replacement: all samples of a question stay together.

    Args:
        sums: per question, sums over its samples (of right ones, of tokens, the count, ...), each (Q,).
        statistic: a function of the sums over questions, elementwise over draws: ``lambda s: s["right"] / s["count"]``.
        level: the interval's confidence.
        draws: resamples.
        seed: of the resampling.

    >>> bootstrap({"right": [1, 0], "count": [1, 1]}, lambda s: s["right"] / s["count"], draws=100)
    Interval(value=0.5, low=0.0, high=1.0)
    """
    if not 0 < level < 1:
        raise ConfigError(f"bootstrap: level is {level}; give a share between 0 and 1, as 0.95")
    columns = {name: numpy.asarray(values, dtype=numpy.float64) for name, values in sums.items()}
    questions = len(next(iter(columns.values())))
    if questions == 0:
        return Interval(value=math.nan, low=math.nan, high=math.nan)
    generator = numpy.random.default_rng(seed)
    drawn = []
    with numpy.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic({name: numpy.array([column.sum()]) for name, column in columns.items()})[0])
        for start in range(0, draws, CHUNK):
            shape = (min(CHUNK, draws - start), questions)
            picked = generator.integers(questions, size=shape)
            drawn.append(statistic({name: column[picked].sum(axis=1) for name, column in columns.items()}))
    known = numpy.concatenate(drawn)
    known = known[numpy.isfinite(known)]
    if questions == 1 or not len(known):
        return Interval(value=value, low=math.nan, high=math.nan)
    low, high = numpy.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=value, low=float(low), high=float(high))


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Two runs on the same questions.

    Attributes:
        questions: how many both have.
        difference: mean over questions of second minus first, with its bootstrap interval.
        p_value: two-sided, of the sign-flip test that the differences are symmetric about 0.
    """

    questions: int
    difference: Interval
    p_value: float


def paired_comparison(
    first: Mapping[Hashable, float], second: Mapping[Hashable, float], *, flips: int = 10_000, seed: int = 0
) -> PairedComparison:
    """Compares two runs by question: the mean difference, and how often random signs give one as large.

    ``p = (1 + #{|mean| >= |observed|}) / (1 + flips)``; exact, over all sign patterns, where at most 12 questions
    differ. Questions that only one run has are left out. With no question in common everything is NaN.

    >>> paired_comparison({1: 0.0, 2: 0.0, 3: 0.0}, {1: 1.0, 2: 1.0, 3: 1.0}).p_value
    0.25
    """
    shared = [question for question in first if question in second]
    differences = numpy.array([second[question] - first[question] for question in shared], dtype=numpy.float64)
    sums = {"difference": differences, "count": numpy.ones(len(shared))}
    interval = bootstrap(sums, lambda s: s["difference"] / s["count"], seed=seed)  # type: ignore[arg-type]
    return PairedComparison(
        questions=len(shared),
        difference=interval,
        p_value=sign_flip_p_value(differences, flips, seed) if shared else math.nan,
    )


def sign_flip_p_value(differences: NDArray[numpy.float64], flips: int = 10_000, seed: int = 0) -> float:
    """The two-sided p-value of :func:`paired_comparison`; 1 where nothing differs."""
    differing = differences[differences != 0]
    observed = abs(differing.sum()) * (1 - 1e-12)  # rounding must not hide ties
    if len(differing) <= EXACT:
        signs = numpy.array(list(product((-1.0, 1.0), repeat=len(differing))))
        return float((abs(signs @ differing) >= observed).mean())
    generator = numpy.random.default_rng(seed)
    as_large = 0
    for start in range(0, flips, CHUNK):
        signs = generator.integers(2, size=(min(CHUNK, flips - start), len(differing))) * 2.0 - 1
        as_large += int((abs(signs @ differing) >= observed).sum())
    return (1 + as_large) / (1 + flips)
