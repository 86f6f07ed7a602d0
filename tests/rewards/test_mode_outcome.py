"""Thinkless's reward, arXiv 2505.13379; its loss is in tests/algorithms."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Degrpo, Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.rewards import ModeOutcome
from made_batches import group_of, measured

EXAMPLES = [ModeOutcome(), ModeOutcome(long_right=0.8, short_tag="<zip>")]
RECIPES = {
    "thinkless": SpelledOut(
        reward=ModeOutcome(short_right=1.0, long_right=0.5, wrong=-1.0, malformed=-1.0),
        advantage=Grpo(scale="none"),
        loss=Degrpo(alpha=0.001, response="token-mean", of=PpoClip(low=0.2, high=0.2, dual=1e6)),
        verl={
            "data.train_batch_size": 128,
            "data.max_response_length": 24576,
            "actor_rollout_ref.rollout.n": 8,
            "actor_rollout_ref.rollout.temperature": 0.6,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 64,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "actor_rollout_ref.actor.kl_loss_coef": 0.001,
            "actor_rollout_ref.actor.kl_loss_type": "low_var_kl",
            "actor_rollout_ref.actor.entropy_coeff": 0.001,
        },
    )
}

SHORT, LONG = r"<short> It is \boxed{4}", r"<think> so </think> \boxed{4}"


def rewards(correct: list[int], texts: list[str]) -> torch.Tensor:
    reward = ModeOutcome()
    return reward(measured(reward, group_of([9.0] * len(texts), correct), texts))[0]


def test_worked_example() -> None:
    given_N = rewards([1, 1, 1, 1, 1, 0, 0, 0], [SHORT] * 2 + [LONG] * 3 + [SHORT, LONG, LONG])
    assert given_N.tolist() == [1, 1, 0.5, 0.5, 0.5, -1, -1, -1]
    group_N = torch.zeros(8, dtype=torch.int64)
    expected = [0.9375, 0.9375, 0.4375, 0.4375, 0.4375, -1.0625, -1.0625, -1.0625]
    assert Grpo(scale="none")(given_N, group_N).tolist() == pytest.approx(expected)
    divided = [1.037216, 1.037216, 0.484034, 0.484034, 0.484034, -1.175512, -1.175512, -1.175512]
    assert Grpo(scale="std")(given_N, group_N).tolist() == pytest.approx(divided, abs=2e-6)  # 1e-6 is added


def test_where_all_are_right_short_wins() -> None:
    given_N = rewards([1] * 4, [SHORT, LONG] * 2)
    group_N = torch.zeros(4, dtype=torch.int64)
    assert Grpo(scale="none")(given_N, group_N).tolist() == pytest.approx([0.25, -0.25, 0.25, -0.25])


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        (SHORT, 1),
        (LONG, 2),
        (r" <short> <think> \boxed{4}", 1),
        (r"<think> <short> </think> \boxed{4}", 2),
        (r"<think> \boxed{4} </think> 4", 0),
        (r"<think> \boxed{4}", 0),
        (r"So <short> \boxed{4}", 0),
        ("<short> 4", 0),
        ("", 0),
    ],
)
def test_the_mode_is_what_stands_first(text: str, mode: float) -> None:
    assert ModeOutcome().measure(text) == mode


def test_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch) -> None:
    reward = ModeOutcome(short_right=2.0, long_right=1.2, wrong=-0.3, malformed=-0.7)
    mode_N = torch.randint(0, 3, (len(merged),), generator=torch.Generator().manual_seed(1))
    expected = []
    for mode, right in zip(mode_N.tolist(), merged.correct.tolist(), strict=True):
        if mode == 0:
            expected.append(-0.7)
        elif right:
            expected.append(2.0 if mode == 1 else 1.2)
        else:
            expected.append(-0.3)
    batch = merged.replace(**{reward.column: mode_N})
    assert reward(batch)[0].tolist() == pytest.approx(expected)
    parts = reward.breakdown(batch).parts
    assert set(parts) == {"short", "long", "malformed"}
    torch.testing.assert_close(torch.stack(list(parts.values())).sum(0), reward(batch)[0])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"long_right": 1.5}, r"long_right 1\.5"),
        ({"wrong": 0.5}, r"wrong 0\.5"),
        ({"malformed": 0.0}, r"malformed 0\.0; give none above the one before it"),
        ({"short_tag": "<think>"}, "give two that differ"),
        ({"close_tag": ""}, "may not be empty"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ModeOutcome(**settings)
