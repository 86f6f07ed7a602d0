"""Tables, pictures and the page of a replay's analysis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from leanthink.core.text import as_label, without_tex
from leanthink.files.writing import write_text
from leanthink.replay.analysis import Analysis, Sensitivity
from leanthink.reporting.page import Grid, Picture, Section, page
from leanthink.reporting.pictures import COLOURS, MARKS, data_uri, saved, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST: Final = 5  # responses of a point in the picture


def grids(analysis: Analysis, sensitivity: Mapping[str, Sequence[Sensitivity]]) -> dict[str, Grid]:
    """The tables by title."""
    return {
        "What the gradient wants": _signs(analysis),
        "Why right responses are pushed down": _causes(analysis),
        "Sensitivity": _sensitivity(sensitivity),
        "Disagreement": _opposed(analysis),
        "The most telling responses": _telling(analysis),
    }


def _signs(analysis: Analysis) -> Grid:
    rows = [
        [
            name,
            _share(one.positive, one.right),
            _share(one.negative, one.right),
            _share(one.right - one.positive - one.negative, one.right),
            _number(one.slope),
            _number(one.correlation),
            _share(one.silent, one.groups),
        ]
        for name, one in analysis.tallies.items()
    ]
    heads = ("recipe", "right, up %", "right, down %", "0 %", "per 100 tokens", "correlation", "no signal %")
    return Grid(
        heads=heads,
        rows=rows,
        note=f"{analysis.responses} responses with a verdict ({analysis.unknown} without, left out). Per 100 tokens: "
        "change of the advantage among a prompt's right responses; correlation: of length and advantage among them; no "
        "signal: prompt groups whose advantages are all alike.",
    )


def _causes(analysis: Analysis) -> Grid:
    rows = [
        [name, cause, str(count), _share(count, one.negative), _share(one.longer, one.negative)]
        for name, one in analysis.tallies.items()
        for cause, count in one.causes.most_common()
    ]
    return Grid(
        heads=("recipe", "most below its group", "responses", "%", "longer %"),
        rows=rows,
        note="Counted: right responses with a negative advantage. Longer: the share of a recipe's that are longer than "
        "the mean of their prompt's right responses.",
    )


def _sensitivity(sensitivity: Mapping[str, Sequence[Sensitivity]]) -> Grid:
    rows = [
        [
            f"{name}: {one.key}" if not place or one.key != each[place - 1].key else "",
            f"{one.value:g} → {one.changed_to:g}",
            "refused" if math.isnan(one.moved) else f"{100 * one.moved:.2f}",
            _number(one.slope),
            _share(one.pushed_down, 1),
        ]
        for name, each in sensitivity.items()
        for place, one in enumerate(each)
    ]
    return Grid(
        heads=("number", "changed", "moves %", "per 100 tokens", "right, down %"),
        rows=rows,
        note="Moves: root mean square of the change of the advantages over that of the advantages. Refused: the recipe "
        "does not take the value, or its advantages are all 0.",
    )


def _opposed(analysis: Analysis) -> Grid:
    return Grid(
        heads=("recipes", "one up, the other down %"),
        rows=[
            [f"{first} and {second}", _share(count, analysis.responses)]
            for (first, second), count in analysis.opposed.items()
        ],
    )


def _telling(analysis: Analysis) -> Grid:
    return Grid(
        heads=("where", "verdict", "length", *analysis.tallies, "response"),
        rows=[
            [
                one.place,
                "right" if one.right else "wrong",
                f"{one.length:g}",
                *(_number(dict(one.advantages)[name]) for name in analysis.tallies),
                one.text or one.group,
            ]
            for one in analysis.most_telling()
        ],
        note="Advantages by recipe; the widest gaps first, in units of each recipe's root mean square.",
    )


def picture(analysis: Analysis) -> tuple[Figure, str]:
    """Mean reward against length, and mean advantage against length beside the prompt's right responses."""
    figure, axes = subplots(2, 2, 10.5, 7.6)
    unit = unit_of(analysis.notices)
    for axis, right in ((axes[0], True), (axes[1], False)):
        for place, (name, one) in enumerate(analysis.tallies.items()):
            bins = [one.bins[key] for key in sorted(one.bins) if key[0] == right and one.bins[key].count >= FEWEST]
            points = [(each.length / each.count, each.reward / each.count) for each in bins]
            _draw(axis, points, place, name)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_xlabel(f"response length ({unit}, logarithmic)", fontsize=8.5)
        axis.set_ylabel("mean shaped reward", fontsize=8.5)
    for axis, right in ((axes[2], True), (axes[3], False)):
        for place, (name, one) in enumerate(analysis.tallies.items()):
            bins = [
                one.beside[key] for key in sorted(one.beside) if key[0] == right and one.beside[key].count >= FEWEST
            ]
            points = [(100 * each.excess / each.count, each.advantage / each.count) for each in bins]
            _draw(axis, points, place, name)
        axis.axhline(0, color="black", linewidth=0.6)
        axis.set_xlabel(f"length beside the prompt's right responses on average ({unit}, %)", fontsize=8.5)
        axis.set_ylabel("mean advantage; above 0 likelier", fontsize=8.5)
    for axis, right in zip(axes, (True, False, True, False), strict=True):
        counts = [tally.right_of(right) for tally in analysis.tallies.values()]
        axis.set_title(f"{'right' if right else 'wrong'} responses ({max(counts, default=0)})", fontsize=10)
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    caption = (
        f"{analysis.responses} responses. Above: reward against length, each point the mean over half an octave of "
        "length. Below: advantage, which compares a response with its group, against how much longer it is than its "
        "prompt's right ones, each point the mean over a tenth of their length; prompts without a right response are "
        f"left out, as are points of fewer than {FEWEST} responses. Where curves lie on each other the first is widest."
    )
    return figure, caption


