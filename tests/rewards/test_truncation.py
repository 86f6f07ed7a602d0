"""DLER's and DA-DLER's truncation rewards, arXiv 2510.15110."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import BatchNorm, Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.limits import PerStep
from leanthink.core.schedules import Linear
from leanthink.recipe.nodes import build
from leanthink.rewards import (
    Correct,
    DifficultyTruncation,
    KimiLength,
    PassRateAtLeast,
    Scale,
    SigmoidLength,
    Sum,
    Switch,
    Truncation,
)
from leanthink.rewards.truncation import truncated_reward
from oracles import Flags, Groups, Numbers

EXAMPLES = [
    Truncation(),
    Truncation(kappa=0.1, of=SigmoidLength(alpha=0.4, check_eos=False), limit=8000),
    Truncation(kappa=0.5, of=Correct(right=1.0, wrong=-1.0), rule="add"),
    Truncation(of=KimiLength(), rule="add"),
    DifficultyTruncation(thresholds=(0.5,), lengths=(12_000, 4000)),
    DifficultyTruncation(
        thresholds=(0.25, 0.75),
        lengths=(12_000, 8000, 600),
        kappa=Linear(start=1.0, stop=0.0, steps=30),
        of=SigmoidLength(alpha=0.4),
        equality="hard",
    ),
]

STATED = {
    "data.train_batch_size": 512,
    "actor_rollout_ref.rollout.n": 16,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 64,
    "actor_rollout_ref.actor.optim.lr": 1e-6,
    "actor_rollout_ref.actor.kl_loss_coef": 5e-4,
    "actor_rollout_ref.actor.kl_loss_type": "mse",
    "algorithm.filter_groups.enable": True,
}
RECIPES = {
    "dler": SpelledOut(
        reward=Truncation(kappa=0.0, of=Correct(), rule="multiply"),
        advantage=BatchNorm(level="token", ddof=1, eps=1e-8, floor="add", singleton="zero", boost=0.0),
        loss=PpoClip(low=0.2, high=0.28, dual=10.0),
        limit=PerStep(at_most=4000.0),
        verl={**STATED, "algorithm.filter_groups.metric": "acc", "data.max_response_length": 4000},
    ),
    "da_dler": SpelledOut(
        reward=DifficultyTruncation(thresholds=(0.5,), lengths=(4000.0, 2000.0), kappa=0.0, equality="easy"),
        advantage=BatchNorm(level="token", ddof=1, eps=1e-8, floor="add", singleton="zero", boost=0.0),
        loss=PpoClip(low=0.2, high=0.28, dual=10.0),
        limit=PerStep(at_most=4000.0),
        verl={**STATED, "algorithm.filter_groups.metric": "acc_then_reward"},
    ),
}

EIGHT = RolloutBatch.of(
    group=[0] * 4 + [1] * 4,
    length=[900, 2500, 4000, 3000, 4000, 1200, 800, 3900],
    correct=[1, 1, 1, 0, 0, 1, 0, 1],
    truncated=[0, 0, 1, 0, 1, 0, 0, 0],
)
DA = DifficultyTruncation(thresholds=(0.5,), lengths=(4000, 2000))


@pytest.mark.parametrize(
    ("kappa", "rewards", "by_token", "by_response"),
    [
        (
            0.0,
            [1, 1, 0, 0, 0, 1, 0, 1],
            [1.178205, 1.178205, -0.848707, -0.848707, -0.848707, 1.178205, -0.848707, 1.178205],
            [0.935414, 0.935414, -0.935414, -0.935414, -0.935414, 0.935414, -0.935414, 0.935414],
        ),
        (
            0.1,
            [1, 1, 0.1, 0, 0, 1, 0, 1],
            [1.144270, 1.144270, -0.730271, -0.938553, -0.886482, 1.196341, -0.886482, 1.196341],
            [0.909935, 0.909935, -0.814152, -1.005718, -0.957826, 0.957826, -0.957826, 0.957826],
        ),
    ],
)
def test_worked_example(kappa: float, rewards: list[float], by_token: list[float], by_response: list[float]) -> None:
    reward_N, _ = Truncation(kappa=kappa)(EIGHT)
    assert reward_N.tolist() == pytest.approx(rewards, abs=1e-12)
    assert BatchNorm()(reward_N, EIGHT.group, EIGHT.length).tolist() == pytest.approx(by_token, abs=1e-6)
    assert BatchNorm(level="response")(reward_N, EIGHT.group).tolist() == pytest.approx(by_response, abs=1e-6)


@pytest.mark.parametrize(
    ("kappa", "rows", "expected"),
    [
        (0.0, 8, [0.866024, 0.866024, -0.866024, -0.866024, -0.866024, 0.866024, -0.866024, 0.866024]),
        (0.1, 4, [0.863635, 0.863635, -0.772726, -0.954544]),
    ],
)
def test_worked_example_under_plain_grpo(kappa: float, rows: int, expected: list[float]) -> None:
    reward_N, _ = Truncation(kappa=kappa)(EIGHT)
    assert Grpo()(reward_N, EIGHT.group)[:rows].tolist() == pytest.approx(expected, abs=1e-6)


def test_worked_example_of_da_dler() -> None:
    batch = RolloutBatch.of(
        group=[0] * 4 + [1] * 4,
        length=[900, 2500, 3900, 4000, 1800, 3000, 4000, 3500],
        correct=[1, 1, 1, 0, 0, 1, 0, 0],
        truncated=[0, 0, 0, 1, 0, 0, 1, 0],
    )
    assert DA(batch)[0].tolist() == [1, 0, 0, 0, 0, 1, 0, 0]


def slow_truncation(score: Numbers, cut: Flags, kappa: float = 0.0, rule: str = "multiply") -> list[float]:
    """arXiv 2510.15110, Secs. 2 and 4.5: ``s (stop + (1 - stop) kappa)``; by "add" ``s - (1 - stop)(1 - kappa)``."""
    result = []
    for i in range(len(score)):
        stop = 0.0 if cut[i] else 1.0
        if rule == "multiply":
            result.append(score[i] * (stop + (1 - stop) * kappa))
        else:
            result.append(score[i] - (1 - stop) * (1 - kappa))
    return result


@pytest.mark.parametrize("rule", ["multiply", "add"])
@pytest.mark.parametrize("kappa", [0.0, 0.1, 1.0])
def test_agrees_with_the_loop(merged: RolloutBatch, kappa: float, rule: Any) -> None:
    slow = slow_truncation(merged.correct.tolist(), merged.truncated.tolist(), kappa, rule)
    given_N = truncated_reward(merged.correct, merged.truncated, kappa, rule)
    torch.testing.assert_close(given_N, torch.tensor(slow, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert torch.equal(Truncation(kappa=kappa, rule=rule)(merged)[0], given_N)


def slow_difficulty_truncation(
    correct: Numbers,
    length: Numbers,
    truncated: Flags,
    group: Groups,
    thresholds: Numbers,
    lengths: Numbers,
    kappa: float = 0.0,
    equality: str = "easy",
) -> list[float]:
    """arXiv 2510.15110, Sec. 3.5: the share of correct responses within the longest length picks the group's length."""
    result = []
    for i in range(len(correct)):
        members = [j for j in range(len(correct)) if group[j] == group[i]]
        right = 0
        for j in members:
            if correct[j] == 1 and length[j] <= lengths[0]:
                right += 1
        share = right / len(members)
        passed = 0
        for threshold in thresholds:
            if share > threshold or (share == threshold and equality == "easy"):
                passed += 1
        too_long = length[i] > lengths[passed] or truncated[i]
        result.append(correct[i] * (kappa if too_long else 1.0))
    return result


