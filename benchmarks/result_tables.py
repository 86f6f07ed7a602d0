"""What the tables of the results' page are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

Summary = Mapping[str, Any]
"""What a run says of itself, raw."""


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean over the seeds, and how far they lie apart (sample deviation); a seed of which nothing is known is left out.

    >>> spread([1.0, 3.0]), spread([2.0, math.nan]), spread([math.nan])
    ('2.0 ± 1.4', '2.0', '-')
    """
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "-"
    mean = f"{fmean(known):.{digits}f}"
    return f"{mean} ± {stdev(known):.{digits}f}" if len(known) > 1 else mean


def by_difficulty(runs: Mapping[str, Sequence[Summary]], unit: str = "numbers") -> list[str]:
    """Accuracy and tokens by difficulty, the number of numbers in a chain or of candidates."""
    start = next(iter(runs.values()))
    levels = list(start[0]["before"]["by_difficulty"])
    lines = [table_line(["", *(f"{level} {unit}" for level in levels)]), table_line(["---"] * (len(levels) + 1))]
    columns = [("the start", [run["before"] for run in start])]
    columns += [(variant, [run["after"] for run in own]) for variant, own in runs.items()]
    for label, ends in columns:
        cells = []
        for level in levels:
            own = [one["by_difficulty"][level] for one in ends]
            accuracy = fmean(100 * one["accuracy"] for one in own)
            cells.append(f"{accuracy:.0f} % at {fmean(one['mean_tokens'] for one in own):.0f}")
        lines.append(table_line([label, *cells]))
    return lines


def table_line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def titled(variant: str, recipe: str) -> str:
    """A variant's name in a table; that of a recipe as it ships as code."""
    return f"`{variant}`" if variant == recipe else variant
