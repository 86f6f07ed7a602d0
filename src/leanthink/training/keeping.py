"""Training responses kept for `leanthink score`, `watch` and `report`: each one's facts, reward and parts.

A folder holds texts and scores in ``{step}.jsonl``, as verl dumps them (``trainer.rollout_data_dir``), and
``shaped/{step}.jsonl`` beside it, joined by ``uid``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from leanthink.core.limits import FORCED, LIMIT, THINKING_LIMIT
from leanthink.files.writing import write_text
from leanthink.recipe.scoring import ScoredStep
from leanthink.rewards.counted import COLUMN_OF
from leanthink.rewards.effort_length import EFFORT, EFFORT_NAME

FACTS: Final = (
    *("acc", "unknown", "reason", "pred", "length", "truncated", "difficulty", EFFORT, EFFORT_NAME),
    *(LIMIT, THINKING_LIMIT, FORCED),
    *dict.fromkeys(COLUMN_OF.values()),
)


def write_shaped(
    folder: Path,
    step: int,
    keys: Sequence[str],
    facts: Sequence[Mapping[str, Any]],
    rows: Sequence[int],
    scored: ScoredStep | None,
) -> None:
    """Write one step's responses.

    Args:
        folder: that of the kept responses.
        step: the training step, from 1.
        keys: the trainer's key of each response.
        facts: the facts about each.
        rows: which of them were scored, in the order of ``scored``.
        scored: what the recipe made of those.
    """
    places = {row: place for place, row in enumerate(rows)}
    lines = []
    for row, (key, fact) in enumerate(zip(keys, facts, strict=True)):
        content = {"uid": key, "step": step, **{name: fact[name] for name in FACTS if name in fact}}
        if scored is not None and row in places:
            content |= dict(_shaped(scored, places[row]))
        lines.append(json.dumps(content) + "\n")
    write_text(folder / "shaped" / f"{step}.jsonl", "".join(lines))


def _shaped(scored: ScoredStep, place: int) -> Iterator[tuple[str, Any]]:
    yield "reward", float(scored.reward[place])
    yield "advantage", None if scored.advantage is None else float(scored.advantage[place])
    yield "parts", {name: float(values[place]) for name, values in scored.parts.items()}
