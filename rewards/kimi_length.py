"""Kimi k1.5: a min-max length term, positive for the short and negative for the long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.groups import group_max, group_min
from leanthink.core.reward import Reward, RewardN, Scope


def kimi_length(
    length_N: Float[Tensor, " N"],
    correct_N: Bool[Tensor, " N"],
    group_N: Int[Tensor, " N"],
) -> Float[Tensor, " N"]:
    """``0.5 - (len - min) / (max - min)`` over the whole group; wrong responses keep only its negative part.

    A group whose lengths are all equal gets 0.
    """
    shortest_N = group_min(length_N, group_N)[group_N]
    span_N = group_max(length_N, group_N)[group_N] - shortest_N
    lam_N = 0.5 - (length_N - shortest_N) / torch.where(span_N > 0, span_N, 1.0)
    term_N = torch.where(correct_N, lam_N, lam_N.clamp(max=0.0))
    return torch.where(span_N > 0, term_N, torch.zeros_like(term_N))


@final
@dataclass(frozen=True, kw_only=True)
class KimiLength(Reward):
    """The length term of Kimi k1.5 (arXiv 2501.12599, Sec. 2.3.3), in [-0.5, 0.5]; a term to add to correctness.

    ``lam = 0.5 - (len - min_len) / (max_len - min_len)``, the extremes over all responses of the group; a correct
    response earns ``lam``, a wrong one ``min(0, lam)``. The weight, which the paper does not give, and its warm-up
    belong to a surrounding ``scale``; a weight below 2 keeps every correct response above every wrong one.

    >>> batch = RolloutBatch.of(group=[0] * 3, length=[500, 1000, 3000], correct=[1, 0, 0])
    >>> KimiLength()(batch)[0]
    tensor([ 0.5000,  0.0000, -0.5000], dtype=torch.float64)
    """

    scope = Scope.GROUP
    is_term = True

    def score(self, batch: RolloutBatch) -> RewardN:
        """The length term of each response."""
        return kimi_length(batch.length, batch.correct == 1, batch.group)
