"""Tables, pictures and the page of a replay's analysis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from leanthink.files.writing import write_text
from leanthink.replay.analysis import Analysis, Sensitivity
from leanthink.reporting.page import Grid, Picture, Section, page
from leanthink.reporting.pictures import COLOURS, MARKS, data_uri, save, subplots

if TYPE_CHECKING:
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
    """Mean reward against length, right and wrong responses apart."""
    figure, axes = subplots(1, 2, 10.5, 4.2, sharey=True)
    for axis, right, title in ((axes[0], True, "right"), (axes[1], False, "wrong")):
        for place, (name, one) in enumerate(analysis.tallies.items()):
            bins = [one.bins[key] for key in sorted(one.bins) if key[0] == right and one.bins[key].count >= FEWEST]
            if bins:
                axis.plot(
                    [each.length / each.count for each in bins],
                    [each.reward / each.count for each in bins],
                    color=COLOURS[place % len(COLOURS)],
                    marker=MARKS[place % len(MARKS)],
                    markersize=4,
                    label=name,
                )
        axis.set_xscale("log")
        axis.set_xlabel("response length (tokens, logarithmic)")
        axis.set_title(f"{title} responses", fontsize=10)
    axes[0].set_ylabel("mean shaped reward")
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    caption = (
        f"Reward against length, {analysis.responses} responses; each point the mean over half an octave of length, "
        f"of at least {FEWEST} responses."
    )
    return figure, caption


def write(
    analysis: Analysis, sensitivity: Mapping[str, Sequence[Sensitivity]], html: Path | None, png: Path | None
) -> None:
    """Write the page to ``html`` and the picture into the folder ``png``, whichever is given."""
    figure, caption = picture(analysis)
    if png is not None:
        save(figure, png / "reward_by_length.png")
    if html is not None:
        shown = Section(title="Reward against length", items=[Picture(address=data_uri(figure), caption=caption)])
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
