"""The results of a sweep as one tidy table: a row for each evaluation of each run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow
import pyarrow.csv
import pyarrow.parquet

from leanthink.core.text import storable
from leanthink.files.writing import whole_file
from leanthink.runs.folder import Run, evaluation
from leanthink.runs.identity import read_record
from leanthink.sweep.plan import Sweep
from leanthink.sweep.store import ENDED, State, Status, Store

LEADING: Final = ("run", "variant", "recipe", "seed", "status", "moment", "step")
"""What every row begins with. ``moment`` is ``before`` training, ``after`` it, or ``during``."""


NOTHING: Final[dict[str, Any]] = {"moment": None, "step": None}
"""The row of a run without evaluations."""


def rows_of(run: Run, state: State) -> list[dict[str, Any]]:
    """A row for each evaluation: held-out figures, and under ``train.`` the metrics of the training step.

    A run without any has one row without figures, so that it is not forgotten.
    """
    evaluations = run.evaluations()
    metrics = {row["step"]: row for row in run.read_metrics()}
    common: dict[str, Any] = {}
    record = read_record(run.record)
    if record is not None and record.changed:
        common["changed"] = ", ".join(dict.fromkeys(one.name for _, one in record.changed))
    if state != "failed" and run.summary.exists():
        common |= {f"version.{name}": one for name, one in (run.read_summary().get("versions") or {}).items()}
    rows: list[dict[str, Any]] = []
    for step, samples in evaluations.items():
        figures = evaluation(samples)
        figures.pop("by_difficulty")
        last = step == max(evaluations) and state != "failed"
        rows.append(
            {
                "moment": "before" if step == 0 else "after" if last else "during",
                "step": step,
                **figures,
                **{f"train.{key}": value for key, value in metrics.get(step, {}).items() if _is_ours(key, value)},
                **common,
            }
        )
    return rows or [{**NOTHING, **common}]


def _is_ours(key: str, value: Any) -> bool:
    return key.startswith("leanthink/") and isinstance(value, int | float)


def results(sweep: Sweep, statuses: Mapping[str, Status]) -> pyarrow.Table:
    """The table of all runs that have ended, by run's key; config columns are the keys that the sweep file changes."""
    rows = [
        {
            "run": planned.folder,
            "variant": planned.variant,
            "recipe": planned.recipe,
            "seed": planned.seed,
            "status": statuses[planned.key].state,
            **storable(row)[0],
            **{f"config.{key}": planned.overrides.get(key) for key in sweep.varied},
            "seconds": statuses[planned.key].seconds,
            "attempts": statuses[planned.key].attempts,
            "error": statuses[planned.key].error or None,
            "git_commit": statuses[planned.key].commit or None,
        }
        for planned in sweep.runs
        if statuses[planned.key].state in ENDED
        for row in statuses[planned.key].rows or [NOTHING]
    ]
    names = list(dict.fromkeys([*LEADING, *(name for row in rows for name in row)]))
    return pyarrow.table({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: Sequence[Any]) -> pyarrow.Array:
    """Numbers as numbers, text as text; where a column mixes them, or holds lists or wide numbers, JSON."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pyarrow.array([None if value is None else float(value) for value in values], pyarrow.float64())
    is_wide = kinds == {int} and any(value is not None and abs(value) >= 2**63 for value in values)
    if kinds in ({int}, {float}, {bool}) and not is_wide:
        return pyarrow.array(values)
    texts = [value if isinstance(value, str) or value is None else json.dumps(value, default=str) for value in values]
    return pyarrow.array(storable(texts)[0], pyarrow.string())


def write_results(sweep: Sweep, store: Store) -> None:
    """Write ``results.parquet`` and ``results.csv``, each at once."""
    table = results(sweep, {planned.key: store.status(planned) for planned in sweep.runs})
    for ending, write in ((".parquet", pyarrow.parquet.write_table), (".csv", pyarrow.csv.write_csv)):
        with whole_file(store.folder / f"results{ending}") as part:
            write(table, part)
