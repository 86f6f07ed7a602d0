"""What a sweep costs: steps, and seconds where finished runs tell how long one takes; its tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from rich.table import Table

from leanthink.core.errors import LeanthinkError
from leanthink.reporting.grid import grid_table
from leanthink.reporting.page import Grid
from leanthink.reporting.tables import number, percent
from leanthink.runs.folder import Run
from leanthink.sweep.plan import Planned, Sweep
from leanthink.sweep.store import FOR_GOOD, Status, Store


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds to start, and seconds a step, by recipe; under "" over all recipes.

    Attributes:
        start: seconds besides the steps.
        step: seconds of one.
        runs: how many finished runs this is from.
        source: what else it is from.
        alone: whether it is of runs that have the machine to themselves: several at a time take as long.
    """

    start: Mapping[str, float] = field(default_factory=dict)
    step: Mapping[str, float] = field(default_factory=dict)
    runs: int = 0
    source: str = ""
    alone: bool = False

    def seconds(self, planned: Planned, done: int = 0) -> float | None:
        """What is left of a run once ``done`` steps are done; None where nothing is known."""
        recipe = Path(planned.recipe).stem
        name = recipe if recipe in self.step else ""
        if name not in self.step or planned.steps is None:
            return None
        return self.start[name] + self.step[name] * max(0, planned.steps - done)

    @staticmethod
    def remaining(sweep: Sweep) -> TimeLeft:
        """The time left, from the speed since the sweep began."""
        steps = [planned.steps for planned in sweep.runs]
        return TimeLeft(total=None if None in steps else sum(step for step in steps if step is not None))


@dataclass(kw_only=True)
class TimeLeft:
    """Time left by the mean speed since the start, what starting costs included.

    >>> left = TimeLeft(total=30)
    >>> left.begin(10, now=100.0)
    >>> left.seconds(15, now=150.0)
    150.0
    """

    total: int | None
    _steps: int = 0
    _since: float = 0.0

    def begin(self, steps: int, now: float) -> None:
        """Steps that were done before we began do not count for the speed."""
        self._steps, self._since = steps, now

    def seconds(self, steps: int, now: float) -> float | None:
        """None before the first step, or where nobody knows how many there will be."""
        if self.total is None or steps <= self._steps:
            return None
        return (now - self._since) / (steps - self._steps) * max(0, self.total - steps)


def measured(runs: Iterable[Run], profile: str) -> Cost:
    """What finished runs took; those of another profile, and unreadable ones, say nothing."""
    start: dict[str, list[float]] = {}
    step: dict[str, list[float]] = {}
    count = 0
    for run in runs:
        try:
            summary = run.read_summary()
            seconds, steps = summary["seconds"], summary["steps"]
            if summary["profile"] != profile:
                continue
            each = seconds["per_step"]["step"]
            rest = max(0.0, seconds["total"] - each * steps)
        except (LeanthinkError, KeyError, TypeError):
            continue
        count += 1
        for name in (summary["recipe"], ""):
            start.setdefault(name, []).append(rest)
            step.setdefault(name, []).append(each)
    means = [{name: fmean(values) for name, values in table.items()} for table in (start, step)]
    if not count and profile == "cpu":
        return USUAL
    return Cost(start=means[0], step=means[1], runs=count)


USUAL: Final = Cost(
    start={"": 50.0},
    step={"": 3.0},
    source="50 s to start and 3.0 s a step, as on two idle cores; no finished run lies here to tell better",
    alone=True,
)
"""Of the CPU profile, where nothing has been run yet."""


def plan_table(sweep: Sweep, store: Store, cost: Cost, jobs: int, width: int = 80) -> Table:
    """One row a run, and what all of it costs."""
    first, *others = (planned.overrides for planned in sweep.runs)
    common = [(key, value) for key, value in first.items() if all(run.get(key) == value for run in others)]
    rows = []
    steps, seconds = 0, 0.0
    unknown = False
    for place, planned in enumerate(sweep.runs, 1):
        status = store.status(planned)
        over = status.state in FOR_GOOD
        expected = 0.0 if over else cost.seconds(planned, store.run(planned).last_checkpoint())
        steps += 0 if over else planned.steps or 0
        seconds += expected or 0.0
        unknown = unknown or expected is None
        own = [item for item in planned.overrides.items() if item not in common]
        estimate = "-" if over else "?" if expected is None else clock(expected)
        shown = "?" if planned.steps is None else str(planned.steps)
        rows.append([str(place), planned.name, ", ".join(_changes(own)) or "-", str(status.state), shown, estimate])
    to_run = sum(store.status(planned).state not in FOR_GOOD for planned in sweep.runs)
    known = "no finished run to estimate from"
    if not unknown:
        source = cost.source or f"{cost.runs} finished runs"
        at_once = 1 if cost.alone else max(1, min(jobs, to_run))
        known = f"about {clock(seconds / at_once)} with {jobs} at a time, from {source}"
    everywhere = f"; in all runs {', '.join(_changes(common))}" if common else ""
    grid = Grid(
        heads=("", "run", "changes", "state", "steps", "estimate"),
        rows=rows,
        note=f"{to_run} runs to go, {steps} steps; {known}{everywhere}",
    )
    return grid_table(f"{sweep.file}: {len(sweep.runs)} runs in {store.folder}", grid, width)


def _changes(items: Iterable[tuple[str, Any]]) -> list[str]:
    return [f"{key}={value}" for key, value in items]


def result_table(sweep: Sweep, statuses: Mapping[str, Status], width: int = 80) -> Table:
    """What became of each run, with its last evaluation."""
    rows = []
    for planned in sweep.runs:
        status = statuses[planned.key]
        last = status.rows[-1] if status.rows else {}
        rows.append(
            [
                planned.name,
                str(status.state),
                "-" if last.get("step") is None else str(last["step"]),
                percent(last.get("accuracy"), last.get("accuracy_error")),
                number(last.get("mean_tokens")),
                percent(last.get("truncated_share")),
                clock(status.seconds),
            ]
        )
    heads = ("run", "status", "step", "accuracy %", "tokens", "cut %", "time")
    return grid_table("Held-out set after training", Grid(heads=heads, rows=rows), width)


def clock(seconds: float) -> str:
    """Seconds for people.

    >>> clock(59.6), clock(125), clock(7260)
    ('1 min', '2 min', '2 h 01 min')
    """
    minutes = round(seconds / 60)
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
