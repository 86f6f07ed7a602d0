"""ALP, arXiv 2506.05256."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.schedules import Linear
from leanthink.recipe.definition import load_recipe
from leanthink.rewards import Correct, PassRateLength, Sum
from oracles import Flags, Groups, Numbers

EXAMPLES = [PassRateLength(), PassRateLength(beta=0.1, length_norm=16_000)]
RECIPES = {
    "alp": SpelledOut(
        reward=Sum(correct=Correct(), length=PassRateLength(beta=1e-7, length_norm=1.0)),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        verl={"data.train_batch_size": 512, "actor_rollout_ref.actor.optim.lr": 1e-6},
    )
}

FOUR = RolloutBatch.of(group=[0] * 4, length=[1000, 2000, 4000, 8000], correct=[1, 1, 1, 0])
ALP = load_recipe("alp").reward


def of(beta: float, length_norm: float = 1.0) -> Sum:
    return Sum(correct=Correct(), length=PassRateLength(beta=beta, length_norm=length_norm))


@pytest.mark.parametrize(
    ("reward", "correct", "expected"),
    [
        (ALP, [1, 1, 1, 0], [0.999925, 0.999850, 0.999700, -0.000600]),
        (of(0.1, 16384), [1, 1, 1, 0], [0.995422, 0.990845, 0.981689, -0.036621]),
        (ALP, [0] * 4, [-0.000025, -0.000050, -0.000100, -0.000200]),
    ],
)
def test_worked_example(reward: Sum, correct: list[int], expected: list[float]) -> None:
    assert reward(FOUR.replace(correct=correct))[0].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        (ALP, [0.885470, 0.563481, -0.080497, -1.368453]),
        (of(1e-7, 16384), [0.016473, 0.010483, -0.001498, -0.025459]),
    ],
)
def test_worked_example_advantages_of_an_all_correct_group(reward: Sum, expected: list[float]) -> None:
    reward_N, _ = reward(FOUR.replace(correct=[1] * 4))
    assert Grpo()(reward_N, FOUR.group).tolist() == pytest.approx(expected, abs=1e-6)


def slow_pass_rate_length(
    length: Numbers, correct: Flags, group: Groups, beta: float, length_norm: float = 1.0
) -> list[float]:
    """arXiv 2506.05256: ``-(beta / N) max(p, 1 / K) |y|``."""
    result = []
    for i in range(len(length)):
        solved = [1 if correct[j] else 0 for j in range(len(length)) if group[j] == group[i]]
        result.append(-(beta / length_norm) * max(sum(solved) / len(solved), 1 / len(solved)) * length[i])
    return result


@pytest.mark.parametrize(("beta", "length_norm"), [(1e-7, 1.0), (0.1, 16384.0)])
def test_agrees_with_the_loop(
    batches: list[RolloutBatch], merged: RolloutBatch, beta: float, length_norm: float
) -> None:
    expected: list[float] = []
    for batch in batches:
        correct = (batch.correct == 1).tolist()
        expected += slow_pass_rate_length(batch.length.tolist(), correct, batch.group.tolist(), beta, length_norm)
    given_N = PassRateLength(beta=beta, length_norm=length_norm)(merged)[0]
    torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-15)


def test_what_a_token_costs_is_logged() -> None:
    batch = RolloutBatch.of(group=[0, 0, 1, 1], length=[10, 20, 30, 40], correct=[1, 1, 0, 0])
    parts = of(0.2, 10).breakdown(batch).parts
    assert parts["length/per_token"].tolist() == pytest.approx([0.02, 0.02, 0.01, 0.01])
    assert parts["length"].tolist() == pytest.approx([-0.2, -0.4, -0.3, -0.4])


def test_beta_may_be_a_schedule() -> None:
    reward = PassRateLength(beta=Linear(start=0.0, stop=1e-4, steps=10))
    assert reward(FOUR)[0].tolist() == [0.0] * 4
    assert torch.equal(reward(FOUR.replace(step=10))[0], PassRateLength(beta=1e-4)(FOUR)[0])


@pytest.mark.parametrize(
    ("settings", "fact"), [({"beta": -1e-7}, "beta is -1e-07"), ({"length_norm": 0}, "length_norm 0")]
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        PassRateLength(**settings)
