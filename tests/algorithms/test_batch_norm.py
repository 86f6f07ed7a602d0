"""DLER's batch-normalised advantage, arXiv 2510.15110, Eq. 3; its worked example is in tests/rewards."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from leanthink.algorithms import BatchNorm
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.testing import check_advantage
from oracles import Groups, Numbers, mean

EXAMPLES = [
    BatchNorm(),
    BatchNorm(level="response", ddof=0, floor="clamp", singleton="own"),
    BatchNorm(boost=0.1, eps=0.1),
    BatchNorm(baseline="none"),
]

SETTINGS: list[dict[str, Any]] = [
    {},
    {"level": "response"},
    {"ddof": 0, "floor": "clamp", "singleton": "own"},  # NeMo-RL
    {"level": "response", "ddof": 0, "floor": "clamp", "eps": 0.01},
    {"eps": 0.5},
    {"baseline": "none"},
    {"baseline": "none", "level": "response"},
]


def slow_batch_norm(
    reward: Numbers,
    group: Groups,
    length: Numbers,
    level: str = "token",
    ddof: int = 1,
    eps: float = 1e-8,
    floor: str = "add",
    singleton: str = "zero",
    baseline: str = "group",
) -> list[float]:
    """arXiv 2510.15110, Eq. 3: minus the group's mean, then by mean and deviation of all tokens or responses."""
    centred = []
    for i in range(len(reward)):
        rewards = [reward[j] for j in range(len(reward)) if group[j] == group[i]]
        if baseline == "none":
            centred.append(reward[i])
        elif len(rewards) == 1:
            centred.append(reward[i] if singleton == "zero" else 0.0)
        else:
            centred.append(0.0 if len(set(rewards)) == 1 else reward[i] - mean(rewards))
    weight = [float(tokens) if level == "token" else 1.0 for tokens in length]
    n = sum(weight)
    if n <= ddof:
        return [0.0] * len(reward)
    centre = sum(w * a for w, a in zip(weight, centred, strict=True)) / n
    variance = sum(w * (a - centre) ** 2 for w, a in zip(weight, centred, strict=True)) / (n - ddof)
    if floor == "clamp":
        divisor = math.sqrt(max(variance, eps))
    elif level == "token":
        divisor = math.sqrt(variance + eps)
    else:
        divisor = math.sqrt(variance) + eps
    return [(a - centre) / divisor for a in centred]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_agrees_with_the_loop(batches: list[RolloutBatch], settings: dict[str, Any]) -> None:
    advantage = BatchNorm(**settings)
    for batch in batches:
        for reward_N in (batch.correct, batch.correct - batch.length / 20_000, torch.full_like(batch.correct, 0.1)):
            columns = [column.tolist() for column in (reward_N, batch.group, batch.length)]
            slow_N = torch.tensor(slow_batch_norm(*columns, **settings), dtype=torch.float64)
            given_N = advantage(reward_N, batch.group, batch.length)
            torch.testing.assert_close(given_N, slow_N, rtol=1e-7, atol=1e-7)


def test_by_token_it_is_as_if_every_token_were_a_response() -> None:
    length_N = torch.tensor([3, 1, 2, 5])
    reward_N, group_N = torch.tensor([1.0, 0.0, 0.0, 0.3]), torch.tensor([0, 0, 1, 1])
    centred_N = torch.tensor([0.5, -0.5, -0.15, 0.15]).double()
    tokens = torch.repeat_interleave(centred_N, length_N)
    expected = (centred_N - tokens.mean()) / (tokens.var() + 1e-8).sqrt()
    torch.testing.assert_close(BatchNorm()(reward_N, group_N, length_N), expected, rtol=1e-6, atol=1e-6)


def test_without_a_baseline_the_batch_is_whitened_as_it_is() -> None:
    """Rewards 3, 1, 1, 1 in two groups: mean 1.5, deviation 1; what is centred already is whitened alike."""
    reward_N, group_N = torch.tensor([3.0, 1.0, 1.0, 1.0]), torch.tensor([0, 0, 1, 1])
    white_N = BatchNorm(baseline="none", level="response", eps=1e-12)(reward_N, group_N)
    assert white_N.tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-9)
    centred_N = torch.tensor([1.0, -1.0, 0.0, 0.0])
    with_N, without_N = (BatchNorm(baseline=one, level="response")(centred_N, group_N) for one in ("group", "none"))
    torch.testing.assert_close(with_N, without_N)


def test_the_longer_the_wrong_the_higher_the_right() -> None:
    reward_N, group_N = torch.tensor([1.0, 0.0]), torch.tensor([0, 0])
    short, long = (BatchNorm()(reward_N, group_N, torch.tensor([10, tokens])) for tokens in (10, 1000))
    assert long[0] > short[0] > 0 > long[1] > short[1]


def test_no_variance_gives_about_0() -> None:
    group_N, length_N = torch.tensor([0, 0, 1, 1]), torch.tensor([7, 8, 9, 10])
    for value in (0.0, 0.1, 1e-30):
        assert BatchNorm()(torch.full((4,), value), group_N, length_N).abs().max() < 1e-6


@pytest.mark.parametrize(("level", "length"), [("token", [1]), ("token", [0]), ("response", [9])])
def test_a_single_token_or_response_has_no_variance(level: Any, length: list[int]) -> None:
    given_N = BatchNorm(level=level)(torch.tensor([1.0]), torch.tensor([0]), torch.tensor(length))
    assert given_N.tolist() == [0.0]


def test_a_group_of_one_keeps_its_reward_or_nothing() -> None:
    reward_N, group_N, length_N = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 0, 1]), torch.tensor([1, 1, 1])
    zero = BatchNorm()(reward_N, group_N, length_N)
    own = BatchNorm(singleton="own")(reward_N, group_N, length_N)
    assert zero[2] > zero[0] and own.tolist() == pytest.approx([1, -1, 0], abs=1e-6)


def test_the_boost_lifts_correct_responses_only() -> None:
    value_N, correct_N = torch.tensor([0.5, -0.5]).double(), torch.tensor([True, False])
    group_N = torch.zeros(2, dtype=torch.int64)
    assert BatchNorm(boost=0.1).lifted(value_N, correct_N, group_N).tolist() == pytest.approx([0.6, -0.5])
    assert BatchNorm(boost=0.1).reads_correct and not BatchNorm().reads_correct
    assert torch.equal(BatchNorm().lifted(value_N, correct_N, group_N), value_N)


def test_tokens_need_lengths() -> None:
    with pytest.raises(BatchError, match="set level to response"):
        BatchNorm()(torch.tensor([1.0]), torch.tensor([0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_any_dtype_comes_out_as_float64(dtype: torch.dtype) -> None:
    given_N = BatchNorm()(torch.tensor([1, 0]).to(dtype), torch.tensor([0, 0]), torch.tensor([5, 5]))
    assert given_N.dtype == torch.float64 and given_N.tolist() == pytest.approx([0.948683, -0.948683], abs=1e-6)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_contract(settings: dict[str, Any]) -> None:
    check_advantage(BatchNorm(**settings), rounds=30)


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"level": "group"}, "level is 'group'; give token or response"),
        ({"floor": "none"}, "floor is 'none'; give add or clamp"),
        ({"singleton": "mean"}, "singleton is 'mean'; give zero or own"),
        ({"eps": 0.0}, "eps is 0.0"),
        ({"ddof": 2}, "ddof 2"),
        ({"boost": -0.1}, "boost is -0.1"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        BatchNorm(**settings)
