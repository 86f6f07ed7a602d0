"""Tables and plots of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leanthink.core.text import as_label, without_tex
from leanthink.files.writing import whole_file
from leanthink.metrics import Interval
from leanthink.reporting.page import Grid
from leanthink.runs.folder import is_size

ABREAST = 3
"""Runs whose seconds stand side by side."""

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def number(value: float | None, digits: int = 1) -> str:
    """A number for a table; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def with_error(value: float | None, error: float | None, digits: int = 1) -> str:
    """A mean with its standard error."""
    return number(value, digits) + ("" if error is None else f"±{error:.{digits}f}")


def percent(share: float | None, error: float | None = None) -> str:
    """A share as a percentage.

    >>> percent(0.5, 0.01)
    '50.0±1.0'
    """
    return with_error(None if share is None else 100 * share, None if error is None else 100 * error)


def interval(one: Interval, scale: float = 1, digits: int = 1) -> str:
    """A value with its bounds.

    >>> interval(Interval(value=0.5, low=0.4, high=0.62), scale=100)
    '50.0 [40.0, 62.0]'
    """
    if math.isnan(one.value):
        return "-"
    text = f"{scale * one.value:.{digits}f}"
    return text if math.isnan(one.low) else f"{text} [{scale * one.low:.{digits}f}, {scale * one.high:.{digits}f}]"


def before_after_title(summaries: Sequence[Mapping[str, Any]]) -> str:
    """What the table before and after is of."""
    questions = summaries[0]["after"]["questions"] if summaries else 0
    return f"Held-out set, {questions} questions, before and after training (± standard error)"


def before_after_grid(summaries: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> Grid:
    """Accuracy and tokens on the held-out set before and after training, overall and by level of difficulty.

    "cut" is the share of responses that the limit ended. Runs go by ``names``, or by their recipes.
    """
    told = list(dict.fromkeys(sampling for summary in summaries if (sampling := _sampling(summary))))
    rows = []
    for name, summary in zip(names or [one["recipe"] for one in summaries], summaries, strict=True):
        before, after = summary["before"], summary["after"]
        levels = [("all", before, after)]
        levels += [
            (level, before["by_difficulty"].get(level, {}), now) for level, now in after["by_difficulty"].items()
        ]
        for place, (level, was, now) in enumerate(levels):
            rows.append(
                [
                    f"{name} ({summary['steps']})" if not place else "",
                    level,
                    _percent_of(was),
                    _percent_of(now),
                    _tokens_of(was),
                    _tokens_of(now),
                    _change(was.get("mean_tokens"), now.get("mean_tokens")),
                    percent(now.get("truncated_share")),
                ]
            )
    return Grid(
        heads=(
            "run (steps)", "level", "accuracy % before", "accuracy % after", "tokens before", "tokens after", "change",
            "cut % after",
        ),
        rows=rows,
        note="; ".join(told),
    )  # fmt: skip


def _sampling(summary: Mapping[str, Any]) -> str:
    """How a run's held-out questions were answered; empty where its summary does not say.

    >>> _sampling({"validation": {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "n": 4}})
    'sampled at temperature 0.6, top_p 0.95, 4 responses a question'
    """
    given = summary.get("validation") or {}
    if not given:
        return ""
    several = f", {given['n']} responses a question" if given.get("n", 1) != 1 else ""
    if not given.get("do_sample"):
        return f"greedy{several}"
    return f"sampled at temperature {given.get('temperature')}, top_p {given.get('top_p')}{several}"


def _percent_of(figures: Mapping[str, Any]) -> str:
    return percent(figures.get("accuracy"), figures.get("accuracy_error"))


def _tokens_of(figures: Mapping[str, Any]) -> str:
    return with_error(figures.get("mean_tokens"), figures.get("mean_tokens_error"))


def _change(was: float | None, now: float | None) -> str:
    return "-" if not was or now is None else f"{100 * (now / was - 1):+.1f}%"


def phase_grid(summaries: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> Grid:
    """Where a training step's seconds go: a column a run, or of many runs a row."""
    labels = [as_label(name) for name in names or [one["recipe"] for one in summaries]]
    each = [dict(summary["seconds"]["per_step"]) for summary in summaries]
    phases = list(dict.fromkeys(name for phase in each for name in phase if name not in ("step", "testing")))
    shown = [*phases, "step"]
    columns = [[number(phase.get(name), 2) for name in shown] for phase in each]
    if len(labels) > ABREAST:
        rows = [[label, *values] for label, values in zip(labels, columns, strict=True)]
        return Grid(heads=("run", *map(as_label, shown)), rows=rows)
    rows = [[as_label(name), *(values[place] for values in columns)] for place, name in enumerate(shown)]
    return Grid(heads=("phase", *labels), rows=rows)


def plot_runs(metrics: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Accuracy and response length over training steps, one curve per run, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (top, bottom) = pyplot.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
    for colour, (name, rows) in zip(COLOURS * (len(metrics) // len(COLOURS) + 1), metrics.items(), strict=False):
        for axis, key, scale in ((top, "leanthink/accuracy", 100), (bottom, "leanthink/length/all", 1)):
            points = [(row["step"], scale * row[key]) for row in rows if is_size(row.get(key))]
            if points:
                axis.plot(*zip(*points, strict=True), color=colour, alpha=0.35, linewidth=1)
                axis.plot(
                    *zip(*_smooth(points), strict=True), color=colour, label=without_tex(as_label(name)), linewidth=2
                )
    top.set_ylabel("accuracy of training rollouts (%)")
    bottom.set_ylabel("response length (tokens)")
    bottom.set_ylim(bottom=0)
    bottom.set_xlabel("training step (thin: each step, thick: mean of 9 around it)")
    for axis in (top, bottom):
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend()
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=140)
    pyplot.close(figure)


def _smooth(points: Sequence[tuple[float, float]], width: int = 9) -> list[tuple[float, float]]:
    """A centred moving mean, with what there is at the ends."""
    half = width // 2
    values = [value for _, value in points]
    windows = [values[max(0, place - half) : place + half + 1] for place in range(len(values))]
    return [(step, sum(window) / len(window)) for (step, _), window in zip(points, windows, strict=True)]
