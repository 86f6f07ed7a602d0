"""Adaptive Deep Reasoning, arXiv 2505.20101: the reward by mode."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, ModeSwitch, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.schedules import Linear
from leanthink.rewards import ModeSwitchReward
from leanthink.rewards.mode_switch_reward import preferred_modes
from leanthink.testing import Columns
from oracles import Flags, Groups, members

EXAMPLES = [
    ModeSwitchReward(),
    ModeSwitchReward(margin=0.25),
    ModeSwitchReward(threshold=0.5, wrong=-1.0, warm_up=Linear(start=0.0, stop=1.0, steps=30)),
]
COLUMNS: Columns = {"mode": lambda generator, n: torch.randint(0, 2, (n,), generator=generator).double()}
RECIPES = {
    "adaptive_deep": SpelledOut(
        reward=ModeSwitchReward(
            threshold=0.75, base=1.0, bonus=0.5, wrong=0.0, warm_up=Linear(start=0.0, stop=1.0, steps=50)
        ),
        advantage=Grpo(scale="std"),
        loss=ModeSwitch(weight=0.1, margin=1.0, form="margin", of=PpoClip(low=0.2, high=0.2)),
        verl={},
    )
}

HALVES = [1, 1, 1, 1, 0, 0, 0, 0]


def prompt(correct: list[int], mode: Sequence[float] = HALVES) -> RolloutBatch:
    count = len(correct)
    return RolloutBatch.of(group=[0] * count, length=[9] * count, correct=correct, mode=mode)


@pytest.mark.parametrize(
    ("correct", "rewards", "advantages"),
    [
        (
            [1, 1, 1, 0, 1, 1, 1, 1],
            [1.0, 1.0, 1.0, 0.0, 1.5, 1.5, 1.5, 1.5],
            [-0.241522, -0.241522, -0.241522, -2.173702, 0.724567, 0.724567, 0.724567, 0.724567],
        ),
        (
            [1, 1, 0, 1, 1, 0, 0, 0],
            [1.5, 1.5, 0.0, 1.5, 1.0, 0.0, 0.0, 0.0],
            [1.079058, 1.079058, -0.913049, 1.079058, 0.415022, -0.913049, -0.913049, -0.913049],
        ),
        (
            [0, 0, 0, 0, 1, 1, 0, 0],
            [0.0, 0.0, 0.0, 0.0, 1.5, 1.5, 0.0, 0.0],
            [-0.540061, -0.540061, -0.540061, -0.540061, 1.620183, 1.620183, -0.540061, -0.540061],
        ),
    ],
    ids=["A", "B", "C"],
)
def test_worked_example(correct: list[int], rewards: list[float], advantages: list[float]) -> None:
    batch = prompt(correct)
    reward_N = ModeSwitchReward()(batch)[0]
    assert reward_N.tolist() == pytest.approx(rewards, abs=1e-6)
    assert Grpo()(reward_N, batch.group).tolist() == pytest.approx(advantages, abs=1e-6)


def test_half_way_through_the_warm_up() -> None:
    reward = ModeSwitchReward(warm_up=Linear(start=0.0, stop=1.0, steps=10))
    batch = prompt([1, 1, 1, 0, 1, 1, 1, 1])
    assert reward(batch.replace(step=5))[0].tolist() == [1, 1, 1, 0, 1.25, 1.25, 1.25, 1.25]
    assert torch.equal(reward(batch)[0], batch.correct)
    assert (reward.shown(5, {}), reward.shown(99, {})) == ({"warm_up": 0.5}, {"warm_up": 1.0})


def slow_mode_rewards(
    correct: Flags,
    long: Flags,
    group: Groups,
    theta: float,
    base: float,
    bonus: float,
    wrong: float,
    margin: float | None = None,
) -> tuple[list[float], list[int]]:
    """arXiv 2505.20101: the table of rewards, prompt by prompt, and each response's prompt's preference (1 long)."""
    rewards, preferences = [0.0] * len(correct), [0] * len(correct)
    for of in members(group).values():
        longs, shorts = [i for i in of if long[i]], [i for i in of if not long[i]]
        preferred = 0
        if longs and shorts and any(correct[i] for i in of):
            a_long = Fraction(sum(correct[i] for i in longs), len(longs))
            a_short = Fraction(sum(correct[i] for i in shorts), len(shorts))
            easy = a_short >= theta if margin is None else a_short >= a_long - Fraction(str(margin))
            preferred = -1 if easy or a_long == 0 else 1
        for i in of:
            preferences[i] = preferred
            if not correct[i]:
                rewards[i] = wrong
            elif preferred == (1 if long[i] else -1):
                rewards[i] = base + bonus
            else:
                rewards[i] = base
    return rewards, preferences


@pytest.mark.parametrize(("theta", "margin"), [(0.5, None), (0.75, None), (0.75, 0.0), (0.75, 0.5)])
def test_agrees_with_the_loop(
    batches: list[RolloutBatch], merged: RolloutBatch, theta: float, margin: float | None
) -> None:
    mode_N = torch.randint(0, 2, (len(merged),), generator=torch.Generator().manual_seed(9))
    rewards: list[float] = []
    preferences: list[int] = []
    start = 0
    for batch in batches:
        mode = (mode_N[start : start + len(batch)] == 1).tolist()
        start += len(batch)
        right = [bool(ok) and not cut for ok, cut in zip(batch.correct.tolist(), batch.truncated.tolist(), strict=True)]
        more, preferred = slow_mode_rewards(right, mode, batch.group.tolist(), theta, 1.0, 0.5, -0.5, margin)
        rewards, preferences = rewards + more, preferences + preferred
    reward = ModeSwitchReward(threshold=theta, margin=margin, wrong=-0.5)
    given_N = reward(merged.replace(mode=mode_N))[0]
    torch.testing.assert_close(given_N, torch.tensor(rewards, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    preferred_G = preferred_modes((merged.correct == 1) & ~merged.truncated, mode_N == 1, merged.group, theta, margin)
    assert preferred_G[merged.group].tolist() == preferences


def test_an_answer_before_a_cut_is_wrong() -> None:
    """Of four short answers two are right and complete: the prompt is not easy, and long thinking is preferred."""
    batch = prompt([1, 1, 0, 0, 1, 1, 1, 1]).replace(truncated=[1, 0, 0, 0, 1, 1, 0, 0])
    assert ModeSwitchReward(wrong=-1.0)(batch)[0].tolist() == [-1.0, 1.5, -1.0, -1.0, -1.0, -1.0, 1.0, 1.0]


@pytest.mark.parametrize("mode", [2.0, 0.5, -1.0, float("nan")])
def test_a_mode_is_0_or_1(mode: float) -> None:
    with pytest.raises(BatchError, match=rf"column 'mode', row 1: {mode:g} is not allowed; give 1 for long"):
        ModeSwitchReward()(prompt([1, 1, 0], [1, mode, 0]))


def test_a_prompt_sampled_in_one_mode_only_has_no_preference() -> None:
    assert ModeSwitchReward()(prompt([1, 0, 1], [1, 1, 1]))[0].tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"threshold": 0.0}, r"threshold is 0.0"),
        ({"margin": 1.0}, r"margin is 1.0; give 0 or more, below 1"),
        ({"base": 0.0}, r"more than a wrong response earns, 0.0"),
        ({"bonus": -1.0}, r"bonus is -1.0"),
        ({"warm_up": 2.0}, r"warm_up is 2.0"),
        ({"short_opening": "<think>"}, "another token than long_opening"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        ModeSwitchReward(**settings)
