"""VL-Cogito, arXiv 2507.22607: the length reward by difficulty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from collected import SpelledOut
from leanthink.algorithms import DifficultyWeight, Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.recipe.scoring import batch_advantage
from leanthink.rewards import Correct, DynamicLength, Format, Gate, Scale, Sum, WordRepetition
from made_batches import group_of, measured
from oracles import Flags, Numbers

EXAMPLES = [DynamicLength(limit=12_000), DynamicLength(limit=4096, apply_to_correct=True)]
RECIPES = {
    "vl_cogito": SpelledOut(
        reward=Sum(
            correct=Correct(),
            format=Scale(by=0.5, of=Format(answer_tags=("<answer>", "</answer>"))),
            length=DynamicLength(limit=4096.0, unsolved_target=750.0, unsolved_weight=0.5),
            repetition=Gate(column="correct", negate=True, of=WordRepetition(max_penalty=-0.5, size=20)),
        ),
        advantage=DifficultyWeight(stage="hard", of=Grpo(scale="std"), all_wrong=0.25),
        loss=PpoClip(low=0.2, high=0.2),
        verl={
            "data.train_batch_size": 512,
            "data.max_prompt_length": 2048,
            "data.max_response_length": 4096,
            "actor_rollout_ref.rollout.n": 16,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 128,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "actor_rollout_ref.actor.kl_loss_coef": 0.001,
        },
    )
}


def cogito(length: list[float], correct: list[int]) -> tuple[list[float], list[float]]:
    recipe = load_recipe("vl_cogito")
    batch = measured(
        recipe.reward, group_of(length, correct), ["<think> 2+2 </think> <answer> 4 </answer>"] * len(length)
    )
    reward_N = recipe.reward(batch)[0]
    assert isinstance(recipe.advantage, DifficultyWeight)
    return reward_N.tolist(), batch_advantage(recipe.advantage, reward_N, batch).tolist()


def test_worked_example_vl_cogito() -> None:
    reward, advantage = cogito([400, 100, 400, 600, 799, 800, 1200, 2000], [1, 0, 0, 0, 0, 0, 0, 0])
    assert reward == pytest.approx([1.5, 0.073223, 0.5, 0.25, 0.000008, 0, 0, 0], abs=1e-6)
    expected = [2.325905, -0.417612, 0.403028, -0.077692, -0.558396, -0.558411, -0.558411, -0.558411]
    assert advantage == pytest.approx(expected, abs=1e-6)
    reward, advantage = cogito([1, 374, 375, 749, 750, 751, 4095, 4096], [0] * 8)
    assert reward == pytest.approx([0.250001, 0.374476, 0.375, 0.499999, 0.5, 0.5, 0.5, 0.25], abs=1e-6)
    expected = [-0.352328, -0.071529, -0.070348, 0.211632, 0.211634, 0.211634, 0.211634, -0.352330]
    assert advantage == pytest.approx(expected, abs=1e-6)


def test_on_the_cpu_profile_an_answer_has_no_tags() -> None:
    recipe = load_recipe("vl_cogito", profile="cpu")
    texts = [r"<think> 30 + 12 = 42 </think> \boxed{ 42 }", "<think> 30 + 12"]
    part = recipe.reward.breakdown(measured(recipe.reward, group_of([9, 4], [1, 0]), texts)).parts["format"]
    assert part.tolist() == pytest.approx([0.5, 0.0])


def slow_dylr(length: Numbers, correct: Flags, group: Sequence[int], limit: float, target: float) -> list[float]:
    """arXiv 2507.22607 as released: the length term only."""
    result = []
    for tokens, ok, code in zip(length, correct, group, strict=True):
        right = [other for other, good, same in zip(length, correct, group, strict=True) if good and same == code]
        if ok:
            result.append(0.0)
        elif right:
            mean = max(sum(right) / len(right), 1.0)
            result.append(-0.25 * (1 + math.cos(math.pi * tokens / mean)) if tokens < 2 * mean else -0.5)
        elif tokens >= limit:
            result.append(-0.25)
        elif tokens >= target:
            result.append(0.0)
        else:
            result.append(0.5 * -0.25 * (1 + math.cos(math.pi * tokens / target)))
    return result


def test_dynamic_length_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch) -> None:
    expected: list[float] = []
    for batch in batches:
        right = (batch.correct == 1).tolist()
        expected += slow_dylr(batch.length.tolist(), right, batch.group.tolist(), 9000, 750)
    assert DynamicLength(limit=9000)(merged)[0].tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda: DynamicLength(limit=100), r"unsolved_target is 750\.0"),
        (lambda: DynamicLength(limit=1000, unsolved_weight=-1), "unsolved_weight is -1"),
    ],
)
def test_wrong_settings_are_refused(make: Any, fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        make()
