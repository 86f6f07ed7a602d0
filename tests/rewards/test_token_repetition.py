"""Repetition paid at its tokens with a discount of its own, arXiv 2502.03373, Section 4.6."""

from __future__ import annotations

import random

import pytest
import torch

import oracles_length as oracles
from leanthink.algorithms import ReinforcePp
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.placement import token_rewards
from leanthink.rewards import CosineLength, Sum, TokenRepetition


def batch_of(reward: TokenRepetition, spans: list[str], length: list[int], correct: list[int]) -> RolloutBatch:
    return RolloutBatch.of(group=[0] * len(length), length=length, correct=correct, **{reward.column: spans})


def returns_of(reward: TokenRepetition, batch: RolloutBatch, outcome_N: torch.Tensor) -> list[list[float]]:
    """The undiscounted returns of the rewards by token, the outcome on the last."""
    total_N, placement = reward.place(batch)
    reward_NT = token_rewards(total_N + outcome_N, batch.length, placement)
    return_NT = reward_NT.flip(-1).cumsum(-1).flip(-1)
    return [row[: int(n)].tolist() for row, n in zip(return_NT, batch.length, strict=True)]


def test_worked_example_of_two_discounts() -> None:
    reward = TokenRepetition(size=3, penalty=-0.05, discount=0.99)
    found = returns_of(reward, batch_of(reward, ["2:4"], [5], [1]), torch.tensor([2.0]).double())
    assert found[0] == pytest.approx([1.902480, 1.901495, 1.900500, 1.950000, 2.000000], abs=1e-6)


@pytest.mark.parametrize("discount", [0.9, 0.99, 1.0])
def test_returns_are_those_of_the_slow_twin(discount: float) -> None:
    draw = random.Random(7)
    reward = TokenRepetition(size=2, penalty=-0.3, discount=discount)
    for _ in range(350):
        lines = [[draw.randrange(3) for _ in range(draw.randrange(1, 30))] for _ in range(draw.randint(1, 5))]
        spans, lengths = [reward.value_of("", line) for line in lines], [len(line) for line in lines]
        batch = batch_of(reward, spans, lengths, [1] * len(lines))
        outcome_N = torch.tensor([draw.uniform(-10, 2) for _ in lines], dtype=torch.float64)
        found = returns_of(reward, batch, outcome_N)
        for line, outcome, returns in zip(lines, outcome_N.tolist(), found, strict=True):
            slow = oracles.two_discounts(outcome, oracles.dense_repetition(line, 2, -0.3), discount)
            assert returns == pytest.approx(slow, abs=1e-9)


def test_it_adds_up_with_the_cosine_reward_and_reaches_an_advantage_by_token() -> None:
    repetition = TokenRepetition(size=3, discount=0.99)
    reward = Sum(cosine=CosineLength(limit=100), repetition=repetition)
    batch = batch_of(repetition, ["3:6", ""], [8, 5], [0, 1])
    whole = reward.breakdown(batch)
    assert whole.placement is not None
    reward_NT = token_rewards(whole.reward, batch.length, whole.placement)
    mask_NT = torch.arange(8) < batch.length[:, None]
    advantage_NT = ReinforcePp()(reward_NT, mask_NT, batch.group)
    assert bool((advantage_NT[0].diff()[3:6] > 0).all())  # each repeated token behind makes the return better
    assert advantage_NT[1, :5].unique().numel() == 1


def test_a_response_that_only_loops_has_the_geometric_floor() -> None:
    reward = TokenRepetition(size=1, penalty=-0.05, discount=0.99)
    total_N, _ = reward.place(batch_of(reward, ["0:10000"], [10_000], [0]))
    assert total_N.item() == pytest.approx(-5.0, abs=1e-6)


def test_ranges_are_found_and_those_behind_the_end_are_not_paid() -> None:
    reward = TokenRepetition(size=2, discount=1.0)
    assert reward.value_of("", [1, 2, 1, 2, 9, 8, 7, 9, 8]) == "2:4 7:9"
    assert reward.value_of("", [1, 2, 3]) == "" == reward.value_of("", [])


@pytest.mark.parametrize("text", ["3", "3:x", "3:4:5", 7.0])
def test_what_is_no_range_is_refused(text: object) -> None:
    reward = TokenRepetition()
    with pytest.raises(BatchError, match=r"token_repetition, row 1: .* give '3:6 20:31'"):
        reward.place(batch_of(reward, ["", text], [5, 5], [1, 1]))  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"size": 0}, "size is 0"), ({"penalty": 0.1}, "penalty is 0.1"), ({"discount": 0.0}, "discount is 0.0")],
)
def test_wrong_settings_are_refused(settings: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=f"token_repetition: {told}"):
        TokenRepetition(**settings)  # type: ignore[arg-type]
