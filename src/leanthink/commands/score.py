"""``leanthink score``: what recipes make of stored rollouts, before a GPU is spent on them."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from torch import Tensor

from leanthink.commands import reading, trust
from leanthink.core.errors import ConfigError
from leanthink.core.text import as_label
from leanthink.data.records import ROLLOUTS, Record, iter_below, read_below
from leanthink.data.responses import split
from leanthink.data.rollouts import Agreement, Rollouts, agreement, read_rollouts, unknown_rows
from leanthink.recipe.advice import warn
from leanthink.recipe.definition import Recipe
from leanthink.replay.analysis import PIECE, Analysis, Sensitivity, pieces, sensitivities
from leanthink.replay.batches import END, thinking_lengths
from leanthink.replay.score import Replay, load_recipes
from leanthink.reporting import replay_page
from leanthink.reporting.grid import grid_table
from leanthink.reporting.page import Grid
from leanthink.reporting.tables import number, percent
from leanthink.rewards.effort_length import EFFORT, EFFORT_NAME
from leanthink.terminal import Terminal
from leanthink.verify import Verdict

SAME: Final = 1e-6
"""How far a reward may be from the run's own."""
LISTED: Final = 20  # rows named one by one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add = parser.add_argument
    trust.add_argument(parser)
    add("file", metavar="FILE", type=Path, help="JSONL, parquet or CSV, verl's dumps included; a folder of them; a run")
    add(
        "--recipe",
        action="append",
        default=[],
        metavar="R",
        help="a name, a path ending in .yaml, or a reward of yours, module:Class; repeatable",
    )
    add("--reward", metavar="YAML", help="a reward tree, as YAML or a .yaml file, shown under the name 'reward'")
    add(
        "--set",
        action="append",
        default=[],
        metavar="[R:]key=value",
        help="change every recipe, or only R, as in trle:reward.sigmoid_length.alpha=0.4; repeatable",
    )
    add("--step", type=int, help="score as at this training step, from 0: a schedule may still warm up at 0")
    add("--tokenizer", metavar="PATH", help="folder or Hub name, to count tokens where the file has only text")
    add("--workers", type=int, default=2, help="processes that verify answers (default: 2)")
    add("--deadline", type=float, default=5.0, help="seconds to judge one answer; then it is unknown (default: 5)")
    add("--sensitivity", type=float, metavar="SHARE", help="move each number of a recipe by this share, as 0.1")
    add("--html", type=Path, metavar="FILE", help="write everything to one page")
    add("--png", type=Path, metavar="FOLDER", help="write the picture of reward against length there")
    add("--stream", action="store_true", help="read piece by piece: for files larger than memory, sorted by step")
    add("--json", action="store_true", help="one JSON object per response on standard output, in the file's order")
    reading.add_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the tables, or the objects with all notices on standard error."""
    own = run_recipe(args.file) if not args.recipe and args.reward is None else None
    recipes = load_recipes([str(own)] if own else args.recipe, args.reward, args.set)
    for recipe in recipes.values():
        warn(recipe)

    def read(records: Sequence[Record]) -> Rollouts:
        return read_rollouts(
            records,
            tokenizer=args.tokenizer,
            step=args.step,
            workers=args.workers,
            deadline=args.deadline,
            fields=reading.fields_of(args),
            source=args.source,
            **reading.verifying(args),
        )

    analysis = Analysis(recipes=recipes)
    if args.stream:
        return _stream(args, console, analysis, read)
    rollouts = read(read_below(args.file))
    replays = analysis.add(rollouts)
    sensitivity = _sensitivity(args, recipes, rollouts)
    graded = agreement(rollouts)
    notices = [*rollouts.notices, *(notice for one in replays.values() for notice in one.notices)]
    if own is not None:
        notices += as_the_run_did(rollouts, next(iter(replays.values())))
    if args.json:
        for line in json_lines(rollouts, replays):
            console.file.write(line + "\n")
        for reason, rows in unknown_rows(rollouts).items():
            notices.append(f"{len(rows)} verdicts unknown, left out: {reason}, first in {rows[0].place}")
        console = Terminal(stderr=True)
    else:
        console.print(rollouts_table(rollouts, next(iter(replays.values()))))
        for one in replays.values():
            console.print(grid_table(f"{one.recipe.name}: mean ± standard deviation", parts_grid(one), console.width))
        console.print(grid_table("Side by side", comparison_grid(replays), console.width))
        _print_grids(console, analysis, sensitivity)
    if graded is not None:
        console.print(grader_text(graded), markup=False, highlight=False, soft_wrap=True)
    for notice in notices:
        console.print(f"note: {notice}", markup=False, highlight=False, soft_wrap=True)
    _write(args, console, analysis, sensitivity)
    return 0


def run_recipe(path: Path) -> Path | None:
    """The recipe of the run whose folder, or whose rollouts, a path is; None where it is no run's."""
    folder = path.parent if path.name == ROLLOUTS else path
    recipe = folder / "recipe.yaml"
    return recipe if (folder / ROLLOUTS).is_dir() and recipe.is_file() else None


