from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import oracles
from collected import SpelledOut
from leanthink.algorithms import (
    AdaptiveTopK,
    Advantage,
    BatchNorm,
    FilterTopK,
    Grpo,
    NoBaseline,
    PpoClip,
    Rloo,
    grpo_advantage,
    rloo_advantage,
)
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.rewards import Correct
from leanthink.testing import ContractError, check_advantage
from oracles import Groups, Numbers

EXAMPLES = [Grpo(), Grpo(scale="none"), Grpo(ddof=0, eps=0.0), NoBaseline(), Rloo()]
NOT_CENTRED = [NoBaseline]
RECIPES = {
    "grpo": SpelledOut(
        reward=Correct(),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2, aggregation="seq-mean-token-mean"),
        verl={
            "actor_rollout_ref.rollout.n": 64,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "data.max_response_length": 1024,
        },
    )
}


def rewards_of(batch: RolloutBatch) -> list[torch.Tensor]:
    """The raw outcome, ties included, and a shaped one."""
    return [batch.correct, batch.correct - batch.length / 20_000]


@pytest.mark.parametrize(
    "settings",
    [{}, {"ddof": 0}, {"eps": 1e-3}, {"scale": "none"}, {"eps": 0.0}],
    ids=str,
)
def test_grpo_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch, settings: dict[str, Any]) -> None:
    for which, reward_N in enumerate(rewards_of(merged)):
        expected: list[float] = []
        for batch in batches:
            expected += oracles.grpo(rewards_of(batch)[which].tolist(), batch.group.tolist(), **settings)
        given_N = Grpo(**settings)(reward_N, merged.group)
        torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def slow_rloo(reward: Numbers, group: Groups) -> list[float]:
    """arXiv 2402.14740: ``r_i`` minus the mean of the others; nothing to compare with gives 0."""
    result = []
    for i in range(len(reward)):
        others = [reward[j] for j in range(len(reward)) if group[j] == group[i] and j != i]
        result.append(reward[i] - sum(others) / len(others) if others else 0.0)
    return result


def test_rloo_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch) -> None:
    for which, reward_N in enumerate(rewards_of(merged)):
        expected: list[float] = []
        for batch in batches:
            expected += slow_rloo(rewards_of(batch)[which].tolist(), batch.group.tolist())
        given_N = Rloo()(reward_N, merged.group)
        torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


def test_rloo_is_mean_centring_times_n_over_n_minus_1(merged: RolloutBatch) -> None:
    size_N = merged.group.bincount()[merged.group]
    factor_N = size_N / (size_N - 1).clamp(min=1)
    for reward_N in rewards_of(merged):
        centred_N = grpo_advantage(reward_N, merged.group, scale="none")
        torch.testing.assert_close(rloo_advantage(reward_N, merged.group), factor_N * centred_N)


@pytest.mark.parametrize(
    "advantage", [Grpo(), Grpo(eps=0.0), Grpo(ddof=0, eps=0.0), Grpo(scale="none"), Rloo()], ids=repr
)
@pytest.mark.parametrize("value", [0.0, 0.1, -1e9, 1e-30, 0.9765531234])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 16])
def test_equal_rewards_give_exactly_0(advantage: Advantage, value: float, size: int) -> None:
    group_N = torch.zeros(size, dtype=torch.int64)
    assert advantage(torch.full((size,), value, dtype=torch.float64), group_N).tolist() == [0.0] * size


@pytest.mark.parametrize("advantage", [Grpo(), Rloo()], ids=repr)
def test_single_precision_and_integers_come_out_as_float64(advantage: Advantage) -> None:
    group_N = torch.tensor([0, 0, 0])
    expected_N = advantage(torch.tensor([1, 0, 0], dtype=torch.float64), group_N)
    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.bool):
        given_N = advantage(torch.tensor([1, 0, 0]).to(dtype), group_N)
        assert given_N.dtype == torch.float64 and torch.equal(given_N, expected_N)


def test_the_standard_deviation_is_the_sample_one_by_default() -> None:
    given = Grpo(eps=0.0)(torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.zeros(4, dtype=torch.int64)).tolist()
    assert given == pytest.approx([1.5, -0.5, -0.5, -0.5])
    given = Grpo(eps=0.0, ddof=0)(torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.zeros(4, dtype=torch.int64)).tolist()
    assert given == pytest.approx([math.sqrt(3), *[-1 / math.sqrt(3)] * 3])


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [([1, 1, -1, -1], [0.866025, 0.866025, -0.866025, -0.866025]), ([1, 1, -1], [0.577350, 0.577350, -1.154700])],
)
def test_worked_example_of_overlong_filtering(rewards: list[float], expected: list[float]) -> None:
    """With the truncated response in the statistics of its group, and without it."""
    reward_N = torch.tensor(rewards, dtype=torch.float64)
    group_N = torch.zeros(len(rewards), dtype=torch.int64)
    assert Grpo()(reward_N, group_N).tolist() == pytest.approx(expected, abs=2e-6)  # the example adds no eps
    assert Grpo(eps=0.0)(reward_N, group_N).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("settings", [{"eps": -1.0}, {"ddof": 2}, {"ddof": -1}, {"scale": "foo"}])
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Grpo(**settings)


@pytest.mark.parametrize("advantage", [Grpo(), Grpo(scale="none", ddof=0), Rloo()], ids=repr)
def test_contract(advantage: Advantage) -> None:
    check_advantage(advantage, rounds=30)


@pytest.mark.parametrize(
    "advantage",
    [Grpo(), Grpo(scale="none"), Rloo(), NoBaseline(), BatchNorm(), FilterTopK(k=2), AdaptiveTopK(k=(3, 2))],
    ids=repr,
)
def test_lists_do_as_well_as_tensors_and_groups_have_any_ids(advantage: Advantage) -> None:
    reward, group, length = [1, 0.5, 0, 0.25, 1], ["b", ("a", 1), "b", ("a", 1), "b"], [5, 4, 3, 9, 7]
    codes = torch.tensor([0, 1, 0, 1, 0])
    expected_N = advantage(torch.tensor(reward).double(), codes, torch.tensor(length).double())
    assert torch.equal(advantage(reward, group, length), expected_N)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (([1, "0.5"], ["a", "a"]), "reward, row 1: '0.5' is no number; give one per response"),
        (([1, 0, 0], ["a", "a"]), "reward has shape (3,), the groups (2,); give one per response"),
        (([1, float("inf")], ["a", "a"]), "reward, row 1: inf is not finite; give a finite number per response"),
        ((torch.tensor([float("nan"), 1.0]), ["a", "a"]), "reward, row 0: nan is not finite"),
        (([1, 0], ["a", "a"], [4, float("inf")]), "length, row 1: inf is not finite"),
        ((torch.ones(2, 1), ["a", "a"]), "reward has shape (2, 1), the groups (2,)"),
        (([1, 0], torch.tensor([0.0, 1.0])), "groups are a tensor of torch.float32"),
        (([1, 0], ["a", "a"], [4]), "length has shape (1,), the groups (2,)"),
    ],
)
def test_wrong_arguments_say_what_and_the_cure(arguments: Any, told: str) -> None:
    with pytest.raises(BatchError) as caught:
        BatchNorm()(*arguments)
    assert str(caught.value).startswith(told)


def test_no_baseline_is_the_reward_and_a_copy(merged: RolloutBatch) -> None:
    given_N = NoBaseline()(merged.correct, merged.group)
    assert torch.equal(given_N, merged.correct) and given_N.data_ptr() != merged.correct.data_ptr()
    with pytest.raises(ContractError, match="sums to 0"):
        check_advantage(NoBaseline())
