"""Two tables of a report: what responses with tools cost, and whether a model obeys the level of effort.

On the tool testbed it is known which calls were wasted.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from leanthink.metrics import Interval, bootstrap
from leanthink.reporting.figures import figures
from leanthink.reporting.fronts import calls_of
from leanthink.reporting.page import Grid
from leanthink.reporting.sources import Sample
from leanthink.reporting.tables import interval
from leanthink.rewards.counted import (
    CALLS,
    CONTEXT_TOKENS,
    FAILED_CALLS,
    SECONDS,
    THINKING_LENGTH,
    TOOL_TOKENS,
    TURNS,
)

Runs = Sequence[tuple[str, Sequence[Sample]]]
"""The last evaluation of each run, by its name."""

COUNTED: Final[Mapping[str, str]] = {
    THINKING_LENGTH: "tokens of thinking",
    TOOL_TOKENS: "tokens read from tools",
    CONTEXT_TOKENS: "tokens of context",
    TURNS: "turns",
    CALLS: "tool calls",
    FAILED_CALLS: "failed calls",
    SECONDS: "seconds",
}
OBEYS, PARTLY, NOT = "yes", "in order, intervals meet", "no"


def turns_grid(runs: Runs) -> Grid:
    """What responses with tools cost, a cost a row; none for runs without."""
    rows = []
    for name, samples in runs:
        known = [one for one in samples if one.correct is not None]
        if not known or not all(TURNS in one.costs for one in known):
            continue
        calls = calls_of(known)
        costs = {"tokens written": interval(mean_of(known, [one.length for one in known]))}
        costs |= {label: _cost(known, column) for column, label in COUNTED.items()}
        if calls is not None:
            costs["wasted calls"] = interval(mean_of(known, [one.wasted for one in calls]), digits=2)
        shown = {label: value for label, value in costs.items() if value != "-"}
        rows += [[name if number == 0 else "", *pair] for number, pair in enumerate(shown.items())]
    return Grid(
        heads=("run", "cost", "a response"),
        rows=rows,
        note="In brackets 95 % bootstrap intervals over questions. Context: all tokens that were read or written. "
        "Wasted calls are known on the tool testbed only.",
    )


def efforts_grid(runs: Runs) -> Grid:
    """Accuracy and tokens by the level that prompts state, the least first; no row for runs without levels."""
    rows = []
    for name, samples in runs:
        levels: dict[tuple[float, str], list[Sample]] = defaultdict(list)
        for one in samples:
            if one.effort is not None and one.correct is not None:
                levels[one.effort].append(one)
        found = {level: figures(0, levels[level], levels=False) for level in sorted(levels)}
        told = obeys([own.tokens for own in found.values()])
        rows += [
            [
                name if number == 0 else "",
                level[1],
                str(own.samples),
                interval(own.accuracy, 100),
                interval(own.tokens),
                _cost(levels[level], THINKING_LENGTH),
                told if number == 0 else "",
            ]
            for number, (level, own) in enumerate(found.items())
        ]
    return Grid(
        heads=("run", "effort", "responses", "accuracy %", "tokens", "thinking", "obeys"),
        rows=rows,
        note="Levels as prompts state them, the least first; in brackets 95 % bootstrap intervals over questions. A "
        "model obeys where each level is longer than the one before and their intervals of tokens are apart.",
    )


def obeys(tokens: Sequence[Interval]) -> str:
    """Whether lengths rise from level to level, and their intervals are apart.

    >>> obeys([Interval(value=5, low=4, high=6), Interval(value=9, low=8, high=10)])
    'yes'
    >>> obeys([Interval(value=5, low=4, high=6), Interval(value=6, low=5, high=7)])
    'in order, intervals meet'
    """
    pairs = list(itertools.pairwise(tokens))
    if not pairs or not all(one.value < other.value for one, other in pairs):
        return NOT
    return OBEYS if all(one.high < other.low for one, other in pairs) else PARTLY


def mean_of(samples: Sequence[Sample], values: Iterable[float]) -> Interval:
    """The mean of a value per response, with its interval over questions."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for one, value in zip(samples, values, strict=True):
        own = sums[one.question]
        own[0] += value
        own[1] += 1
    columns = {"value": [own[0] for own in sums.values()], "count": [own[1] for own in sums.values()]}
    return bootstrap(columns, lambda drawn: drawn["value"] / drawn["count"])


def _cost(samples: Sequence[Sample], column: str) -> str:
    if not all(column in one.costs for one in samples):
        return "-"
    digits = 2 if column in (TURNS, CALLS, FAILED_CALLS, SECONDS) else 1
    return interval(mean_of(samples, [one.costs[column] for one in samples]), digits=digits)