def as_the_run_did(rollouts: Rollouts, replayed: Replay) -> Iterator[str]:
    """Whether the rewards are those that the run itself gave, where it kept them."""
    pairs = [
        (float(reward), float(record.fields["shaped_reward"]))
        for record, reward in zip(rollouts.records, replayed.reward.tolist(), strict=True)
        if record.has("shaped_reward") and not math.isnan(reward)
    ]
    if not pairs:
        return
    apart = sum(abs(ours - its) > SAME for ours, its in pairs)
    if not apart:
        yield f"{replayed.recipe.name}: the rewards of {len(pairs)} responses are those that the run gave"
    else:
        yield (
            f"{replayed.recipe.name}: {apart} of {len(pairs)} rewards are not those that the run gave: it began before "
            "these steps, or was given other overrides"
        )


def _stream(
    args: argparse.Namespace, console: Console, analysis: Analysis, read: Callable[[Sequence[Record]], Rollouts]
) -> int:
    """The tables of all responses together, at most a step or a piece of them in memory."""
    if args.json:
        raise ConfigError("--json lists every response and --stream keeps none; give one of them")
    sensitivity: dict[str, list[Sensitivity]] = {}
    own = reading.fields_of(args)
    responses = (one for record in iter_below(args.file) for one in split(record, own))
    for number_, piece in enumerate(pieces(responses)):
        rollouts = read(piece)
        if number_ and not piece[0].has("step"):
            analysis.notices[f"no 'step' in the file: each {PIECE} responses, or a few more, count as one batch"] = None
        analysis.add(rollouts)
        if number_ == 0:
            sensitivity = _sensitivity(args, analysis.recipes, rollouts)
    _print_grids(console, analysis, sensitivity)
    for notice in analysis.notices:
        console.print(f"note: {notice}", markup=False, highlight=False, soft_wrap=True)
    _write(args, console, analysis, sensitivity)
    return 0


def _sensitivity(
    args: argparse.Namespace, recipes: Mapping[str, Recipe], rollouts: Rollouts
) -> dict[str, list[Sensitivity]]:
    if args.sensitivity is None:
        return {}
    return {name: sensitivities(recipe, rollouts, args.sensitivity) for name, recipe in recipes.items()}


def _print_grids(console: Console, analysis: Analysis, sensitivity: Mapping[str, Sequence[Sensitivity]]) -> None:
    for title, grid in replay_page.grids(analysis, sensitivity).items():
        if grid.rows:
            console.print(grid_table(title, grid, console.width))


def _write(
    args: argparse.Namespace, console: Console, analysis: Analysis, sensitivity: Mapping[str, Sequence[Sensitivity]]
) -> None:
    if args.html or args.png:
        replay_page.write(analysis, sensitivity, args.html, args.png)
        console.print(f"written: {', '.join(str(path) for path in (args.html, args.png) if path)}")


def json_lines(rollouts: Rollouts, replays: Mapping[str, Replay]) -> Iterator[str]:
    """One object per response, in the order of the file; null where the verdict is unknown."""
    columns: dict[str, dict[str, Any]] = {
        name: {
            "reward": _numbers(one.reward),
            "advantage": _numbers(one.advantage),
            "parts": {part: _numbers(values) for part, values in one.parts.items()},
        }
        for name, one in replays.items()
    }
    for row, judgement in enumerate(rollouts.judgements):
        unknown = judgement.verdict is Verdict.UNKNOWN
        recipes = {
            name: {
                "reward": values["reward"][row],
                "advantage": values["advantage"][row],
                "parts": {part: numbers[row] for part, numbers in values["parts"].items()},
            }
            for name, values in columns.items()
        }
        length = rollouts.length[row]
        content = {
            "index": row,
            "group": rollouts.group[row],
            "step": rollouts.step[row],
            "verdict": str(judgement.verdict),
            "extracted": judgement.extracted,
            "correct": None if unknown else int(judgement.correct),
            "length": int(length) if length.is_integer() else length,
            "truncated": rollouts.truncated[row],
            "recipes": recipes,
        }
        yield json.dumps(content, allow_nan=False)


