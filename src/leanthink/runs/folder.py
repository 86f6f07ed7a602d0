"""A run's folder: what a training run leaves behind, and how to read it.

recipe.yaml      the resolved recipe            command.txt   what was started
run.json         what the run is: data, model, keys, versions; each start, and what was changed for it
metrics.jsonl    one line a step                attempts/     the same as verl wrote it, one file per start
validation/      verl's dumps, {step}.jsonl     checkpoints/  verl's checkpoints and the reward's state
rollouts/        --keep-rollouts: verl's dumps, {step}.jsonl, and shaped/{step}.jsonl with verdicts, rewards and parts
log.txt          everything verl printed        summary.json  before, after, seconds by phase, versions; seed where
                                                             one was given, `stopped` where a floor ended the run
"""

from __future__ import annotations

import fcntl
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from leanthink.core.errors import DataError
from leanthink.files.reading import read_jsonl, read_object, read_text, whole_number
from leanthink.files.writing import write_text, writing

STATE: Final = "leanthink.json"
"""What leanthink adds to each of verl's checkpoints, last of all."""

SUMMARY: Final[Mapping[str, Any]] = {
    "recipe": str,
    "steps": int,
    "before.step": int,
    "before.by_difficulty": dict,
    "after.step": int,
    "after.questions": int,
    "after.by_difficulty": dict,
    "seconds.total": (int, float),
    "seconds.per_step": dict,
    "versions": dict,
}
"""What a summary holds, and of which kind."""
LARGEST: Final = 10**15
"""The largest step, and the largest number, that a run's files may name: more than any training takes."""
_EVALUATED: Final = ("val-", "val/", "eval_")
REQUIRED: Final = ("recipe", "steps")
"""What every one holds, whatever version wrote it."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """The paths of one run."""

    folder: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.folder / "recipe.yaml"

    @property
    def record(self) -> Path:
        """What the run is, and each of its starts."""
        return self.folder / "run.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per step."""
        return self.folder / "metrics.jsonl"

    @property
    def attempts(self) -> Path:
        """verl's own metrics files, one per start."""
        return self.folder / "attempts"

    def next_attempt(self) -> Path:
        """Where the next start's metrics go."""
        return self.attempts / f"{len(list(self.attempts.glob('*.jsonl'))):03d}.jsonl"

    @property
    def validation(self) -> Path:
        """verl's validation dumps."""
        return self.folder / "validation"

    @property
    def rollouts(self) -> Path:
        """verl's dumps of training rollouts, where they are kept, and what the recipe made of them."""
        return self.folder / "rollouts"

    @property
    def checkpoints(self) -> Path:
        """verl's checkpoints."""
        return self.folder / "checkpoints"

    @property
    def log(self) -> Path:
        """Everything verl printed."""
        return self.folder / "log.txt"

    @property
    def summary(self) -> Path:
        """Before and after."""
        return self.folder / "summary.json"

    def last_checkpoint(self) -> int:
        """The step of the newest whole checkpoint; 0 without one."""
        try:
            step = int(read_text(self._tracker, 100))
            if not 0 <= step <= LARGEST:
                raise DataError(f"{self._tracker}: {step} is no step")
            return step
        except FileNotFoundError:
            return 0
        except (DataError, ValueError):  # verl was killed while it wrote it
            whole = [path.parent.name.rpartition("_")[2] for path in self.checkpoints.glob(f"global_step_*/{STATE}")]
            return max((named_step(name) or 0 for name in whole), default=0)

    def mend_checkpoints(self) -> None:
        """Have verl find the newest whole checkpoint where it was killed while it wrote down which that is."""
        step = self.last_checkpoint()
        if not self._tracker.exists() or read_text(self._tracker, 100).strip() == str(step):
            return
        if step:
            write_text(self._tracker, str(step))
        else:
            with writing(self._tracker):
                self._tracker.unlink()

    @property
    def _tracker(self) -> Path:
        return self.checkpoints / "latest_checkpointed_iteration.txt"

    def finished_steps(self) -> int | None:
        """The steps of a run that came to its end; None where it has not, or its summary is to be written anew."""
        try:
            steps = self.read_summary().get("steps")
        except DataError:
            return None
        return steps if isinstance(steps, int) else None

    def read_metrics(self) -> list[dict[str, Any]]:
        """One flat mapping per step, later attempts replacing what an earlier one did after its last checkpoint.

        Where an attempt goes on, verl may evaluate first, and says so under the step of the checkpoint: that adds to
        what the earlier attempt said of the step.
        """
        by_step: dict[int, dict[str, Any]] = {}
        for path in sorted(self.attempts.glob("*.jsonl")):
            lines = [step_of(row, f"{path}, line {n}") for n, row in enumerate(read_jsonl(path, whole=False), 1)]
            first = min((step for step, data in lines if is_trained(step, data)), default=None)
            if first is not None:
                by_step = {step: row for step, row in by_step.items() if step < first}
            for step, data in lines:
                by_step[step] = {"step": step, **by_step.get(step, {}), **data}
        return [by_step[step] for step in sorted(by_step)]

    def evaluations(self, up_to: int | None = None) -> dict[int, list[dict[str, Any]]]:
        """The validation rows by step, those of later steps than ``up_to`` left out.

        Raises:
            DataError: a row that `evaluation` could not take, named.
        """
        wanted = {step: path for step, path in dumps_in(self.validation).items() if up_to is None or step <= up_to}
        return {step: list(_evaluated_rows(path)) for step, path in wanted.items()}

    def evaluated_steps(self) -> list[int]:
        """The steps of which there are validation rows, in order."""
        return list(dumps_in(self.validation))

    def is_locked(self) -> bool:
        """Whether a training process, or verl after its end, still holds the folder."""
        try:
            with (self.folder / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def read_summary(self) -> dict[str, Any]:
        """The finished run's summary.

        Raises:
            DataError: there is none.
        """
        try:
            content = read_object(self.summary)
            _check_summary(content, str(self.summary))
        except FileNotFoundError:
            raise DataError(
                f"{self.folder} holds no summary.json: no finished run; give the folder that `leanthink train` wrote"
            ) from None
        except DataError as error:
            raise DataError(f"{error}; delete it and train in the folder again, which writes it anew") from error
        return content


def named_step(name: str) -> int | None:
    """The step that a file or folder is called by; None where it is called otherwise.

    >>> named_step("16"), named_step("x"), named_step("\u00b2")
    (16, None, None)
    """
    return int(name) if name.isascii() and name.isdecimal() and len(name) <= 15 else None


def dumps_in(folder: Path) -> dict[int, Path]:
    """verl's dumps in a folder, ``{step}.jsonl``, by their steps, in order."""
    found = {step: path for path in sorted(folder.glob("*.jsonl")) if (step := named_step(path.stem)) is not None}
    return dict(sorted(found.items()))


def _evaluated_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a validation dump, each with the figures that it is counted by."""
    for number, row in enumerate(read_jsonl(path), 1):
        for name, most in (("acc", 1), ("length", LARGEST), ("truncated", 1)):
            value = row.get(name)
            if not row.get("unknown") and not (isinstance(value, int | float) and 0 <= value <= most):
                raise DataError(
                    f"{path}, row {number}: {name} is {value!r:.60}; give a number from 0 to {most:g}, or move the "
                    "file away: the run then has no such evaluation"
                )
        yield row


def _check_summary(content: Mapping[str, Any], place: str) -> None:
    """Refuse a summary that lacks what every one has, or holds another kind of value than it should."""
    for key, kinds in SUMMARY.items():
        part, _, name = key.rpartition(".")
        where = content.get(part, {}) if part else content
        value = where.get(name) if isinstance(where, Mapping) else where
        if value is None and isinstance(where, Mapping) and key not in REQUIRED:
            continue
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise DataError(f"{place}: {key} is {value!r:.60}, which no summary holds there")
        if isinstance(value, int | float):
            _check_size(value, f"{place}: {key}")
    for key in ("before", "after", "seconds"):
        if key in content:
            inner = content[key].get("per_step", {}) if key == "seconds" else content[key]
            _check_figures(inner, f"{place}: {key}")


def _check_figures(figures: Any, place: str) -> None:
    """Refuse figures of an evaluation that are neither numbers nor nothing."""
    if not isinstance(figures, Mapping):
        raise DataError(f"{place} is {figures!r:.60}, which no summary holds there")
    for name, value in figures.items():
        if name == "by_difficulty":
            for level, inner in value.items():
                _check_figures(inner, f"{place}.by_difficulty.{level:.40}")
        elif not isinstance(value, int | float | None):
            raise DataError(f"{place}.{name:.40} is {value!r:.60}, which no summary holds there")
        else:
            _check_size(value or 0, f"{place}.{name:.40}")


def is_size(value: Any) -> bool:
    """Whether a value is a finite number, and so large at most that sums and products of some are numbers, too.

    >>> is_size(0.5), is_size(float("nan")), is_size(1e308), is_size("1")
    (True, False, False, False)
    """
    return isinstance(value, int | float) and -LARGEST <= value <= LARGEST


def _check_size(value: float, place: str) -> None:
    if not is_size(value) and value == value:
        raise DataError(f"{place} is {value!r:.60}, more than anything that a run counts; up to {LARGEST:g} is allowed")


def step_of(row: Mapping[str, Any], place: str) -> tuple[int, Mapping[str, Any]]:
    """The step of a line of verl's metrics file, and its figures.

    Raises:
        DataError: it is no such line.
    """
    data = row.get("data")
    if not isinstance(data, Mapping):
        raise DataError(f"{place}: data is {data!r:.60}; give verl's {{'step': 1, 'data': {{...}}}}")
    return step_number(row.get("step"), f"{place}, step"), data


def step_number(value: Any, place: str) -> int:
    """A step, which may be written as a float.

    Raises:
        DataError: it is none.
    """
    step = whole_number(value, place)
    if not 0 <= step <= LARGEST:
        raise DataError(f"{place}: {value!r:.60} is no step; give a whole number from 0 to {LARGEST:g}")
    return step


def is_trained(step: int, data: Mapping[str, Any]) -> bool:
    """Whether a line of metrics is of a step of training, and not of an evaluation alone, by verl's and TRL's names.

    >>> is_trained(3, {"actor/loss": 0.1, "val-core/acc": 1.0}), is_trained(3, {"val-core/acc": 1.0})
    (True, False)
    """
    return step > 0 and any(not name.startswith(_EVALUATED) for name in data)


def evaluation(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Accuracy, mean tokens and truncation of validation rows, each mean with its standard error, by difficulty too.

    Rows whose verdict is unknown are left out and counted.

    >>> rows = [{"acc": 1.0, "length": 8, "truncated": 0.0}, {"acc": 0.0, "length": 4, "truncated": 0.0}]
    >>> evaluation(rows)["accuracy"], evaluation(rows)["mean_tokens"]
    (0.5, 6.0)
    """
    by_difficulty: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row.get("difficulty", "") != "":
            by_difficulty[str(row["difficulty"])].append(row)
    return {
        **_figures(rows),
        "by_difficulty": {name: _figures(by_difficulty[name]) for name in sorted(by_difficulty, key=_natural)},
    }


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    known = [row for row in rows if not row.get("unknown")]
    accuracy, accuracy_error = mean_and_error([float(row["acc"]) for row in known])
    tokens, tokens_error = mean_and_error([float(row["length"]) for row in known])
    return {
        "questions": len(rows),
        "unknown": len(rows) - len(known),
        "accuracy": accuracy,
        "accuracy_error": accuracy_error,
        "mean_tokens": tokens,
        "mean_tokens_error": tokens_error,
        "truncated_share": mean_and_error([float(row["truncated"]) for row in known])[0],
    }


def mean_and_error(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and its standard error (sample deviation over the root of n); None where there are too few values.

    >>> mean_and_error([1.0, 3.0])
    (2.0, 1.0)
    >>> mean_and_error([])
    (None, None)
    """
    n = len(values)
    if n == 0:
        return None, None
    mean = math.fsum(values) / n
    if n == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def seconds_by_phase(metrics: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The mean seconds a step spends in each of verl's phases; the first two steps, as warm-up, left out if possible.

    >>> seconds_by_phase([{"step": 1, "timing_s/gen": 2.0}])
    {'gen': 2.0}
    """
    rows = [row for row in metrics if is_size(row.get("timing_s/gen"))]
    rows = rows[2:] or rows
    sums: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            if name.startswith("timing_s/") and is_size(value):
                sums[name.removeprefix("timing_s/")].append(float(value))
    return {name: sum(values) / len(rows) for name, values in sums.items()}


def _natural(name: str) -> tuple[float, str]:
    try:
        return float(name), name
    except ValueError:
        return math.inf, name
