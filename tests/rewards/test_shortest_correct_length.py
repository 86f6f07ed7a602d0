"""ShorterBetter, arXiv 2504.21370."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.schedules import Linear
from leanthink.recipe.definition import load_recipe
from leanthink.rewards import Correct, ShortestCorrectLength, Sum
from oracles import Flags, Groups, Numbers

EXAMPLES = [ShortestCorrectLength(), ShortestCorrectLength(beta=0.01, max_distance=50)]
RECIPES = {
    "shorter_better": SpelledOut(
        reward=Sum(correct=Correct(right=2.0), length=ShortestCorrectLength(beta=0.001, max_distance=None)),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        verl={
            "data.train_batch_size": 128,
            "data.max_prompt_length": 1500,
            "data.max_response_length": 6000,
            "actor_rollout_ref.rollout.n": 8,
            "actor_rollout_ref.rollout.temperature": 0.9,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 16,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "actor_rollout_ref.actor.kl_loss_coef": 0.001,
            "trainer.total_epochs": 3,
        },
    )
}

FOUR = RolloutBatch.of(group=[0] * 4, length=[900, 1200, 2500, 4000], correct=[1, 1, 0, 1])


@pytest.mark.parametrize(
    ("correct", "expected"),
    [
        ([1, 1, 0, 1], [2.000000, 1.700000, -1.600000, -1.100000]),
        ([0] * 4, [-1.250000, -0.950000, -0.350000, -1.850000]),
    ],
)
def test_worked_example(correct: list[int], expected: list[float]) -> None:
    reward = load_recipe("shorter_better").reward
    assert reward(FOUR.replace(correct=correct))[0].tolist() == pytest.approx(expected, abs=1e-6)


def slow_shortest_correct_length(
    length: Numbers, correct: Flags, group: Groups, beta: float, max_distance: float = math.inf
) -> list[float]:
    """arXiv 2504.21370: ``-beta |L - SOL|``."""
    result = []
    for i in range(len(length)):
        mine = [j for j in range(len(length)) if group[j] == group[i]]
        right = [length[j] for j in mine if correct[j]]
        optimal = min(right) if right else sum(length[j] for j in mine) / len(mine)
        result.append(-beta * min(abs(length[i] - optimal), max_distance))
    return result


@pytest.mark.parametrize("max_distance", [None, 500.0])
def test_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch, max_distance: float | None) -> None:
    expected: list[float] = []
    for batch in batches:
        length, correct, group = batch.length.tolist(), (batch.correct == 1).tolist(), batch.group.tolist()
        expected += slow_shortest_correct_length(length, correct, group, 0.001, max_distance or math.inf)
    given_N = ShortestCorrectLength(max_distance=max_distance)(merged)[0]
    torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_one_correct_response_is_the_measure_of_all_and_equal_lengths_cost_nothing() -> None:
    one_right = FOUR.replace(correct=[0, 1, 0, 0])
    assert ShortestCorrectLength()(one_right)[0].tolist() == pytest.approx([-0.3, 0.0, -1.3, -2.8])
    assert ShortestCorrectLength()(FOUR.replace(length=[700] * 4))[0].abs().sum() == 0


def test_beta_may_be_a_schedule() -> None:
    reward = ShortestCorrectLength(beta=Linear(start=0.0, stop=0.001, steps=10))
    assert torch.equal(reward(FOUR.replace(step=10))[0], ShortestCorrectLength()(FOUR)[0])


@pytest.mark.parametrize(
    ("settings", "fact"), [({"beta": -0.001}, "beta is -0.001"), ({"max_distance": 0}, "max_distance 0")]
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        ShortestCorrectLength(**settings)