def rollouts_table(rollouts: Rollouts, any_replay: Replay) -> Table:
    """What is the same for every recipe: accuracy, lengths, truncation, groups, unknown verdicts."""
    metrics = any_replay.metrics
    steps = sorted(set(rollouts.step))
    prompts = len(set(zip(rollouts.step, rollouts.group, strict=True)))
    table = Table(title=f"{len(rollouts)} responses in {prompts} prompt groups", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row(
        "step" if len(steps) == 1 else f"{len(steps)} steps", "-".join(map(str, steps[:: len(steps) - 1 or 1]))
    )
    for label, key in (
        ("right %", "accuracy"),
        ("truncated %", "truncated_share"),
        ("all-right groups %", "groups/all_correct_share"),
        ("all-wrong groups %", "groups/all_wrong_share"),
    ):
        table.add_row(label, percent(metrics.get(key)))
    for label, key in (("all", "length/all"), ("right", "length/correct"), ("wrong", "length/wrong")):
        table.add_row(f"mean length, {label}", number(metrics.get(key)))
    for label, shown in (*_stretches(rollouts, metrics), *_turns(metrics), *_levels(rollouts, metrics)):
        table.add_row(label, shown)
    unknown = unknown_rows(rollouts)
    table.add_row("verdict unknown (left out)", str(sum(map(len, unknown.values()))))
    for reason, rows in unknown.items():
        table.add_row(f"  {reason} (first: line {rows[0].line})", str(len(rows)))
    return table


def _stretches(rollouts: Rollouts, metrics: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """How much of a response is thinking: as the file counts it, or else by its text, where that closes a thinking."""
    if "length/thinking" in metrics:
        yield "mean thinking", number(metrics["length/thinking"])
        yield "mean answer", number(metrics["length/answer"])
    elif rollouts.texts is not None and any(END in text for text in rollouts.texts) and "tools/turns" not in metrics:
        thinking, every = thinking_lengths(rollouts), rollouts.length
        yield "mean thinking, by share of words", number(sum(thinking) / len(thinking))
        yield "mean answer, by share of words", number((sum(every) - sum(thinking)) / len(thinking))


def _turns(metrics: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """What responses with tools cost, where the file counts it."""
    turns = metrics.get("tools/turns")
    if turns is None:
        return
    yield "turns a response", number(turns, 2)
    if turns:
        yield "written a turn", number(metrics["length/all"] / turns)
        if "length/thinking" in metrics:
            yield "thinking a turn", number(metrics["length/thinking"] / turns)
    for label, key, digits in (
        ("read from tools", "tools/tokens", 1),
        ("context, all that was read or written", "tools/context_tokens", 1),
        ("tool calls a response", "tools/calls", 2),
        ("failed calls a response", "tools/failed_calls", 2),
    ):
        if key in metrics:
            yield label, number(metrics[key], digits)


def _levels(rollouts: Rollouts, metrics: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Accuracy and length by the level of effort that prompts state."""
    pairs = zip(rollouts.columns.get(EFFORT, ()), rollouts.columns.get(EFFORT_NAME, ()), strict=False)
    for level, name in sorted({(float(level), str(name)) for level, name in pairs}):
        right, length = (metrics.get(f"effort/{level:g}/{key}") for key in ("accuracy", "length"))
        yield f"effort {as_label(name)}: right %, mean length", f"{percent(right)}, {number(length)}"


def parts_grid(one: Replay) -> Grid:
    """Mean and standard deviation of the reward, of each named part and of the advantage, by verdict."""
    correct_M = one.batch.correct == 1
    masks = {"all": correct_M | True, "right": correct_M, "wrong": ~correct_M}
    parts = [(f"· {name}", part) for name, part in one.parts.items()]
    return Grid(
        heads=("part", *(f"{label} ({int(mask_M.sum())})" for label, mask_M in masks.items())),
        rows=[
            [label, *(_mean_std(values_N[one.known][mask_M]) for mask_M in masks.values())]
            for label, values_N in (("reward", one.reward), *parts, ("advantage", one.advantage))
        ],
    )


def comparison_grid(replays: Mapping[str, Replay]) -> Grid:
    """The recipes side by side."""
    return Grid(
        heads=(
            "recipe", "reward, right", "reward, wrong", "advantage per 100 tokens, right", "right, yet pushed down %",
            "groups without signal %",
        ),
        rows=[
            [
                name,
                number(one.metrics.get("reward/correct"), 3),
                number(one.metrics.get("reward/wrong"), 3),
                _signed(one.metrics["advantage_per_100_tokens"]),
                percent(one.metrics.get("correct_pushed_down_share")),
                percent(one.metrics.get("groups/no_signal_share")),
            ]
            for name, one in replays.items()
        ],
        note="per 100 tokens: within a prompt's right responses",
    )  # fmt: skip


def grader_text(graded: Agreement) -> str:
    """How the verdicts compare with the file's own grader; rows that differ are named."""
    known = graded.agree + len(graded.differ)
    text = (
        f"grader_correct agrees with {graded.agree} of {known} verdicts; {graded.unknown} unknown, counted as neither"
    )
    if not graded.differ:
        return text
    lines = ", ".join(str(record.line) for record in graded.differ[:LISTED])
    more = len(graded.differ) - LISTED
    return f"{text}\n  they differ in line {lines}{f' and {more} more' if more > 0 else ''}"


def _numbers(values_N: Tensor) -> Sequence[float | None]:
    return [None if value != value else value for value in values_N.tolist()]


def _mean_std(values_M: Tensor) -> str:
    values_M = values_M[~values_M.isnan()]
    return f"{values_M.mean():.3f} ± {values_M.std(correction=0):.3f}" if len(values_M) else "-"


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.4f}"
