"""What came of a run: written when it has reached its end, or was stopped, from what lies in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from leanthink.core.errors import DataError
from leanthink.files.writing import write_text
from leanthink.runs.folder import Run, evaluation, seconds_by_phase


def write_summary(
    run: Run, recipe: str, profile: str, seconds: float, versions: Mapping[str, str], **more: Any
) -> dict[str, Any]:
    """Compute a run's summary and write it.

    Args:
        run: the folder.
        recipe: its name.
        profile: ``cpu`` or ``gpu``.
        seconds: that training took.
        versions: of the packages that took part.
        more: further entries; those that are None are left out.

    Raises:
        DataError: there is no step, or no evaluation to compare.
    """
    metrics, evaluations = run.read_metrics(), run.evaluations()
    steps = max((row["step"] for row in metrics), default=0)
    if not steps or not evaluations:
        raise DataError(f"{run.folder}: training ended without a step or an evaluation")
    first, last = min(evaluations), max(evaluations)
    summary = {
        "recipe": recipe,
        "profile": profile,
        "steps": steps,
        "before": {"step": first, **evaluation(evaluations[first])},
        "after": {"step": last, **evaluation(evaluations[last])},
        "seconds": {"total": seconds, "per_step": seconds_by_phase(metrics)},
        "versions": dict(versions),
        **{name: value for name, value in more.items() if value is not None},
    }
    write_text(run.summary, json.dumps(summary, indent=1) + "\n")
    return summary
