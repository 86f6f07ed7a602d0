"""DAPO's soft overlong punishment, arXiv 2503.14476, Eq. 13."""

from __future__ import annotations

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.rewards import Correct, SoftOverlong, Sum
from leanthink.rewards.soft_overlong import soft_overlong
from oracles import Numbers

EXAMPLES = [
    SoftOverlong(limit=12_000, buffer=4000),
    SoftOverlong(limit=4000, buffer=4000, factor=2.0, clamp=False),
]
RECIPES = {
    "dapo_overlong": SpelledOut(
        reward=Sum(
            correct=Correct(right=1.0, wrong=-1.0),
            overlong=SoftOverlong(limit=20480, buffer=4096, factor=1.0, clamp=True),
        ),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.28, dual=10.0, aggregation="token-mean"),
        verl={
            "data.train_batch_size": 512,
            "actor_rollout_ref.rollout.n": 16,
            "actor_rollout_ref.rollout.temperature": 1.0,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 512 // 16,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "actor_rollout_ref.actor.optim.lr_warmup_steps": 20,
            "data.max_response_length": 16384 + 4096,
            "algorithm.filter_groups.enable": True,
            "algorithm.filter_groups.metric": "acc",
        },
    )
}

SEVEN = RolloutBatch.of(
    group=[0] * 7, length=[1000, 16384, 16385, 18432, 20000, 20480, 20481], correct=[1, 1, 1, 1, 0, 0, 0]
)
PENALTY = SoftOverlong(limit=20480, buffer=4096)


def test_worked_example() -> None:
    assert PENALTY(SEVEN)[0].tolist() == pytest.approx([0, 0, -0.000244, -0.5, -0.882812, -1, -1], abs=1e-6)


def test_worked_example_verl_form() -> None:
    reward_N, _ = SoftOverlong(limit=20480, buffer=4096, clamp=False)(SEVEN)
    assert reward_N.tolist() == pytest.approx([0, 0, -0.000244, -0.5, -0.882812, -1, -1.000244], abs=1e-6)


def test_worked_example_with_a_base_of_plus_and_minus_1() -> None:
    reward = Sum(correct=Correct(right=1, wrong=-1), overlong=PENALTY)
    expected = [1.0, 1.0, 0.999756, 0.5, -1.882812, -2.0, -2.0]
    assert reward(SEVEN)[0].tolist() == pytest.approx(expected, abs=1e-6)


def slow_soft_overlong(
    length: Numbers, limit: float, buffer: float, factor: float = 1.0, clamp: bool = True
) -> list[float]:
    """arXiv 2503.14476, Eq. 13, times ``factor``; without ``clamp`` it goes on falling beyond the limit."""
    result = []
    for tokens in length:
        if tokens <= limit - buffer:
            result.append(0.0)
        elif tokens <= limit or not clamp:
            result.append(factor * ((limit - buffer) - tokens) / buffer)
        else:
            result.append(-factor)
    return result


@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize(("limit", "buffer", "factor"), [(8000, 2000, 1.0), (3000, 3000, 0.5), (16_001, 1, 2.0)])
def test_agrees_with_the_loop(merged: RolloutBatch, limit: float, buffer: float, factor: float, clamp: bool) -> None:
    slow = slow_soft_overlong(merged.length.tolist(), limit, buffer, factor, clamp)
    given_N = soft_overlong(merged.length, limit, buffer, factor, clamp)
    torch.testing.assert_close(given_N, torch.tensor(slow, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    reward = SoftOverlong(limit=limit, buffer=buffer, factor=factor, clamp=clamp)
    assert torch.equal(reward(merged)[0], given_N)


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"limit": 10, "buffer": 0}, "buffer is 0"),
        ({"limit": 10, "buffer": 11}, "buffer is 11 and limit 10"),
        ({"limit": 10, "buffer": 5, "factor": -1}, "factor is -1"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, float], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        SoftOverlong(**settings)  # type: ignore[arg-type]
