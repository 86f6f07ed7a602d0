"""The curves of a run while it grows: each look reads only what is new, and a screen's worth is sent."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from leanthink.core.text import as_label
from leanthink.files.reading import lines_of, row_of
from leanthink.runs.folder import Run, is_size, is_trained, step_of

CURVES: Final = (
    ("leanthink/accuracy", "accuracy of training rollouts (%)", 100),
    ("leanthink/length/correct", "length of correct responses (tokens)", 1),
    ("leanthink/length/wrong", "length of wrong responses (tokens)", 1),
    ("leanthink/truncated_share", "truncated (%)", 100),
    ("leanthink/correct_pushed_down_share", "correct, yet pushed down (%)", 100),
    ("leanthink/groups/no_signal_share", "groups without signal (%)", 100),
    ("leanthink/reward/all", "shaped reward, mean", 1),
)
PART: Final = "leanthink/part/"
PARTS: Final = 24
"""The most parts of a reward that are drawn."""
NAME: Final = 60
"""The most characters of a part's name."""
POINTS: Final = 500
"""The most points of a curve: more than a screen has columns for it."""

_SHOWN: Final = frozenset(key for key, *_ in CURVES)


@dataclass(kw_only=True)
class _Place:
    """How far a file was read: its identity, bytes, lines, and the least step in it."""

    inode: int
    begin: int = 0
    lines: int = 0
    first: int | None = None


@dataclass(kw_only=True)
class _New:
    """What a look found in one file, in its order: steps, the figures that are drawn, the least step of training."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    columns: dict[str, array[float]] = field(default_factory=dict)
    first: int | None = None

    def add(self, step: int, figures: Mapping[str, float], trained: bool) -> None:
        """One more line."""
        self.steps.append(step)
        if trained and (self.first is None or step < self.first):
            self.first = step
        for key, value in figures.items():
            self.column(key)[-1] = value

    def column(self, key: str) -> array[float]:
        """As many values as there are steps, NaN where a line had none."""
        column = self.columns.setdefault(key, array("d"))
        column.extend(array("d", [math.nan]) * (len(self.steps) - len(column)))
        return column


class Curves:
    """The figures of a run's steps that are drawn; a later attempt replaces what an earlier one did from its start."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._start()

    def _start(self) -> None:
        self._places: dict[Path, _Place] = {}
        self._steps = array("q")
        self._columns: dict[str, array[float]] = {}
        self._drawn: list[dict[str, Any]] | None = None

    def read_on(self) -> None:
        """Read what is new.

        Raises:
            DataError: a line that is none, named.
        """
        paths = sorted(self._run.attempts.glob("*.jsonl"))
        states = {path: path.stat() for path in paths}
        for path, place in self._places.items():
            state = states.get(path)
            if state is None or state.st_ino != place.inode or state.st_size < place.begin:
                self._start()  # it is another file than was read
                break
        for path in paths:
            place = self._places.setdefault(path, _Place(inode=states[path].st_ino))
            if states[path].st_size > place.begin:
                self._read(path, place)

    @property
    def last(self) -> int:
        """The last step; 0 before the first."""
        return self._steps[-1] if self._steps else 0

    def drawn(self) -> list[dict[str, Any]]:
        """Each curve there are points of, as the page draws it."""
        if self._drawn is None:
            self._drawn = list(self._draw())
        return self._drawn

    def _draw(self) -> Iterator[dict[str, Any]]:
        keys = sorted(self._columns.keys() - _SHOWN)
        parts = [(key, f"part {as_label(key.removeprefix(PART), NAME)}, mean", 1) for key in keys]
        for key, label, scale in (*CURVES, *parts):
            if points := self._points(key, scale):
                yield {"label": label, "points": points}

    def _read(self, path: Path, place: _Place) -> None:
        new = _New()
        try:
            for line in lines_of(path, whole=False, begin=place.begin, number=place.lines):
                if line.text.strip():
                    step, data = step_of(row_of(line.text, path, line.number), f"{path}, line {line.number}")
                    figures = {key: value for key, value in data.items() if is_size(value) and self._is_drawn(key)}
                    new.add(step, figures, is_trained(step, data))
                place.begin, place.lines = line.end, line.number
        finally:  # what lies before a damaged line counts
            self._take(new, place)

    def _take(self, new: _New, place: _Place) -> None:
        """Sort in what a look found, all at once: line by line it would take the square of their number."""
        if not new.steps:
            return
        self._drawn = None
        if new.first is not None and (place.first is None or new.first < place.first):
            place.first = new.first
            self._cut(bisect_left(self._steps, new.first))
        begin = bisect_left(self._steps, min(new.steps))
        steps = self._steps[begin:] + new.steps
        self._steps[begin:] = array("q", sorted(set(steps)))
        rows = {step: row for row, step in enumerate(self._steps[begin:])}
        for key, column in self._columns.items():
            values = array("d", [math.nan]) * len(rows)
            for step, value in zip(steps, column[begin:] + new.column(key), strict=True):
                if value == value:  # a step's later line adds to its earlier one
                    values[rows[step]] = value
            column[begin:] = values

    def _is_drawn(self, key: str) -> bool:
        if key not in self._columns:
            is_part = key.startswith(PART) and not key.endswith("_std")
            if key not in _SHOWN and not (is_part and len(self._columns.keys() - _SHOWN) < PARTS):
                return False
            self._columns[key] = array("d", [math.nan]) * len(self._steps)
        return True

    def _cut(self, count: int) -> None:
        del self._steps[count:]
        for column in self._columns.values():
            del column[count:]

    def _points(self, key: str, scale: float) -> list[list[float]]:
        """A curve; of a long one the means of as many stretches as are drawn, each at its last step."""
        column = self._columns.get(key, array("d"))
        size = -(-len(column) // POINTS)
        points: list[list[float]] = []
        for begin in range(0, len(column), size or 1):
            known = [value for value in column[begin : begin + size] if value == value]
            if known:
                mean = known[0] if len(known) == 1 else math.fsum(known) / len(known)
                points.append([self._steps[min(begin + size, len(column)) - 1], scale * mean])
        return points