def unit_of(notices: Iterable[str]) -> str:
    """What the lengths count: tokens, unless a notice says otherwise.

    >>> unit_of(["lengths are counted in words and signs, not tokens; give --tokenizer for tokens"])
    'words and signs'
    """
    return "words and signs" if any("counted in words and signs" in notice for notice in notices) else "tokens"


def _draw(axis: Axes, points: Sequence[tuple[float, float]], place: int, name: str) -> None:
    """A curve that is seen below those drawn later: each is narrower than the one before, and has a mark of its own."""
    if points:
        axis.plot(
            *zip(*points, strict=True),
            color=COLOURS[place % len(COLOURS)],
            marker=MARKS[place % len(MARKS)],
            markersize=max(9 - 2 * place, 3),
            linewidth=max(4 - place, 1),
            linestyle=("-", "--", ":", "-.")[place % 4],
            label=without_tex(as_label(name)),
        )


def write(
    analysis: Analysis, sensitivity: Mapping[str, Sequence[Sensitivity]], html: Path | None, png: Path | None
) -> None:
    """Write the page to ``html`` and the picture into the folder ``png``, whichever is given; both or none."""
    figure, caption = picture(analysis)
    with saved({} if png is None else {png / "reward_by_length.png": figure}):
        if html is None:
            return
        shown = Section(
            title="Reward and advantage against length", items=[Picture(address=data_uri(figure), caption=caption)]
        )
        sections = [
            Section(title=title, items=[grid]) for title, grid in grids(analysis, sensitivity).items() if grid.rows
        ]
        intro = (
            f"What {', '.join(analysis.tallies)} make of {analysis.responses} stored responses, before any training."
        )
        write_text(html, page("leanthink score", intro, [shown, *sections], list(analysis.notices)))


def _share(count: float, of: float) -> str:
    return f"{100 * count / of:.1f}" if of and not math.isnan(count) else "-"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.4f}"
