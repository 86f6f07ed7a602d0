"""VL-Cogito, arXiv 2507.22607: the weight of a prompt by its difficulty."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from leanthink.algorithms import BatchNorm, DifficultyWeight, Rloo
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from oracles import Flags

EXAMPLES = [
    DifficultyWeight(),
    DifficultyWeight(stage="easy", of=Rloo()),
    DifficultyWeight(stage="binary_medium", of=BatchNorm(boost=0.1)),
]


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("hard", [0.25, 1, 1, 1, 1, 0.923880, 0.707107, 0.382683, 0]),
        ("medium", [0, 0.382683, 0.707107, 0.923880, 1, 0.923880, 0.707107, 0.382683, 0]),
        ("easy", [0, 0.382683, 0.707107, 0.923880, 1, 1, 1, 1, 1]),
        ("binary_hard", [0, 1, 1, 1, 1, 0, 0, 0, 0]),
        ("binary_medium", [0, 0, 1, 1, 1, 1, 1, 0, 0]),
        ("binary_easy", [0, 0, 0, 0, 1, 1, 1, 1, 1]),
    ],
)
def test_worked_example_weights(stage: Any, expected: list[float]) -> None:
    advantage = DifficultyWeight(stage=stage)
    for right, weight in enumerate(expected):
        correct_N = torch.arange(8) < right
        lifted_N = advantage.lifted(torch.ones(8).double(), correct_N, torch.zeros(8, dtype=torch.int64))
        assert lifted_N.tolist() == pytest.approx([weight] * 8, abs=1e-6)


def slow_odsw(correct: Flags, stage: str) -> float:
    """The weight of one prompt."""
    rate = sum(correct) / len(correct)
    if rate == 0:
        return 0.25 if stage == "hard" else 0.0
    if (stage == "hard" and rate <= 0.5) or (stage == "easy" and rate > 0.5):
        return 1.0
    return math.cos((rate - 0.5) * math.pi)


@pytest.mark.parametrize("stage", ["easy", "medium", "hard"])
def test_weights_agree_with_the_loop(merged: RolloutBatch, stage: Any) -> None:
    lifted_N = DifficultyWeight(stage=stage).lifted(torch.ones(len(merged)).double(), merged.correct == 1, merged.group)
    of_group: dict[int, list[bool]] = {}
    for code, right in zip(merged.group.tolist(), (merged.correct == 1).tolist(), strict=True):
        of_group.setdefault(code, []).append(right)
    expected = [slow_odsw(of_group[code], stage) for code in merged.group.tolist()]
    assert lifted_N.tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda: DifficultyWeight(stage="late"), "stage is 'late'"),  # type: ignore[arg-type]
        (lambda: DifficultyWeight(all_wrong=2), "all_wrong is 2"),
    ],
)
def test_wrong_settings_are_refused(make: Any, fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        make()
