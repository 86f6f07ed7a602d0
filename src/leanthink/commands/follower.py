"""A training as it goes on: a bar on a terminal; elsewhere a line a step, and signs of life until the first."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from leanthink.reporting.tables import is_number

SHOWN: Final = (
    ("accuracy", "leanthink/accuracy", "{:.0%}"),
    ("tokens", "leanthink/length/all", "{:.1f}"),
    ("truncated", "leanthink/truncated_share", "{:.1%}"),
    ("reward", "leanthink/reward/all", "{:.3f}"),
    ("seconds", "timing_s/step", "{:.1f}"),
)
AVERAGED: Final = SHOWN[:2]
"""What jumps with the difficulty of a batch."""
RUNNING: Final = 10
"""Steps of the running mean."""
STARTING: Final = "starting the trainer and the rollout engine"
SIGN_OF_LIFE: Final = 15.0
"""Seconds between two lines while nothing has been trained yet."""


class Follower:
    """What a training shows of itself."""

    def __init__(
        self,
        console: Console,
        steps: int | None,
        every: float = SIGN_OF_LIFE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._every, self._clock = console, every, clock
        self._started = clock()
        self._first: int | None = None
        self._recent: dict[str, deque[float]] = {key: deque(maxlen=RUNNING) for _, key, _ in AVERAGED}
        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task(STARTING, total=steps)
        self._begun = threading.Event()

    def __enter__(self) -> Follower:
        self._progress.start()
        if not self._console.is_terminal:
            threading.Thread(target=self._live, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._begun.set()
        self._progress.stop()

    def _live(self) -> None:
        """Say that it is still starting, in a pipe or a log, where no bar moves."""
        while not self._begun.wait(self._every):
            self.say(f"{STARTING}: {self._clock() - self._started:.0f} s")

    def say(self, text: str) -> None:
        """Show a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def on_step(self, row: Mapping[str, Any]) -> None:
        """Show one step, and what jumps from batch to batch as a running mean, too."""
        if row["step"] == 0 or SHOWN[0][1] not in row:
            return
        self._begun.set()
        if self._first is None:
            self._first = row["step"]
            self.say(f"first step done after {self._clock() - self._started:.0f} s")
        text = "  ".join(f"{label} {form.format(row[key])}" for label, key, form in SHOWN if is_number(row.get(key)))
        means = self._means(row)
        self._progress.update(self._task, completed=row["step"], description=f"{text}{means}")
        if not self._console.is_terminal:
            self.say(f"step {row['step']}  {text}{means}")

    def _means(self, row: Mapping[str, Any]) -> str:
        told = []
        for label, key, form in AVERAGED:
            if is_number(row.get(key)):
                self._recent[key].append(float(row[key]))
                told.append(f"{label} {form.format(fmean(self._recent[key]))}")
        count = max(map(len, self._recent.values()))
        return f"  (mean of {count}: {', '.join(told)})" if count > 1 else ""
