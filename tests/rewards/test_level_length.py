"""TLDR, arXiv 2505.07961."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.rewards import LevelLength
from leanthink.testing import Columns
from made_batches import group_of
from oracles import Flags, Numbers

EXAMPLES = [LevelLength(limit=8000, prices=(0.6,))]  # of several levels each group has one
COLUMNS: Columns = {"length_level": lambda generator, n: torch.zeros(n)}
RECIPES = {
    "tldr": SpelledOut(
        reward=LevelLength(limit=8000.0, prices=(0.6, 0.3, 0.1)),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        verl={},
    )
}


@pytest.mark.parametrize(
    ("level", "rewards", "advantages"),
    [
        (2, [0.9875, 0.9625, 0.925, 0, 0, 0.95], [0.708190, 0.657605, 0.581728, -1.289918, -1.289918, 0.632313]),
        (1, [0.9625, 0.8875, 0.775, 0, 0, 0.85], [0.846812, 0.681131, 0.432610, -1.279422, -1.279422, 0.598291]),
        (0, [0.925, 0.775, 0.55, 0, 0, 0.7], [1.084461, 0.709071, 0.145985, -1.230446, -1.230446, 0.521375]),
    ],
)
def test_worked_example_tldr(level: int, rewards: list[float], advantages: list[float]) -> None:
    batch = group_of([1000, 3000, 6000, 2000, 8000, 4000], [1, 1, 1, 0, 0, 1], length_level=[level] * 6)
    reward_N = load_recipe("tldr").reward(batch)[0]
    assert reward_N.tolist() == pytest.approx(rewards, abs=1e-6)
    assert Grpo()(reward_N, batch.group).tolist() == pytest.approx(advantages, abs=1e-6)
    priced = LevelLength(limit=8000, penalise_incorrect=True)(batch.replace(length_level=[0] * 6))[0].tolist()
    assert priced[3:5] == pytest.approx([-0.15, -0.6], abs=1e-6)


def slow_tldr(length: Numbers, correct: Flags, price: float, limit: float, penalise: bool) -> list[float]:
    """arXiv 2505.07961, the reconstruction."""
    result = []
    for tokens, ok in zip(length, correct, strict=True):
        cost = price * min(tokens, limit) / limit
        result.append((1.0 if ok else 0.0) - (cost if ok or penalise else 0.0))
    return result


@pytest.mark.parametrize("penalise", [False, True])
def test_levels_agree_with_the_loop(merged: RolloutBatch, penalise: bool) -> None:
    level_N = merged.group % 3
    given_N = LevelLength(limit=9000, penalise_incorrect=penalise)(merged.replace(length_level=level_N))[0]
    for level, price in enumerate((0.6, 0.3, 0.1)):
        rows = merged.select(level_N == level)
        cut = rows.truncated.tolist()
        right = [bool(ok) and not was_cut for ok, was_cut in zip(rows.correct.tolist(), cut, strict=True)]
        lengths = [9000.0 if was_cut else one for one, was_cut in zip(rows.length.tolist(), cut, strict=True)]
        expected = slow_tldr(lengths, right, price, 9000, penalise)
        assert given_N[level_N == level].tolist() == pytest.approx(expected, abs=1e-9)


def test_a_group_has_one_level_and_a_known_one() -> None:
    with pytest.raises(BatchError, match="'length_level', row 0: 0, but its group has 1, too; give each prompt one"):
        LevelLength(limit=9)(group_of([1, 1], [1, 1], length_level=[0, 1]))
    with pytest.raises(BatchError, match="row 1: 3 is not allowed; give a level, a whole number from 0 to 2"):
        LevelLength(limit=9)(group_of([1, 1], [1, 1], length_level=[0, 3]))


def test_an_answer_before_a_cut_earns_nothing_and_is_as_long_as_the_limit() -> None:
    cut = group_of([4000, 100, 50], [1, 0, 1], truncated=[0, 1, 1], length_level=[0] * 3)
    assert LevelLength(limit=8000)(cut)[0].tolist() == [0.7, 0.0, 0.0]
    assert LevelLength(limit=8000, penalise_incorrect=True)(cut)[0].tolist() == [0.7, -0.6, -0.6]


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda: LevelLength(limit=0), "limit is 0"),
        (lambda: LevelLength(limit=9, prices=(0.1, 0.3)), "prices are"),
    ],
)
def test_wrong_settings_are_refused(make: Any, fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        make()
