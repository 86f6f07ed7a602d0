"""What the page shows of a run: read from its folder, again and again while it grows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from leanthink.core.errors import DataError
from leanthink.files.reading import read_jsonl
from leanthink.reporting.sources import is_run
from leanthink.runs.folder import Run

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
PAGE: Final = 50  # responses sent at once


class Followed:
    """One run's folder; reads its metrics anew only where they have grown."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder.

        Raises:
            DataError: it holds no run.
        """
        if not folder.is_dir() or not is_run(folder):
            raise DataError(f"{folder} holds no run; give the folder that `leanthink train` writes")
        self.run = Run(folder=folder)
        self._size = -1
        self._rows: list[dict[str, Any]] = []

    def state(self) -> dict[str, Any]:
        """Name, progress, curves, and the steps whose responses can be shown."""
        rows = self._metrics()
        keys = [*CURVES, *self._part_curves(rows)]
        curves = []
        for key, label, scale in keys:
            points = [[row["step"], scale * row[key]] for row in rows if _is_number(row.get(key))]
            if points:
                curves.append({"label": label, "points": points})
        return {
            "name": self.run.folder.resolve().name,
            "step": max((int(row["step"]) for row in rows), default=0),
            "finished": self.run.summary.exists(),
            "curves": curves,
            "rollouts": {kind: sorted(self._dumps(kind)) for kind in ("training", "validation")},
        }

    def rollouts(self, kind: str, step: int, verdict: str, difficulty: str, offset: int) -> dict[str, Any]:
        """Some responses of a step, with what filters there are; those of another step where there is no such one."""
        path = self._dumps(kind).get(step)
        if path is None:
            return {"rows": [], "total": 0, "difficulties": []}
        shaped = self._shaped(step) if kind == "training" else {}
        rows = [_shown(row, shaped.get(str(row.get("uid")), {})) for row in read_jsonl(path, whole=False)]
        difficulties = sorted({row["difficulty"] for row in rows if row["difficulty"]})
        wanted = [row for row in rows if verdict in ("", row["verdict"]) and difficulty in ("", row["difficulty"])]
        return {"rows": wanted[offset : offset + PAGE], "total": len(wanted), "difficulties": difficulties}

    def _metrics(self) -> list[dict[str, Any]]:
        size = sum(path.stat().st_size for path in self.run.attempts.glob("*.jsonl"))
        if size != self._size:
            self._rows, self._size = self.run.read_metrics(), size
        return self._rows

    def _part_curves(self, rows: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
        names = {key for row in rows[-1:] for key in row if key.startswith(PART) and not key.endswith("_std")}
        return [(key, f"part {key.removeprefix(PART)}, mean", 1) for key in sorted(names)]

    def _dumps(self, kind: str) -> dict[int, Path]:
        folder = self.run.rollouts if kind == "training" else self.run.validation
        return {int(path.stem): path for path in folder.glob("*.jsonl") if path.stem.isdigit()}

    def _shaped(self, step: int) -> dict[str, dict[str, Any]]:
        path = self.run.rollouts / "shaped" / f"{step}.jsonl"
        return {str(row["uid"]): row for row in read_jsonl(path, whole=False)} if path.exists() else {}


def _shown(row: Mapping[str, Any], shaped: Mapping[str, Any]) -> dict[str, Any]:
    """A response as the page shows it."""
    facts = {**row, **shaped}
    verdict = "unknown" if facts.get("unknown") or "acc" not in facts else "right" if facts["acc"] else "wrong"
    return {
        "prompt": str(row.get("input", "")),
        "response": str(row.get("output", "")),
        "gold": str(row.get("gts", "")),
        "verdict": verdict,
        "reason": str(facts.get("reason", "")),
        "difficulty": str(facts.get("difficulty", "")),
        "length": facts.get("length"),
        "truncated": bool(facts.get("truncated")),
        "reward": shaped.get("reward"),
        "advantage": shaped.get("advantage"),
        "parts": shaped.get("parts") or {},
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def dumps(content: Any) -> bytes:
    """JSON that a browser reads, whatever the numbers: what is not finite becomes null."""
    return json.dumps(_finite(content), allow_nan=False).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value
