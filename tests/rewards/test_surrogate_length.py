"""Surrogate signals, arXiv 2505.19439."""

from __future__ import annotations

from typing import Any

import pytest

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.rewards import (
    Readable,
    SurrogateLength,
)
from made_batches import group_of, measured
from oracles import Flags, Numbers

EXAMPLES = [
    SurrogateLength(limit=12_000),
    SurrogateLength(limit=12_000, turning_point=0.25, format=Readable(), gate_on_correct=True),
]
WRONG_MAY_BEAT_CORRECT = [SurrogateLength]
RECIPES = {
    "surrogate": SpelledOut(
        reward=SurrogateLength(limit=3072.0, turning_point=0.5, format_weight=0.5, format=Readable()),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        verl={
            "data.train_batch_size": 128,
            "data.max_prompt_length": 1024,
            "data.max_response_length": 3072,
            "actor_rollout_ref.rollout.n": 8,
            "actor_rollout_ref.rollout.temperature": 0.6,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 128,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "actor_rollout_ref.actor.kl_loss_coef": 0.001,
        },
    )
}


def test_worked_example_surrogate() -> None:
    tokens = [256.0, 768, 1536, 2304, 2623, 3072, 1536, 2800]
    texts = [
        *(r"So it is \boxed{5}.", r"\boxed{\frac{1}{2}} is the answer", "<answer> x = 5 </answer>"),
        *(r"<think> 5? </think> \boxed{5}", r"\boxed{1} or \boxed{2}", r"\[ \boxed{5} \]"),
        *(r"So it is \boxed{}.", r"<think> \boxed{5} </think> So it is 5."),
    ]
    recipe = load_recipe("surrogate")
    batch = measured(recipe.reward, group_of(tokens, [0] * 8), texts)
    given = recipe.reward(batch)[0].tolist()
    assert given == pytest.approx([0.805556, 1.25, 1.5, 1.0, 0.498372, -0.5, 0.0, -0.354384], abs=1e-6)
    plain = SurrogateLength(limit=3072)(batch)[0].tolist()
    assert plain == pytest.approx([0.305556, 0.75, 1.0, 0.5, -0.001628, -1.0, 1.0, -0.354384], abs=1e-6)


def slow_surrogate(length: Numbers, readable: Flags, limit: float, p: float) -> list[float]:
    """arXiv 2505.19439: the released format-length reward without a tag."""
    result = []
    for tokens, ok in zip(length, readable, strict=True):
        x = tokens / limit
        value = 1 - (1 - x / p) ** 2 if x <= p else 1 - 2 * ((x - p) / (1 - p)) ** 2
        result.append(0.5 + value if ok else min(0.0, value))
    return result


def test_surrogate_agrees_with_the_loop(merged: RolloutBatch) -> None:
    readable = [row % 3 > 0 for row in range(len(merged))]
    batch = merged.replace(**{Readable().column: [float(one) for one in readable]})
    given_N = SurrogateLength(limit=12_000, turning_point=0.3, format=Readable())(batch)[0]
    assert given_N.tolist() == pytest.approx(slow_surrogate(merged.length.tolist(), readable, 12_000, 0.3), abs=1e-9)


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda: SurrogateLength(limit=0), "limit is 0"),
        (lambda: SurrogateLength(limit=9, turning_point=1), "turning_point 1"),
        (lambda: SurrogateLength(limit=9, format_weight=-1), "format_weight is -1"),
    ],
)
def test_wrong_settings_are_refused(make: Any, fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        make()
