"""Batches made by hand."""

from __future__ import annotations

from typing import Any

from leanthink.core.batch import RolloutBatch
from leanthink.core.reward import Reward
from leanthink.recipe.scoring import measured_rewards


def group_of(length: list[float], correct: list[int], **columns: Any) -> RolloutBatch:
    """Responses to one prompt."""
    return RolloutBatch.of(group=[0] * len(length), length=length, correct=correct, **columns)


def measured(reward: Reward, batch: RolloutBatch, texts: list[str]) -> RolloutBatch:
    """The batch with what the reward's parts measure on the responses' texts."""
    columns = {part.column: [part.value_of(text, text.split()) for text in texts] for part in measured_rewards(reward)}
    return batch.replace(**columns)
