from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

import oracles
from leanthink.core.batch import RolloutBatch
from leanthink.core.groups import (
    group_centred,
    group_count,
    group_max,
    group_mean,
    group_min,
    group_std,
    group_sum,
    num_groups,
)


@pytest.mark.parametrize(
    ("ours", "slow"),
    [
        (group_sum, sum),
        (group_mean, oracles.mean),
        (group_std, oracles.std),
        (partial(group_std, ddof=1), partial(oracles.std, ddof=1)),
        (group_min, oracles.smallest),
        (group_max, oracles.largest),
        (lambda values, group, where=None: group_count(group, where), len),
    ],
    ids=["sum", "mean", "std", "std ddof 1", "min", "max", "count"],
)
def test_reductions_agree_with_loops(
    batches: list[RolloutBatch],
    merged: RolloutBatch,
    ours: Callable[..., Tensor],
    slow: Callable[[list[float]], float],
) -> None:
    for restricted in (False, True):
        expected: list[float] = []
        for batch in batches:
            where = (batch.correct == 1).tolist() if restricted else None
            expected += oracles.per_group(slow, batch.length.tolist(), batch.group.tolist(), where)
        given_G = ours(merged.length, merged.group, merged.correct == 1 if restricted else None)
        assert given_G.shape == (merged.num_groups,) and given_G.dtype == torch.float64
        expected_N = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(given_G[merged.group], expected_N, equal_nan=True, rtol=1e-9, atol=1e-6)


def test_unselected_values_may_be_nan_or_infinite() -> None:
    values_N = torch.tensor([1.0, math.nan, math.inf, 3.0])
    group_N, where_N = torch.tensor([0, 0, 0, 0]), torch.tensor([True, False, False, True])
    assert group_mean(values_N, group_N, where_N).tolist() == [2.0]
    assert group_std(values_N, group_N, where_N).tolist() == [1.0]
    assert group_max(values_N, group_N, where_N).tolist() == [3.0]


def test_integers_and_flags_are_reduced_as_float64() -> None:
    group_N = torch.tensor([0, 0])
    assert group_mean(torch.tensor([1, 2]), group_N).tolist() == [1.5]
    assert group_mean(torch.tensor([True, False]), group_N).tolist() == [0.5]
    assert group_sum(torch.tensor([1.0, 2.0], dtype=torch.float32), group_N).dtype == torch.float64


def test_nothing_reduces_to_nothing() -> None:
    none_N, group_N = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    assert num_groups(group_N) == 0
    for reduce in (group_sum, group_mean, group_std, group_min, group_max, group_centred):
        assert reduce(none_N, group_N).shape == (0,)


def test_centred_is_exactly_zero_where_values_differ_by_rounding_only() -> None:
    values_N = torch.tensor([0.1 + 0.2, 0.3, 0.3, 1.0, 2.0], dtype=torch.float64)
    centred_N = group_centred(values_N, torch.tensor([0, 0, 0, 1, 1]))
    assert centred_N.tolist() == [0.0, 0.0, 0.0, -0.5, 0.5]


def test_centred_keeps_small_real_differences() -> None:
    centred_N = group_centred(torch.tensor([0.0, 1e-9], dtype=torch.float64), torch.tensor([0, 0]))
    assert centred_N.tolist() == [-5e-10, 5e-10]
