"""Reductions over prompt groups, vectorised, for uneven groups in any order.

``_N`` runs over responses, ``_G`` over groups. ``group_N`` holds group codes 0..G-1. ``where_N`` restricts a
reduction to some responses (the correct ones, say); a group with none of them gets NaN, never a made-up value.
``reduced_G[group_N]`` spreads a result back over the responses.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ValuesN = Float[Tensor, " N"]
ValuesG = Float[Tensor, " G"]
GroupN = Int[Tensor, " N"]
MaskN = Bool[Tensor, " N"]


def group_codes(names: Sequence[Hashable]) -> GroupN:
    """A number for each response's group, counting up from 0 by first appearance.

    >>> group_codes(["b", "a", "b"])
    tensor([0, 1, 0])
    """
    codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([codes[name] for name in names], dtype=torch.int64)


def num_groups(group_N: GroupN) -> int:
    """The number of groups G; codes are 0..G-1."""
    return int(group_N.max()) + 1 if group_N.numel() else 0


def group_sum(values_N: Tensor, group_N: GroupN, where_N: MaskN | None = None) -> ValuesG:
    """Sum within each group; 0 for a group with no selected response.

    >>> group_sum(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 1, 0]))
    tensor([5., 2.], dtype=torch.float64)
    """
    values_N = values_N.double()
    if where_N is not None:
        values_N = torch.where(where_N, values_N, values_N.new_zeros(()))
    return values_N.new_zeros(num_groups(group_N)).index_add_(0, group_N, values_N)


def group_count(group_N: GroupN, where_N: MaskN | None = None) -> ValuesG:
    """Number of (selected) responses in each group, as float64.

    >>> group_count(torch.tensor([0, 1, 0]), torch.tensor([True, False, True]))
    tensor([2., 0.], dtype=torch.float64)
    """
    return group_sum(torch.ones_like(group_N, dtype=torch.float64), group_N, where_N)


def group_mean(values_N: Tensor, group_N: GroupN, where_N: MaskN | None = None) -> ValuesG:
    """Mean within each group; NaN where nothing is selected.

    >>> group_mean(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 1, 0]), torch.tensor([True, False, True]))
    tensor([2.5000,    nan], dtype=torch.float64)
    """
    return group_sum(values_N, group_N, where_N) / group_count(group_N, where_N)


def group_std(values_N: Tensor, group_N: GroupN, where_N: MaskN | None = None, *, ddof: int = 0) -> ValuesG:
    """Standard deviation within each group, divided by ``count - ddof``; NaN where that is not positive.

    >>> group_std(torch.tensor([1.0, 3.0, 7.0]), torch.tensor([0, 0, 1]), ddof=1)
    tensor([1.4142,    nan], dtype=torch.float64)
    """
    deviation_N = values_N.double() - group_mean(values_N, group_N, where_N)[group_N]
    free_G = group_count(group_N, where_N) - ddof
    variance_G = group_sum(deviation_N.square(), group_N, where_N) / free_G
    return torch.where(free_G > 0, variance_G, torch.nan).sqrt()


def group_centred(values_N: Tensor, group_N: GroupN) -> ValuesN:
    """Values minus their group's mean; exactly 0 in a group whose values differ by rounding only.

    >>> group_centred(torch.tensor([1.0, 3.0, 7.0]), torch.tensor([0, 0, 1]))
    tensor([-1.,  1.,  0.], dtype=torch.float64)
    """
    low_G, high_G = group_min(values_N, group_N), group_max(values_N, group_N)
    equal_G = high_G - low_G <= 1e-12 * torch.maximum(high_G.abs(), low_G.abs()).clamp(min=1.0)
    centred_N = values_N.double() - group_mean(values_N, group_N)[group_N]
    return torch.where(equal_G[group_N], torch.zeros_like(centred_N), centred_N)


def _group_extreme(
    values_N: Tensor, group_N: GroupN, where_N: MaskN | None, reduce: Literal["amin", "amax"]
) -> ValuesG:
    values_N = values_N.double()
    if where_N is not None:
        values_N, selected_N = values_N[where_N], group_N[where_N]
    else:
        selected_N = group_N
    empty_G = values_N.new_full((num_groups(group_N),), torch.nan)
    return empty_G.scatter_reduce_(0, selected_N, values_N, reduce, include_self=False)


def group_min(values_N: Tensor, group_N: GroupN, where_N: MaskN | None = None) -> ValuesG:
    """Smallest value in each group; NaN where nothing is selected.

    >>> group_min(torch.tensor([3.0, 2.0, 4.0]), torch.tensor([0, 1, 0]), torch.tensor([True, False, True]))
    tensor([3., nan], dtype=torch.float64)
    """
    return _group_extreme(values_N, group_N, where_N, "amin")


def group_max(values_N: Tensor, group_N: GroupN, where_N: MaskN | None = None) -> ValuesG:
    """Largest value in each group; NaN where nothing is selected.

    >>> group_max(torch.tensor([3.0, 2.0, 4.0]), torch.tensor([0, 1, 0]))
    tensor([4., 2.], dtype=torch.float64)
    """
    return _group_extreme(values_N, group_N, where_N, "amax")
