"""The importance of thoughts, arXiv 2505.11827, Eq. 1, and the reward of Eq. 9."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.data.importance import long_thoughts, thought_importance
from leanthink.recipe.definition import load_recipe
from leanthink.rewards import Format

LENGTH, ACCURACY = [120, 300, 80, 500, 200], [0.25, 0.5, 0.5, 0.75, 0.75]


def slow(length: list[int], accuracy: list[float], without: float | None, delta: float) -> list[float]:
    """Eq. 1, thought by thought."""
    result = []
    for i in range(len(length)):
        rest = sum(length) - sum(length[: i + 1])
        value = math.log(1 + rest / sum(length) * (1 - length[i] / sum(length)) * accuracy[i]) / math.log(2)
        previous = accuracy[i - 1] if i else without
        if previous is not None and accuracy[i] <= previous:
            value -= delta
        result.append(value)
    return result


def test_worked_example() -> None:
    importance = thought_importance(LENGTH, ACCURACY, 0.0)
    assert importance == pytest.approx([0.266037, 0.314697, 0.097351, 0.101538, -0.25], abs=1e-6)
    assert long_thoughts(importance) == [True, True, False, False, False]
    penalised = thought_importance(LENGTH, ACCURACY, 0.25)
    assert penalised == pytest.approx([0.016037, *importance[1:]], abs=1e-6)
    assert thought_importance(LENGTH, ACCURACY) == importance


def test_agrees_with_the_loop() -> None:
    draw = random.Random(5)
    for _ in range(1000):
        count = draw.randint(0, 8)
        length = [draw.randint(1, 90) for _ in range(count)]
        accuracy = [draw.randint(0, 5) / 5 for _ in range(count)]
        without = draw.choice([None, 0.0, 0.4])
        expected = slow(length, accuracy, without, 0.25)
        assert thought_importance(length, accuracy, without) == pytest.approx(expected, abs=1e-12)


def test_equal_scores_are_short_and_the_first_is_long() -> None:
    assert long_thoughts([0.2, 0.2, 0.3]) == [True, False, True]
    assert long_thoughts([]) == []


@pytest.mark.parametrize(
    ("length", "accuracy", "fact"),
    [
        ([1, 2], [0.5], "2 lengths and 1 accuracies"),
        ([0], [0.5], "thought 0: 0 tokens"),
        ([-3], [0.5], "-3 tokens"),
        ([4, math.inf], [0.5, 0.5], "thought 1: inf tokens"),
        ([math.nan], [0.5], "nan tokens"),
        ([4], [1.5], "accuracy 1.5"),
        ([4, 5], [0.5, None], "thought 1: accuracy None, that of a failed probe; ask again"),
        ([4], [math.nan], "accuracy nan, that of a failed probe"),
    ],
)
def test_what_is_no_thought_is_refused(length: list[float], accuracy: list[float | None], fact: str) -> None:
    with pytest.raises(BatchError, match=fact):
        thought_importance(length, accuracy)


@pytest.mark.parametrize("without", [math.nan, -0.1, 1.1, math.inf])
def test_an_accuracy_without_thought_is_a_share(without: float) -> None:
    with pytest.raises(BatchError, match=r"accuracy_without is .*; give a share of 0 to 1, or None"):
        thought_importance([4], [0.5], without)


@pytest.mark.parametrize("penalty", [-0.1, math.nan, math.inf])
def test_a_penalty_is_no_bonus(penalty: float) -> None:
    with pytest.raises(ConfigError, match=r"redundancy_penalty is .*; give 0 or more"):
        thought_importance([4], [0.5], redundancy_penalty=penalty)


@pytest.mark.parametrize("value", [math.nan, None, math.inf])
def test_thoughts_of_unknown_importance_are_not_split(value: Any) -> None:
    with pytest.raises(BatchError, match="thought 1: importance"):
        long_thoughts([0.5, value])


@pytest.mark.parametrize(("mu", "expected"), [(0.0, [2, 2, 1, 0]), (0.5, [2.25, 2, 0.75, 0]), (1.0, [2.5, 2, 0.5, 0])])
def test_worked_example_of_the_recipes_reward(mu: float, expected: list[float]) -> None:
    reward = load_recipe("long_short", [f"reward.sum.length.scale.by={mu}"]).reward
    batch = RolloutBatch.of(group=[0] * 4, length=[800, 1200, 1600, 800], correct=[1, 1, 0, 0])
    assert reward(batch.replace(**{Format().column: [1, 1, 1, 0]}))[0].tolist() == pytest.approx(expected, abs=1e-6)
