"""Which groups dynamic sampling keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.training import Settings, Shaper, kept_groups
from made_facts import fact

BATCH = RolloutBatch.of(
    group=["mixed", "right", "mixed", "right", "equal", "equal", "wrong", "wrong", "alone"],
    length=[5, 5, 9, 9, 7, 7, 4, 8, 3],
    correct=[1, 1, 0, 1, 1, 1, 0, 0, 0],
)


def test_raw_correctness_decides() -> None:
    assert kept_groups(BATCH).tolist() == [True, False, True, False, False, False, False, False, True]
    assert BATCH.select(kept_groups(BATCH)).num_groups == 2


def test_all_right_groups_stay_that_the_reward_tells_apart() -> None:
    reward_N = load_recipe("trle").reward(BATCH)[0]
    kept = kept_groups(BATCH, "acc_then_reward", reward_N)
    assert kept.tolist() == [True, True, True, True, False, False, False, False, True]


def test_a_group_without_a_right_response_is_dropped_whatever_it_earns_and_rounding_tells_none_apart() -> None:
    reward_N = -BATCH.length.double()
    reward_N[5] += 1e-9  # of the two that are right and equally long
    kept = kept_groups(BATCH, "acc_then_reward", reward_N)
    assert kept.tolist() == [True, True, True, True, False, False, False, False, True]


def test_it_is_what_verl_keeps_and_what_the_shaper_tells_apart(batches: list[RolloutBatch]) -> None:
    """verl drops a group of two or more whose values have a deviation of 0."""
    recipe = load_recipe("trle")
    shaper = Shaper(Settings.of(recipe))
    for batch in batches[:200]:
        reward_N = recipe.reward(batch)[0]
        plain, shaped = kept_groups(batch), kept_groups(batch, "acc_then_reward", reward_N)
        for code in range(batch.num_groups):
            rows = (batch.group == code).nonzero().squeeze(-1)
            right = batch.correct[rows].tolist()
            stays = len(right) == 1 or float(np.std(right)) > 0
            assert set(plain[rows].tolist()) == {stays}
            columns = zip(right, batch.length[rows].tolist(), batch.truncated[rows].double().tolist(), strict=True)
            facts = [fact(acc=acc, length=length, truncated=truncated) for acc, length, truncated in columns]
            apart = all(right) and shaper.tells_apart(facts, step=1)
            assert set(shaped[rows].tolist()) == {stays or apart}


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigError, match="metric is 'reward'; give acc or acc_then_reward"):
        kept_groups(BATCH, "reward")  # type: ignore[arg-type]
    with pytest.raises(BatchError, match="none are given; pass reward_N"):
        kept_groups(BATCH, "acc_then_reward")
    assert kept_groups(BATCH.select(torch.zeros(9, dtype=torch.bool))).tolist() == []
