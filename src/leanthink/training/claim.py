"""Whether a start may go on with what lies in a run's folder: the same run, or what differs is allowed by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from leanthink.core.errors import ConfigError, StateError
from leanthink.files.writing import is_bare
from leanthink.recipe.keys import PARTS
from leanthink.recipe.yaml import read_yaml
from leanthink.runs.folder import Run
from leanthink.runs.identity import (
    EPOCHS,
    RECIPE,
    STEPS,
    Difference,
    Record,
    allows,
    check_allowed,
    differences,
    facts_of,
    read_record,
    shortest_name,
)

SHOWN: Final = 5  # differences that a refusal spells out


def check_folder(run: Run) -> None:
    """Refuse a folder that is not empty and holds no run.

    Raises:
        StateError: it is none.
    """
    if not run.recipe.exists() and not is_bare(run.folder, "lock", "data"):
        raise StateError(f"{run.folder} is not empty and holds no run; give another folder with --out")


def compared(
    run: Run, facts: Mapping[str, Any], allowed: Sequence[str], steps: int | None, migrates: bool = False
) -> tuple[Record, list[Difference]]:
    """The folder's record, and how this start differs from it.

    Before the trainer has got anywhere everything may differ.

    Args:
        run: the folder.
        facts: what this start is (`leanthink.runs.identity.facts_of`).
        allowed: names of what may differ.
        steps: training steps that are asked for; None for as many as the epochs hold.
        migrates: whether the recipe may differ, its parts going on with what was saved under their names.

    Raises:
        StateError: something differs that is neither free nor allowed.
        ConfigError: ``allowed`` holds a name that nothing of a run has.
    """
    record = read_record(run.record)
    before = _facts_without_record(run) if record is None else record.facts
    if migrates:
        allowed = [*allowed, RECIPE]
    check_allowed(allowed, before, facts)
    known = facts if record is not None else {name: facts.get(name) for name in before}
    differing = differences(before, known)
    begun = bool(run.evaluated_steps() or run.last_checkpoint() or any(run.attempts.glob("*.jsonl")))
    if record is not None and not begun:
        return Record(facts={}), []
    refused = [one for one in differing if not one.free and not any(allows(name, one.name) for name in allowed)]
    if refused:
        told = "; ".join(map(str, refused[:SHOWN])) + (f"; and {len(refused) - SHOWN} more" * (len(refused) > SHOWN))
        if is_finished(run, steps, differing):
            raise StateError(
                f"{run.folder} holds a run that is finished ({run.finished_steps()} steps) and was otherwise: {told}; "
                "give another folder with --out"
            )
        names = ",".join(dict.fromkeys(shortest_name(one.name, [*before, *facts]) for one in refused))
        raise StateError(
            f"{run.folder} holds a run that began otherwise: {told}; give another folder with --out, or go on with the "
            f"changes by --allow-changed {names}"
        )
    return record or Record(facts=before), differing


def _facts_without_record(run: Run) -> dict[str, Any]:
    """What a folder of an earlier version tells of its run: the recipe's parts; nothing where it is new."""
    if not run.recipe.exists() or not run.recipe.stat().st_size:  # new, or left empty by a disk that was full
        return {}
    try:
        node = read_yaml(run.recipe)
    except ConfigError as error:
        raise StateError(f"{error}; it is the run's recipe: give another folder with --out") from error
    parts = {part: node[part] for part in PARTS if part in node} if isinstance(node, Mapping) else {}
    return facts_of({}, parts, {}, {})


def is_finished(run: Run, asked: int | None, differing: Sequence[Difference]) -> bool:
    """Whether there is nothing left to train: stopped for good, or as many steps done as are asked for."""
    steps = run.finished_steps()
    if steps is None:
        return False
    if "stopped" in run.read_summary():
        return True
    return steps >= asked if asked is not None else not any(one.name in (STEPS, EPOCHS) for one in differing)


def finished_notice(run: Run, differing: Sequence[Difference]) -> str:
    """What to say of a start that has nothing left to train."""
    told = f"; differing now, and without effect: {'; '.join(map(str, differing))}" if differing else ""
    return f"{run.folder} is finished: {run.finished_steps()} steps are done, nothing was trained{told}"


def with_migration(record: Record, resumed: int) -> dict[str, str]:
    """The option by which state passes to a recipe that was changed, by leave, since the checkpoint was written."""
    changed = [one for start in record.starts if start.from_step == resumed for one in start.changed]
    return {"changed_recipe": "migrate"} if any(allows(RECIPE, one.name) for one in changed) else {}
