"""GFPO, arXiv 2508.09726."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import oracles
from collected import SpelledOut
from leanthink.algorithms import AdaptiveTopK, BatchNorm, FilterTopK, Grpo, PpoClip, Rloo
from leanthink.algorithms.filter_top_k import Metric
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.rewards import Correct

EXAMPLES = [
    FilterTopK(k=2),
    FilterTopK(k=3, metric="token_efficiency", of=Rloo(), shift_negative=True),
]

STATED = {
    "data.train_batch_size": 64,
    "data.max_prompt_length": 1024,
    "actor_rollout_ref.rollout.temperature": 1.0,
    "actor_rollout_ref.actor.optim.lr": 1e-7,
    "actor_rollout_ref.actor.optim.lr_warmup_steps": 10,
    "actor_rollout_ref.actor.optim.lr_scheduler_type": "cosine",
    "actor_rollout_ref.actor.entropy_coeff": 0.001,
    "actor_rollout_ref.actor.kl_loss_coef": 0.001,
    "trainer.total_training_steps": 100,
}
RECIPES = {
    "gfpo": SpelledOut(
        reward=Correct(right=1.0, wrong=-1.0),
        advantage=FilterTopK(k=8, metric="shortest"),
        loss=PpoClip(low=0.2, high=0.2, aggregation="token-mean"),
        verl={**STATED, "actor_rollout_ref.rollout.n": 24},
    ),
    "gfpo_adaptive": SpelledOut(
        reward=Correct(right=1.0, wrong=-1.0),
        advantage=AdaptiveTopK(k=(8, 8, 6, 4), metric="shortest", ready_after=256, remembered=100_000),
        loss=PpoClip(low=0.2, high=0.2, aggregation="token-mean"),
        verl={**STATED, "actor_rollout_ref.rollout.n": 16},
    ),
}

REWARD = torch.tensor([1.0, 0, 1, 1, 0, 1, 1, 0])
LENGTH = torch.tensor([300.0, 100, 900, 500, 400, 200, 800, 1000])
ONE = torch.zeros(8, dtype=torch.int64)


def test_worked_example() -> None:
    assert FilterTopK(k=4)(REWARD, ONE, LENGTH).tolist() == pytest.approx([1, -1, 0, 0, -1, 1, 0, 0], abs=1e-6)
    sample = FilterTopK(k=4, of=Grpo())(REWARD, ONE, LENGTH)
    expected = [0.866024, -0.866024, 0, 0, -0.866024, 0.866024, 0, 0]
    assert sample.tolist() == pytest.approx(expected, abs=1e-6)
    efficient = FilterTopK(k=4, metric="token_efficiency")(REWARD, ONE, LENGTH)
    assert torch.equal(efficient, torch.zeros(8, dtype=torch.float64))


@pytest.mark.parametrize(
    ("metric", "shift"), [("shortest", False), ("token_efficiency", False), ("token_efficiency", True)]
)
@pytest.mark.parametrize("k", [2, 3])
def test_agrees_with_the_loop(batches: list[RolloutBatch], metric: Metric, shift: bool, k: int) -> None:
    for number, batch in enumerate(batches):
        reward_N = batch.correct - (number % 3) * batch.length / 100_000
        expected = oracles.gfpo(reward_N.tolist(), batch.length.tolist(), batch.group.tolist(), k, metric, shift)
        given_N = FilterTopK(k=k, metric=metric, shift_negative=shift)(reward_N, batch.group, batch.length)
        torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_a_group_no_larger_than_k_is_plain_grpo() -> None:
    given = FilterTopK(k=8, of=Grpo())(REWARD, ONE, LENGTH)
    assert torch.equal(given, Grpo()(REWARD, ONE))


def test_what_is_not_trained_on_is_never_kept() -> None:
    """A response that is masked, but counted, has no trained tokens: it is not the shortest."""
    advantage = FilterTopK(k=2)(
        torch.tensor([0.0, 1.0, 0.0]), torch.zeros(3, dtype=torch.int64), torch.tensor([0, 5, 9])
    )
    assert advantage.tolist() == pytest.approx([0.0, 1.0, -1.0], abs=1e-6)


def test_negative_rewards_by_token_prefer_long_responses_unless_shifted() -> None:
    reward_N, length_N = torch.tensor([-1.0, -1.0, 1.0, -0.5]), torch.tensor([10.0, 1000.0, 100.0, 10.0])
    group_N = torch.zeros(4, dtype=torch.int64)
    literal = FilterTopK(k=2, metric="token_efficiency")(reward_N, group_N, length_N)
    shifted = FilterTopK(k=2, metric="token_efficiency", shift_negative=True)(reward_N, group_N, length_N)
    assert literal.nonzero().squeeze(-1).tolist() == [1, 2]
    assert shifted.nonzero().squeeze(-1).tolist() == [2, 3]


def test_without_lengths_it_says_so() -> None:
    with pytest.raises(BatchError, match="pass length_N"):
        FilterTopK(k=4)(REWARD, ONE)


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"k": 1}, "k is 1"),
        ({"k": 4, "metric": "longest"}, "metric is 'longest'"),
        ({"k": 4, "of": BatchNorm(boost=0.1)}, "without boost"),
        ({"k": 4, "of": FilterTopK(k=2)}, "filter of its own"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        FilterTopK(**settings)


def test_a_minimum_that_is_not_negative_shifts_nothing() -> None:
    reward_N, length_N = torch.tensor([1.0, 0.9, 0.8]), torch.tensor([1000.0, 300.0, 100.0])
    kept = [
        FilterTopK(k=2, metric="token_efficiency", shift_negative=shift)(reward_N, torch.zeros(3).long(), length_N) != 0
        for shift in (True, False)
    ]
    assert kept[0].tolist() == kept[1].tolist() == [False, True, True]