@pytest.mark.parametrize(
    ("thresholds", "lengths", "kappa", "equality"),
    [
        ((0.5,), (8000, 4000), 0.0, "easy"),
        ((0.5,), (16_001, 1000), 0.1, "hard"),
        ((0.25, 0.5, 1.0), (12_000, 8000, 8000, 500), 0.0, "easy"),
    ],
)
def test_agrees_with_the_loop_by_difficulty(
    batches: list[RolloutBatch], merged: RolloutBatch, thresholds: Any, lengths: Any, kappa: float, equality: Any
) -> None:
    slow: list[float] = []
    for batch in batches:
        columns = [column.tolist() for column in (batch.correct, batch.length, batch.truncated, batch.group)]
        slow += slow_difficulty_truncation(*columns, thresholds, lengths, kappa, equality)
    reward = DifficultyTruncation(thresholds=thresholds, lengths=lengths, kappa=kappa, equality=equality)
    torch.testing.assert_close(reward(merged)[0], torch.tensor(slow, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_a_response_that_ends_at_its_limit_is_complete() -> None:
    batch = RolloutBatch.of(group=[0, 0], length=[2000, 2001], correct=[1, 1])
    assert DA(batch)[0].tolist() == [1, 0]
    assert Truncation(limit=2000)(batch)[0].tolist() == [1, 0]
    assert Truncation(limit=Linear(start=2001, stop=1000, steps=10))(batch)[0].tolist() == [1, 1]


def test_a_share_at_the_threshold_is_easy_or_hard_as_asked() -> None:
    batch = RolloutBatch.of(group=[0, 0], length=[3000, 100], correct=[1, 0])
    hard = DifficultyTruncation(thresholds=(0.5,), lengths=(4000, 2000), equality="hard")
    assert (DA(batch)[0].tolist(), hard(batch)[0].tolist()) == ([0, 0], [1, 0])


def test_beyond_the_longest_length_nothing_counts_as_solved() -> None:
    """Stored rollouts may be longer than training would let them be."""
    batch = RolloutBatch.of(group=[0] * 3, length=[3000, 9000, 9000], correct=[1, 1, 1])
    assert DA(batch)[0].tolist() == [1, 0, 0]  # one of three within 4000 tokens: a hard prompt


def test_adding_takes_from_wrong_responses_too() -> None:
    batch = RolloutBatch.of(group=[0] * 4, length=[1] * 4, correct=[1, 1, 0, 0], truncated=[0, 1, 0, 1])
    both = Truncation(of=Correct(right=1, wrong=-1), rule="add", kappa=0.25)
    assert both(batch)[0].tolist() == [1, 0.25, -1, -1.75]
    assert Truncation(rule="add")(batch)[0].tolist() == [1, 0, 0, -1]


def test_a_cut_that_would_pay_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"wrong response earns -1.*'rule: add'"):
        Truncation(of=Correct(right=1, wrong=-1))
    Truncation(of=Correct(right=1, wrong=-1), kappa=1.0)  # nothing is taken, nothing can pay
    shaped = Truncation(of=Sum(correct=Correct(), length=KimiLength()), kappa=0.5)
    with pytest.raises(BatchError, match=r"row 1, which was cut, is -0\.5.*'rule: add'"):
        shaped(RolloutBatch.of(group=[0, 0], length=[10, 20], correct=[1, 0], truncated=[0, 1]))


def test_it_composes() -> None:
    """Under a sum, and per group in a switch, with a length reward inside."""
    batch = RolloutBatch.of(group=[0, 0, 1, 1], length=[10, 20, 10, 20], correct=[1, 1, 1, 0], truncated=[0, 1, 0, 0])
    total = Sum(answer=Truncation(kappa=0.5), length=Scale(by=0.5, of=KimiLength()))
    assert total(batch)[0].tolist() == [1.25, 0.25, 1.25, -0.25]
    switch = build(
        {
            "switch": {
                "select": {"pass_rate_at_least": {"threshold": 0.9}},
                "shaped": {"truncation": {"of": {"sigmoid_length": {"alpha": 0.4, "check_eos": False}}}},
                "plain": "correct",
            }
        },
        "reward",
        "reward",
    )
    assert switch == Switch(
        select=PassRateAtLeast(threshold=0.9),
        shaped=Truncation(of=SigmoidLength(alpha=0.4, check_eos=False)),
        plain=Correct(),
    )
    reward_N, _ = switch(batch)
    assert reward_N[1:].tolist() == [0, 1, 0] and 0.6 < reward_N[0] < 1


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"kappa": -0.1}, "kappa is -0.1"),
        ({"kappa": Linear(start=0.5, stop=1.5, steps=9)}, "kappa is Linear"),
        ({"rule": "subtract"}, "rule is 'subtract'; give multiply or add"),
        ({"limit": 0}, "limit is 0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        Truncation(**settings)


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"lengths": (4000,)}, "1 thresholds and 1 lengths"),
        ({"thresholds": (), "lengths": (4000,)}, "0 thresholds and 1 lengths"),
        ({"thresholds": (0.0,)}, r"thresholds are \[0.0\]"),
        ({"thresholds": (0.5, 0.5), "lengths": (3, 2, 1)}, "rising"),
        ({"lengths": (2000, 4000)}, r"lengths are \[2000, 4000\].*hardest"),
        ({"lengths": (2000, 0)}, "lengths are"),
        ({"equality": "both"}, "equality is 'both'"),
        ({"kappa": 2}, "difficulty_truncation: kappa is 2"),
    ],
)
def test_wrong_settings_by_difficulty_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        DifficultyTruncation(**{"thresholds": (0.5,), "lengths": (4000, 2000), **settings})
