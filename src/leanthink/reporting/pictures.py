"""The report's pictures. Colours and marks are told apart by colour-blind readers; every axis names its unit."""

from __future__ import annotations

import base64
import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from leanthink.core.text import LONGEST, as_label, without_tex
from leanthink.files.writing import whole_file
from leanthink.metrics import Interval
from leanthink.reporting.figures import Figures, dominated
from leanthink.reporting.variants import SMOOTHED, Variant, curve, over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours without yellow, which is faint on white.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS: Final = "osD^vPX"
DASHES: Final = ("-", "--", "-.", ":")
GREY: Final = "#666666"
BEFORE: Final = "before training"

CURVES: Final = (
    ("leanthink/accuracy", "accuracy (%)", 100),
    ("leanthink/truncated_share", "truncated (%)", 100),
    ("leanthink/length/correct", "length of correct responses (tokens)", 1),
    ("leanthink/length/wrong", "length of wrong responses (tokens)", 1),
    ("leanthink/correct_pushed_down_share", "correct, yet pushed down (%)", 100),
    ("leanthink/groups/no_signal_share", "groups without signal (%)", 100),
)
PART: Final = "leanthink/part/"

Shown = TypeVar("Shown")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line that is known by calculation, drawn behind the runs: tokens and accuracy, a share."""

    label: str
    points: Sequence[tuple[float, float]]


Budgets = Mapping[int, Interval]
"""Accuracy by token budget."""


def pictures(
    variants: Sequence[Variant],
    start: Figures | None,
    *,
    known: Sequence[Line] = (),
    budgets: Mapping[str, Sequence[Budgets]] | None = None,
) -> dict[str, tuple[Figure, str]]:
    """Every picture there are data for, by file name, with its caption.

    Args:
        variants: the runs.
        start: the policy before training.
        known: lines for the picture of accuracy against length.
        budgets: by label of a variant, or `BEFORE`, accuracy by budget of each of its runs.
    """
    drawn = {
        "pareto": _pareto(variants, start, known),
        "budgets": _budgets(variants, budgets or {}),
        "curves": _curves(variants, CURVES, "training rollouts"),
        "reward_parts": _curves(variants, _part_keys(variants), "reward as trained on, not correctness"),
        "difficulty": _difficulty(variants, start),
        "pass_at_k": _pass_at_k(variants, start),
    }
    return {name: picture for name, picture in drawn.items() if picture is not None}


def save(figure: Figure, path: Path) -> None:
    """Write a picture as PNG."""
    with saved({path: figure}):
        pass


@contextmanager
def saved(figures: Mapping[Path, Figure]) -> Iterator[None]:
    """Write pictures as PNGs, which take their names together when the block ends without an error.

    Raises:
        WriteError: one cannot be written; then none is.
    """
    with ExitStack() as stack:
        for path, figure in figures.items():
            figure.savefig(stack.enter_context(whole_file(path)), format="png", dpi=150)
        yield


def data_uri(figure: Figure) -> str:
    """A picture as SVG inside an address, letters as outlines: it needs no file and no font."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def subplots(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of its own, outside pyplot's registry, with its axes in a flat list."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, list(axes.flat)


def styles(shown: Iterable[Shown]) -> Iterator[tuple[Shown, str, str]]:
    """Each of them with its colour and its mark; past the last colour the marks shift, so that no pair comes twice."""
    for place, one in enumerate(shown):
        rounds = place // len(COLOURS)
        yield one, COLOURS[place % len(COLOURS)], MARKS[(place + rounds) % len(MARKS)]


