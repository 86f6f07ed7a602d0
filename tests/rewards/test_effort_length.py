"""Levels of effort: NeMo-RL's shaping, and e1, arXiv 2510.27042."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.recipe.scoring import score_step
from leanthink.rewards import Correct, Counted, EffortLength, RelativeEffort
from leanthink.rewards.effort_length import effort_length
from made_batches import group_of
from oracles import Flags, Groups, Numbers, mean, members

EXAMPLES = [
    EffortLength(uppers=(4000.0, 8000.0, 16000.0)),
    EffortLength(uppers=(2000.0,), weights=(0.5,), of=Correct(wrong=-1.0), scales_negative=True),
    RelativeEffort(),
    RelativeEffort(ratios=(0.5,), mean="right"),
]
WRONG_MAY_BEAT_CORRECT = [EffortLength]  # a right response far beyond its level's length pays more than it earns
COLUMNS = {"effort": lambda generator, n: torch.zeros(n)}  # one level for all: a group has one
RECIPES = {
    "effort": SpelledOut(
        reward=Counted(of=RelativeEffort(ratios=(0.25, 0.5, 1.0), mean="group"), counts="thinking"),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        verl={},
    )
}


def shaped(r: float, length: float, w: float, p: float, u: float, negative: bool = True) -> float:
    given = (torch.tensor([value], dtype=torch.float64) for value in (r, length, w, p, u))
    return effort_length(*given, scales_negative=negative).item()


@pytest.mark.parametrize(
    ("r", "length", "expected"),
    [
        (1, 500, 1.096667),
        (1, 3000, 1.080000),
        (1, 15000, 1.0),
        (1, 30000, 0.9),
        (1, 64000, 0.673333),
        (0, 3000, 0.0),
        (0, 30000, -0.1),
    ],
)
def test_worked_example_of_the_published_values(r: float, length: float, expected: float) -> None:
    assert shaped(r, length, 0.1, 1.0, 15000) == pytest.approx(expected, abs=1e-6)
    reward = EffortLength(uppers=(15000.0,), weights=(0.1,), of=Correct())
    assert reward(group_of([length], [int(r)], effort=[0]))[0].tolist() == pytest.approx([expected], abs=1e-6)


def test_worked_example_of_a_strong_weight() -> None:
    assert [shaped(1, length, 1.0, 1.0, 1000) for length in (100, 1000, 2500)] == pytest.approx([1.9, 1.0, -0.5])
    assert shaped(-1, 500, 1.0, 1.0, 1000) == pytest.approx(-1.5)
    assert shaped(-1, 500, 1.0, 1.0, 1000, negative=False) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("ratio", "expected"), [(0.25, [0, 0, 0, 0]), (0.5, [1, 0, 0, 0]), (1.0, [1, 1, 0, 0]), (2.0, [1, 1, 0, 1])]
)
def test_worked_example_of_e1(ratio: float, expected: list[float]) -> None:
    batch = group_of([9000] * 4, [1, 1, 0, 1], effort=[0] * 4, thinking_length=[800, 1200, 2000, 4000])
    assert Counted(of=RelativeEffort(ratios=(ratio,)), counts="thinking")(batch)[0].tolist() == expected


def slow_shaping(reward: Numbers, length: Numbers, level: Numbers, uppers: Numbers, weights: Numbers) -> list[float]:
    """NeMo-RL's rule for one response after the other, negative rewards not scaled."""
    result = []
    for r, tokens, k in zip(reward, length, level, strict=True):
        w, u = weights[int(k)], uppers[int(k)]
        x = min(1.0, w * (1 - tokens / u))
        if x >= 0:
            result.append(r + r * x if r >= 0 else r)
        else:
            result.append(r + 0.7 * x)
    return result


def slow_e1(length: Numbers, right: Flags, group: Groups, level: Numbers, ratios: Numbers) -> list[float]:
    result = [0.0] * len(length)
    for rows in members(group).values():
        average = mean([length[i] for i in rows])
        for i in rows:
            if right[i] and length[i] <= ratios[int(level[i])] * average:
                result[i] = 1.0
    return result


def by_group(merged: RolloutBatch) -> Tensor:
    return (merged.group % 3).double()


def test_agrees_with_the_loops(merged: RolloutBatch) -> None:
    batch = merged.replace(effort=by_group(merged))
    level, length = by_group(merged).tolist(), merged.length.tolist()
    uppers, weights = (3000.0, 8000.0, 9000.0), (0.5, 0.1, 0.0)
    reward = EffortLength(uppers=uppers, weights=weights, penalty=0.7, of=Correct(wrong=-0.5))
    outcome = [1.0 if right else -0.5 for right in merged.correct.tolist()]
    expected = slow_shaping(outcome, length, level, uppers, weights)
    assert reward(batch)[0].tolist() == pytest.approx(expected, abs=1e-12)
    right = [bool(one) for one in merged.correct.tolist()]
    expected = slow_e1(length, right, merged.group.tolist(), level, (0.25, 0.5, 1.0))
    assert RelativeEffort()(batch)[0].tolist() == expected


def test_what_each_level_comes_to_is_shown() -> None:
    batch = RolloutBatch.of(
        group=[0, 0, 1, 1], length=[10, 30, 60, 80], correct=[1, 0, 1, 1], effort=[0, 0, 2, 2], thinking_length=[5] * 4
    )
    metrics = score_step(load_recipe("effort"), batch).metrics
    assert metrics["effort/0/accuracy"] == 0.5 and metrics["effort/2/accuracy"] == 1.0
    assert metrics["effort/0/length"] == 20 and metrics["effort/2/length"] == 70
    assert metrics["length/thinking"] == 5 and metrics["length/answer"] == 40


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ([3, 3], "row 0: 3 is not allowed; give a whole number from 0 to 2"),
        ([0, 1], "differs within the group of row 0"),
    ],
)
def test_a_prompt_states_one_known_level(level: list[float], told: str) -> None:
    with pytest.raises(BatchError, match=told):
        RelativeEffort()(group_of([5, 7], [1, 1], effort=level))


@pytest.mark.parametrize(
    ("cls", "settings", "told"),
    [
        (EffortLength, {"uppers": (9.0,)}, "3 weights and 1 uppers; give one of each"),
        (EffortLength, {"uppers": (9.0,), "weights": (-1.0,)}, r"weights are \(-1\.0,\)"),
        (RelativeEffort, {"ratios": (0.5, 0.25)}, "above 0 and rising"),
        (RelativeEffort, {"ratios": ()}, "give one for each level"),
        (RelativeEffort, {"mean": "all"}, "mean is 'all'; give group or right"),
    ],
)
def test_wrong_settings_are_refused(cls: type, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        cls(**settings)
