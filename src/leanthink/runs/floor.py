"""When a run has collapsed: its held-out accuracy stays below a floor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leanthink.core.errors import ConfigError
from leanthink.runs.folder import Run, evaluation


@dataclass(frozen=True, kw_only=True)
class Floor:
    """A run is stopped when its last ``evaluations`` evaluations all lie below an accuracy.

    The evaluation before training does not count, nor one in which no verdict is known.

    Attributes:
        below: the accuracy, as a share.
        evaluations: how many in a row.
    """

    below: float
    evaluations: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.below <= 1:
            raise ConfigError(f"the floor is an accuracy of {self.below}; give a share above 0 and up to 1, as in 0.3")
        if self.evaluations < 1:
            raise ConfigError(f"the floor counts {self.evaluations} evaluations; give 1 or more")

    def reached(self, run: Run, up_to: int | None = None) -> dict[str, Any] | None:
        """Why the run is to be stopped, for its summary; None where it goes on.

        Args:
            run: its folder.
            up_to: leave out evaluations of later steps, which may still be being written.
        """
        done = {step: rows for step, rows in run.evaluations(up_to).items() if step > 0}
        accuracies = [(step, evaluation(rows)["accuracy"]) for step, rows in done.items()]
        last = [(step, value) for step, value in accuracies if value is not None][-self.evaluations :]
        if len(last) < self.evaluations or any(value >= self.below for _, value in last):
            return None
        return {
            "reason": "collapsed",
            "step": last[-1][0],
            "accuracy": last[-1][1],
            "below": self.below,
            "evaluations": self.evaluations,
        }