def _dashes(place: int) -> str:
    """A line's style: another for each round of the colours."""
    return DASHES[place // len(COLOURS) % len(DASHES)]


def drawn(text: str, most: int = LONGEST // 2) -> str:
    """A label as matplotlib draws it: text, whatever it holds."""
    return without_tex(as_label(text, most))


def _wrapped(text: str) -> str:
    return without_tex(textwrap.fill(as_label(text, LONGEST // 2), 36))


def error_bar(axis: Axes, x: Interval, y: Interval, **style: Any) -> None:
    """A mark with its intervals, where they are known."""
    axis.errorbar([x.value], [y.value], xerr=_arms(x), yerr=_arms(y), capsize=2, elinewidth=1, **style)


def _arms(one: Interval) -> list[list[float]] | None:
    if math.isnan(one.low):
        return None
    return [[max(one.value - one.low, 0)], [max(one.high - one.value, 0)]]


def scaled(one: Interval, by: float = 100) -> Interval:
    """An interval in another unit; a share's in percent."""
    return Interval(value=by * one.value, low=by * one.low, high=by * one.high)


def interval_text(variants: Sequence[Variant], start: Figures | None) -> str:
    """What the intervals are, and of how many samples."""
    seeds = [sum(one is not None for one in variant.last) for variant in variants]
    several = [count for count in seeds if count > 1]
    own = [one for variant in variants for one in (*variant.last, start) if one is not None]
    if not own:
        return "no evaluations"
    counts = "-".join(map(str, sorted({min(one.samples for one in own), max(one.samples for one in own)})))
    questions = "-".join(map(str, sorted({min(one.questions for one in own), max(one.questions for one in own)})))
    text = f"{questions} questions, {counts} responses an evaluation. Bars: 95 % bootstrap interval over questions"
    if several:
        spread = "-".join(map(str, sorted({min(several), max(several)})))
        text += f"; where a point is the mean of {spread} seeds, their least and greatest value"
    return text + "."


def _pareto(
    variants: Sequence[Variant], start: Figures | None, lines: Sequence[Line] = ()
) -> tuple[Figure, str] | None:
    shown = [style for style in styles(variants) if any(one is not None for one in style[0].last)]
    if not shown:
        return None
    figure, (axis,) = subplots(1, 1, 8.5, 5.2)
    places = [
        (variant.over_seeds(lambda one: one.tokens), variant.over_seeds(lambda one: one.accuracy))
        for variant, *_ in shown
    ]
    points = [(tokens.value, accuracy.value) for tokens, accuracy in places]
    if start is not None:  # a run that is worse than no training is on no front
        points.append((start.tokens.value, start.accuracy.value))
    worse = dominated(points)
    behind = [variant.stopped or is_worse for (variant, *_), is_worse in zip(shown, worse, strict=False)]
    off = [*behind, *worse[len(shown) :]]
    front = sorted(point for point, is_off in zip(points, off, strict=True) if not is_off)
    for line, dashes in zip(lines, DASHES, strict=False):
        axis.plot(*_columns(line.points), dashes, color="black", linewidth=1.4, zorder=0, label=_wrapped(line.label))
    if len(front) > 1 and not lines:
        axis.step(*_columns(front), where="post", color=GREY, linewidth=1, linestyle=":", label="Pareto front")
    for (variant, colour, mark), (tokens, accuracy), is_behind in zip(shown, places, behind, strict=True):
        told = as_label(variant.label) + (
            " (stopped early)" if variant.stopped else " (dominated)" if is_behind else ""
        )
        fade = 0.35 if is_behind else 1.0
        error_bar(
            axis, tokens, scaled(accuracy), fmt=mark, color=colour, label=_wrapped(told), alpha=fade, markersize=7
        )
        known = [one for one in variant.last if one is not None]
        if len(known) > 1:
            each = [one.tokens.value for one in known], [100 * one.accuracy.value for one in known]
            axis.scatter(*each, color=colour, marker=mark, s=10, alpha=fade * 0.7)
    if start is not None:
        error_bar(axis, start.tokens, scaled(start.accuracy), fmt="*", color=GREY, markersize=12, label=BEFORE)
    if lines:  # from nothing: the distance to the front is read off
        axis.set_xlim(left=0)
        axis.set_ylim(0, 102)
    axis.set_xlabel("mean response length (tokens); shorter is left")
    axis.set_ylabel("accuracy on held-out questions (%)")
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    caption = (
        f"Accuracy against length after training. {interval_text(variants, start)} Faded: another run, or the "
        "policy before training, is at least "
    )
    return figure, caption + "as accurate with no more tokens, or the run was stopped early."


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Tokens, and accuracy in percent."""
    return [x for x, _ in points], [100 * y for _, y in points]


def _curves(
    variants: Sequence[Variant], keys: Sequence[tuple[str, str, float]], what: str
) -> tuple[Figure, str] | None:
    curves = {
        key: [
            (variant, colour, _dashes(place), points)
            for place, (variant, colour, _) in enumerate(styles(variants))
            if (points := curve(variant.sources, key))
        ]
        for key, *_ in keys
    }
    shown = [key for key in keys if curves[key[0]]]
    if not shown:
        return None
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = subplots(rows, columns, 5.2 * columns, 2.7 * rows + 0.6)
    for axis, (key, label, scale) in zip(axes, shown, strict=False):
        for variant, colour, dashes, points in curves[key]:
            steps = [step for step, *_ in points]
            mean, low, high = ([scale * point[place] for point in points] for place in (1, 2, 3))
            axis.plot(steps, mean, dashes, color=colour, linewidth=1.8, label=_wrapped(variant.label))
            if len(variant.sources) > 1:
                axis.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.set_ylabel(label, fontsize=8.5)
        axis.set_xlabel("training step", fontsize=8.5)
        if min(value for *_, points in curves[key] for _, value, *_ in points) >= 0:
            axis.set_ylim(bottom=0)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=min(3, len(handles)),
        fontsize=8,
        frameon=False,
    )
    caption = f"Over training steps ({what}): centred mean of {SMOOTHED} steps"
    several = any(len(variant.sources) > 1 for variant in variants)
    return figure, caption + ("; bands: least and greatest of the seeds." if several else ".")


def _part_keys(variants: Sequence[Variant]) -> list[tuple[str, str, float]]:
    names = {
        key.removeprefix(PART)
        for variant in variants
        for source in variant.sources
        for row in source.metrics[-1:]
        for key in row
        if key.startswith(PART) and not key.endswith("_std")
    }
    total = [("leanthink/reward/all", "shaped reward, mean", 1.0)]
    return total + [(PART + name, drawn(f"part {name}, mean"), 1.0) for name in sorted(names)]


def _difficulty(variants: Sequence[Variant], start: Figures | None) -> tuple[Figure, str] | None:
    shown = [variant for variant in variants if any(one is not None and one.by_difficulty for one in variant.last)]
    if not shown:
        return None
    known = [one for variant in shown for one in (*variant.last, start) if one is not None]
    levels = list(dict.fromkeys(level for one in known for level in one.by_difficulty))
    figure, axes = subplots(1, 2, 10.5, 4.4)
    series: list[tuple[str, str, str, Sequence[Figures]]] = [
        (_wrapped(variant.label), colour, mark, [one for one in variant.last if one is not None])
        for variant, colour, mark in styles(variants)
        if variant in shown
    ]
    if start is not None and start.by_difficulty:
        series.insert(0, (BEFORE, GREY, "*", [start]))
    for place, (told, colour, mark, each) in enumerate(series):
        shift = 0.7 * ((place + 0.5) / len(series) - 0.5)
        for axis, name, scale in ((axes[0], "accuracy", 100), (axes[1], "tokens", 1)):
            for at, level in enumerate(levels):
                own = [getattr(one.by_difficulty[level], name) for one in each if level in one.by_difficulty]
                if own:
                    x = Interval(value=at + shift, low=math.nan, high=math.nan)
                    error_bar(
                        axis, x, scaled(over_seeds(own), scale), fmt=mark, color=colour, markersize=5,
                        label=told if at == 0 else None,
                    )  # fmt: skip
    for axis, label in ((axes[0], "accuracy on held-out questions (%)"), (axes[1], "mean response length (tokens)")):
        axis.set_xticks(range(len(levels)), [drawn(level, 12) for level in levels])
        axis.set_xlabel("difficulty, as the data name it")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)), fontsize=8, frameon=False)
    counts = sorted({level.samples for one in known for level in one.by_difficulty.values()})
    caption = f"By difficulty, {'-'.join(map(str, sorted({counts[0], counts[-1]})))} responses a level. "
    return figure, caption + interval_text(shown, None)


def _budgets(variants: Sequence[Variant], found: Mapping[str, Sequence[Budgets]]) -> tuple[Figure, str] | None:
    series = [(variant.label, *style) for variant, *style in styles(variants)]
    series = [one for one in [*series, (BEFORE, GREY, "*")] if found.get(one[0])]
    if not series:
        return None
    figure, (axis,) = subplots(1, 1, 8.5, 4.6)
    for label, colour, mark in series:
        budgets = sorted(set.intersection(*(set(values) for values in found[label])))
        points = [scaled(over_seeds([values[budget] for values in found[label]])) for budget in budgets]
        told = label if label == BEFORE else _wrapped(label)
        axis.plot(budgets, [one.value for one in points], color=colour, marker=mark, label=told)
        axis.fill_between(budgets, [one.low for one in points], [one.high for one in points], color=colour, alpha=0.15)
    axis.set_xscale("log", base=2)
    ticks = sorted({budget for label, *_ in series for values in found[label] for budget in values})
    axis.set_xticks(ticks, list(map(str, ticks)))
    axis.set_xlabel("token budget: each response is cut there and judged as it stands")
    axis.set_ylabel("accuracy on held-out questions (%)")
    axis.set_ylim(0, 102)
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure, f"Accuracy over token budgets, of the stored responses. {interval_text(variants, None)}"


def _pass_at_k(variants: Sequence[Variant], start: Figures | None) -> tuple[Figure, str] | None:
    series: list[tuple[str, str, str, Sequence[Mapping[int, Interval]]]] = [
        (_wrapped(variant.label), colour, mark, [one.pass_at_k for one in variant.last if one is not None])
        for variant, colour, mark in styles(variants)
    ]
    if start is not None:
        series.append((BEFORE, GREY, "*", [start.pass_at_k]))
    series = [one for one in series if any(len(values) > 1 for values in one[3])]
    if not series:
        return None
    figure, (axis,) = subplots(1, 1, 7.5, 4.4)
    for label, colour, mark, each in series:
        ks = sorted(set.intersection(*(set(values) for values in each)))
        points = [scaled(over_seeds([values[k] for values in each])) for k in ks]
        axis.plot(ks, [one.value for one in points], color=colour, marker=mark, label=label)
        axis.fill_between(ks, [one.low for one in points], [one.high for one in points], color=colour, alpha=0.15)
    axis.set_xscale("log", base=2)
    ticks = sorted({k for *_, each in series for values in each for k in values})
    axis.set_xticks(ticks, list(map(str, ticks)))
    axis.set_xlabel("k (samples a question)")
    axis.set_ylabel("pass@k (%)")
    axis.set_ylim(0, 102)
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure, f"Unbiased pass@k. {interval_text(variants, start)}"
