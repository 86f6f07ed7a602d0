"""The cosine reward, arXiv 2502.03373, Sec. 4.2."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Gae, Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import AdviceWarning, ConfigError
from leanthink.rewards import Clip, CosineLength, Repetition, Sum, TokenRepetition
from leanthink.rewards.cosine_length import cosine_length
from oracles import Flags, Numbers

EXAMPLES = [CosineLength(limit=14_000, margin=16), CosineLength(limit=9000, wrong_at_0=-1, exceed=None)]
WRONG_MAY_BEAT_CORRECT = [CosineLength]

COSINE = CosineLength(
    limit=14336,
    correct_at_0=2.0,
    correct_at_limit=1.0,
    wrong_at_0=-10.0,
    wrong_at_limit=0.0,
    exceed=-10.0,
    margin=0.0,
)
STATED = {
    "data.train_batch_size": 512,
    "actor_rollout_ref.rollout.n": 16,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 512 // 16,
    "actor_rollout_ref.actor.ppo_epochs": 2,
    "actor_rollout_ref.actor.optim.lr": 5e-7,
    "data.max_prompt_length": 2048,
    "data.max_response_length": 14336,
    "algorithm.kl_ctrl.kl_coef": 0.01,
}
RECIPES = {
    "cosine": SpelledOut(
        reward=Sum(cosine=COSINE, repetition=Clip(low=-5.0, of=Repetition(size=40, penalty=-0.05))),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        verl=STATED,
    ),
    "cosine_ppo": SpelledOut(
        reward=Sum(cosine=COSINE, repetition=TokenRepetition(size=40, penalty=-0.05, discount=0.99)),
        advantage=Gae(gamma=1.0, lam=1.0),
        loss=PpoClip(low=0.2, high=0.2),
        verl={**STATED, "critic.optim.lr": 9e-6},
    ),
}

EIGHT = RolloutBatch.of(
    group=[0] * 8,
    length=[1, 2000, 7168, 12000, 14335, 14336, 500, 13000],
    correct=[1, 1, 1, 1, 1, 1, 0, 0],
    truncated=[0, 0, 0, 0, 0, 1, 0, 0],
)


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (0, [2.0, 1.952741, 1.5, 1.064095, 1.0, -10.0, -9.970016, -0.212761]),
        (16, [2.0, 1.952741, 1.5, 1.064095, -10.0, -10.0, -9.970016, -0.212761]),
    ],
)
def test_worked_example(margin: float, expected: list[float]) -> None:
    assert CosineLength(limit=14336, margin=margin)(EIGHT)[0].tolist() == pytest.approx(expected, abs=1e-6)


def slow_cosfn(length: float, limit: float, at_0: float, at_limit: float) -> float:
    """arXiv 2502.03373, Sec. 4.2: half a cosine from ``at_0`` to ``at_limit``, and no further."""
    share = min(length, limit) / limit
    return at_limit + 0.5 * (at_0 - at_limit) * (1 + math.cos(math.pi * share))


def slow_cosine_length(
    length: Numbers,
    correct: Flags,
    truncated: Flags,
    limit: float,
    correct_ends: tuple[float, float] = (2.0, 1.0),
    wrong_ends: tuple[float, float] = (-10.0, 0.0),
    exceed: float | None = -10.0,
    margin: float = 0.0,
) -> list[float]:
    """The cosine reward: ``exceed`` first, then by verdict; ``margin`` as in the released code."""
    result = []
    for tokens, right, cut in zip(length, correct, truncated, strict=True):
        if exceed is not None and (cut or (margin and tokens + margin >= limit)):
            result.append(exceed)
        else:
            result.append(slow_cosfn(tokens, limit, *(correct_ends if right else wrong_ends)))
    return result


@pytest.mark.parametrize(
    "settings",
    [
        {"limit": 14_000},
        {"limit": 9000, "margin": 16},
        {"limit": 16_001, "correct_at_0": 10, "correct_at_limit": 9, "wrong_at_0": -10, "wrong_at_limit": 0},
        {"limit": 8000, "correct_at_0": 1, "correct_at_limit": 0.5, "wrong_at_0": -1, "wrong_at_limit": -0.5,
         "exceed": None},
    ],
)  # fmt: skip
def test_agrees_with_the_loop(merged: RolloutBatch, settings: dict[str, Any]) -> None:
    reward = CosineLength(**settings)
    correct_ends, wrong_ends = (
        (reward.correct_at_0, reward.correct_at_limit),
        (reward.wrong_at_0, reward.wrong_at_limit),
    )
    right, cut = (merged.correct == 1).tolist(), merged.truncated.tolist()
    slow = slow_cosine_length(
        merged.length.tolist(), right, cut, reward.limit, correct_ends, wrong_ends, reward.exceed, reward.margin
    )
    expected_N = torch.tensor(slow, dtype=torch.float64)
    torch.testing.assert_close(reward(merged)[0], expected_N, rtol=1e-9, atol=1e-9)
    if reward.exceed is None:
        given_N = cosine_length(merged.length, merged.correct == 1, reward.limit, correct_ends, wrong_ends)
        torch.testing.assert_close(given_N, expected_N, rtol=1e-9, atol=1e-9)


def test_the_ends_are_at_no_length_and_at_the_limit() -> None:
    batch = RolloutBatch.of(group=[0] * 4, length=[0, 100, 0, 100], correct=[1, 1, 0, 0])
    reward = CosineLength(limit=100, correct_at_0=4, correct_at_limit=3, wrong_at_0=-2, wrong_at_limit=-1)
    assert reward(batch)[0].tolist() == [4, 3, -2, -1]


def test_beyond_the_limit_the_cosine_does_not_climb_back() -> None:
    batch = RolloutBatch.of(group=[0] * 3, length=[100, 150, 200], correct=[1, 1, 1])
    assert CosineLength(limit=100)(batch)[0].tolist() == [1, 1, 1]


def test_a_truncated_response_gets_exceed_whatever_its_verdict_and_a_full_one_does_not() -> None:
    batch = RolloutBatch.of(group=[0] * 4, length=[100, 100, 40, 100], correct=[1, 0, 1, 1], truncated=[1, 1, 1, 0])
    assert CosineLength(limit=100)(batch)[0].tolist() == [-10, -10, -10, 1]
    assert CosineLength(limit=100, exceed=None)(batch)[0].tolist()[:2] == [1, 0]


def test_the_margin_begins_at_the_limit_less_the_margin() -> None:
    batch = RolloutBatch.of(group=[0] * 4, length=[83, 84, 85, 100], correct=[1, 1, 0, 1])
    exceeded = (CosineLength(limit=100, margin=16, exceed=-7)(batch)[0] == -7).tolist()
    assert exceeded == [False, True, True, True]


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"limit": 0}, "limit is 0 "),
        ({"limit": 10, "margin": -1}, "margin -1"),
        ({"limit": 10, "margin": 10}, "margin 10"),
        ({"limit": 10, "wrong_at_limit": 0.1}, "wrong_at_limit 0.1"),
        ({"limit": 10, "wrong_at_0": 1}, "wrong_at_0 is 1"),
        ({"limit": 10, "exceed": 0.5}, "exceed 0.5"),
        ({"limit": 10, "correct_at_limit": -0.5}, "correct_at_limit -0.5"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, float], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        CosineLength(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ends", "fact"),
    [
        ({"correct_at_0": 0, "correct_at_limit": 10, "wrong_at_0": 0}, "correct responses earn more the longer"),
        ({"wrong_at_0": -1, "wrong_at_limit": -2}, "wrong responses earn more the shorter"),
    ],
)
def test_ends_the_other_way_round_are_warned_of(ends: dict[str, float], fact: str) -> None:
    """The first is the paper's ablation A, so it can be built."""
    with pytest.warns(AdviceWarning, match=fact):
        CosineLength(limit=100, **ends)
