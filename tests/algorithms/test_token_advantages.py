"""Advantages by token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from leanthink.algorithms import Gae, ReinforcePp, reinforce_pp_advantage
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.placement import token_rewards
from leanthink.rewards import Correct, StepwiseGain, Sum
from oracles import returns

EXAMPLES = [Gae(), Gae(gamma=0.99, lam=0.95), ReinforcePp(), ReinforcePp(gamma=0.9)]

Rows = Sequence[Sequence[float]]


def slow_reinforce_pp(
    rewards: Rows, lengths: Sequence[int], gamma: float = 1.0, eps: float = 1e-8
) -> list[list[float]]:
    """arXiv 2501.03262: returns from each token on, whitened over the valid tokens of all responses."""
    rows = [returns(row[:length], gamma) for row, length in zip(rewards, lengths, strict=True)]
    values = [value for row in rows for value in row]
    if len(values) < 2 or max(values) == min(values):
        return [[0.0] * len(row) for row in rewards]
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    scaled = [[(value - mean) / math.sqrt(variance + eps) for value in row] for row in rows]
    return [[*row, *[0.0] * (len(full) - len(row))] for row, full in zip(scaled, rewards, strict=True)]


def test_agrees_with_the_loop(batches: list[RolloutBatch]) -> None:
    generator = torch.Generator().manual_seed(0)
    for number, batch in enumerate(batches):
        length_N = batch.length.long() % 7
        width = int(length_N.max()) if len(batch) else 0
        mask_NT = torch.arange(width) < length_N[:, None]
        reward_NT = torch.randint(-2, 3, (len(batch), width), generator=generator) / 2 * mask_NT
        if number % 5 == 0:
            reward_NT = torch.zeros_like(reward_NT)
        gamma = (1.0, 0.9)[number % 2]
        expected = slow_reinforce_pp(reward_NT.tolist(), length_N.tolist(), gamma)
        given_NT = reinforce_pp_advantage(reward_NT, mask_NT, gamma)
        torch.testing.assert_close(given_NT, torch.tensor(expected, dtype=torch.float64).view_as(given_NT))


def test_a_later_gain_reaches_every_token_before_it_and_none_after() -> None:
    batch = RolloutBatch.of(
        group=[0, 1], length=[6, 6], correct=[1, 1], cut_tokens=[[2, 4], []], probe_accuracies=[[0.0, 1.0], []]
    )
    result = Sum(outcome=Correct(), steps=StepwiseGain()).breakdown(batch)
    reward_NT = token_rewards(result.reward, batch.length, result.placement)
    advantage_NT = ReinforcePp()(reward_NT, torch.ones(2, 6, dtype=torch.bool), batch.group)
    assert advantage_NT[0].unique_consecutive(return_counts=True)[1].tolist() == [3, 3]
    assert (advantage_NT[0, :3] > 0).all() and (advantage_NT[0, 3:] == advantage_NT[1, 0]).all()


def test_masked_tokens_inside_a_response_are_passed_over() -> None:
    mask_NT = torch.tensor([[True, False, True], [True, True, True]])
    reward_NT = torch.tensor([[0.0, 9.0, 1.0], [0.0, 0.0, 0.0]])
    advantage_NT = ReinforcePp()(reward_NT, mask_NT, torch.tensor([0, 1]))
    assert advantage_NT[0, 0] == advantage_NT[0, 2] > 0 and advantage_NT[0, 1] == 0


@pytest.mark.parametrize("mask", [[[True, False]], [[False, False]], [[True, True]]])
def test_one_token_none_and_equal_returns_give_0(mask: list[list[bool]]) -> None:
    advantage_NT = ReinforcePp()(torch.tensor([[0.0, 1.0]]), torch.tensor(mask), torch.tensor([0]))
    assert not advantage_NT.any()


@pytest.mark.parametrize(
    ("build", "settings", "fact"),
    [
        (ReinforcePp, {"gamma": 0.0}, "gamma is 0.0"),
        (ReinforcePp, {"gamma": 1.5}, "gamma is 1.5"),
        (ReinforcePp, {"eps": 0.0}, "eps 0.0"),
        (Gae, {"gamma": -1.0}, "gamma is -1.0"),
        (Gae, {"lam": 1.1}, "lam 1.1"),
    ],
)
def test_wrong_settings_are_refused(build: Any, settings: dict[str, float], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        build(**settings)


def test_a_return_passes_over_a_gap_in_the_mask() -> None:
    """With gamma 0.5 the returns of the first response are 1 + 0.5 * 2 = 2 and 2; of the second 4, alone."""
    reward_NT = torch.tensor([[1.0, 9.0, 2.0], [4.0, 7.0, 7.0]])
    mask_NT = torch.tensor([[True, False, True], [True, False, False]])
    found = ReinforcePp(gamma=0.5)(reward_NT, mask_NT, torch.tensor([0, 1]))
    spread = (4 / 3 + 1e-8) ** 0.5  # of 2, 2 and 4
    expected = torch.tensor([[-2 / 3, 0.0, -2 / 3], [4 / 3, 0.0, 0.0]], dtype=torch.float64) / spread
    torch.testing.assert_close(found, expected)
