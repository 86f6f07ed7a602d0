"""What the page shows of a run: read from its folder while it grows, each time only what is new."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from threading import Lock
from typing import Any, Final

from leanthink.core.errors import DataError
from leanthink.core.text import as_label
from leanthink.reporting.live.curves import Curves
from leanthink.reporting.live.responses import Index
from leanthink.reporting.sources import is_run
from leanthink.runs.folder import Run, dumps_in

STEPS: Final = 1000
"""The most steps to choose responses from: the newest, and the first."""
SETTLED: Final = 10**9
"""Nanoseconds after which a folder that changes has another time."""
INDICES: Final = 8
"""Dumps whose index is kept."""


class Followed:
    """One run's folder, for any number of clients: one at a time reads, the others find what it has read."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder.

        Raises:
            DataError: it holds no run.
        """
        if not folder.is_dir() or not is_run(folder):
            raise DataError(f"{folder} holds no run; give the folder that `leanthink train` writes")
        self.run = Run(folder=folder)
        self._lock = Lock()
        self._curves = Curves(self.run)
        self._indices: dict[Path, Index] = {}
        self._listed: dict[str, tuple[int, list[int]]] = {}

    def state(self) -> dict[str, Any]:
        """Name, progress, curves, and the steps whose responses can be shown."""
        with self._lock:
            self._curves.read_on()
            return {
                "name": as_label(self.run.folder.resolve().name),
                "step": self._curves.last,
                "finished": self.run.summary.exists(),
                "curves": self._curves.drawn(),
                "rollouts": {kind: self._steps(kind) for kind in ("training", "validation")},
            }

    def rollouts(self, kind: str, step: int, verdict: str, difficulty: str, offset: int) -> dict[str, Any]:
        """Some responses of a step, with what filters there are; none where there is no such step."""
        dump = self._folder(kind) / f"{step}.jsonl"
        if step < 0 or not dump.is_file():
            return {"rows": [], "total": 0, "difficulties": []}
        with self._lock:
            index = self._indices.pop(dump, None)
            if index is None:
                shaped = self.run.rollouts / "shaped" / dump.name if kind == "training" else None
                index = Index(dump=dump, shaped=shaped)
            index.read_on()
            self._indices[dump] = index  # the last one asked for is dropped last
            while len(self._indices) > INDICES:
                del self._indices[next(iter(self._indices))]
            return index.page(verdict, difficulty, offset)

    def _folder(self, kind: str) -> Path:
        return self.run.rollouts if kind == "training" else self.run.validation

    def _steps(self, kind: str) -> list[int]:
        """The steps that have a dump; looked up again where the folder has changed."""
        try:
            changed = self._folder(kind).stat().st_mtime_ns
        except FileNotFoundError:
            return []
        if kind not in self._listed or self._listed[kind][0] != changed:
            steps = list(dumps_in(self._folder(kind)))
            told = [*steps[:1], *steps[1:][-STEPS + 1 :]]
            if time.time_ns() - changed < SETTLED:  # another file may come within the same tick of the clock
                return told
            self._listed[kind] = (changed, told)
        return self._listed[kind][1]


def dumps(content: Any) -> bytes:
    """JSON that a browser reads, whatever the numbers: what is not finite becomes null."""
    return json.dumps(_finite(content), allow_nan=False).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value
