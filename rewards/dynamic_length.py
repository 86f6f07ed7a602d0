"""VL-Cogito: wrong responses are drawn towards the length of their prompt's right ones. ``_N`` responses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_mean
from leanthink.core.reward import Reward, RewardN, Scope


def distance_cost(length_N: Float[Tensor, " N"], target_N: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """``-0.25 (1 + cos(pi L / target))``: 0 at the target, -0.5 for no token and from twice the target on."""
    ratio_N = (length_N / target_N.clamp(min=1.0)).clamp(max=2.0)
    return -0.25 * (1 + torch.cos(math.pi * ratio_N))


@final
@dataclass(frozen=True, kw_only=True)
class DynamicLength(Reward):
    """DyLR, the length reward of VL-Cogito's hard stage (arXiv 2507.22607, Eq. 5, as released); a term to add.

    A wrong response gets ``-0.25 (1 + cos(pi L / m))`` up to ``2 m`` and -0.5 beyond, ``m`` being the mean length of
    its group's correct ones. Where the group has none: ``unsolved_weight`` times -0.5 from ``limit`` tokens on, 0 from
    ``unsolved_target`` on, and the same cosine towards ``unsolved_target`` below. A correct one gets 0.
    Lengths in tokens.

    Args:
        limit: the response limit: 4096 in the paper.
        unsolved_target: ``L_tar``: 750 in the hard stage's script, 500 by default in the code.
        unsolved_weight: 0.5.
        apply_to_correct: whether correct responses are drawn to ``m``, too; whether the paper means that is not
            confirmed, its code does not.

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[400, 100, 400, 900], correct=[1, 0, 0, 0])
    >>> DynamicLength(limit=4096)(batch)[0]
    tensor([ 0.0000, -0.4268, -0.0000, -0.5000], dtype=torch.float64)
    """

    limit: float
    unsolved_target: float = 750.0
    unsolved_weight: float = 0.5
    apply_to_correct: bool = False
    scope = Scope.GROUP
    in_tokens = ("limit", "unsolved_target")
    is_term = True

    def __post_init__(self) -> None:
        if not 1 <= self.unsolved_target <= self.limit:
            raise ConfigError(
                f"dynamic_length: unsolved_target is {self.unsolved_target} and limit {self.limit}; give tokens, 1 or "
                "more, and a target within the limit"
            )
        if not self.unsolved_weight >= 0:
            raise ConfigError(f"dynamic_length: unsolved_weight is {self.unsolved_weight}; give 0 or more")

    def score(self, batch: RolloutBatch) -> RewardN:
        """The term of each response."""
        length_N, right_N = batch.length, batch.correct == 1
        mean_N = group_mean(length_N, batch.group, right_N)[batch.group]  # NaN where none is correct
        solved_N = distance_cost(length_N, mean_N)
        if not self.apply_to_correct:
            solved_N = torch.where(right_N, torch.zeros_like(solved_N), solved_N)
        short_N = distance_cost(length_N, torch.full_like(length_N, self.unsolved_target))
        unsolved_N = torch.where(length_N >= self.unsolved_target, torch.zeros_like(short_N), short_N)
        unsolved_N = torch.where(length_N >= self.limit, torch.full_like(short_N, -0.5), unsolved_N)
        return torch.where(mean_N.isnan(), self.unsolved_weight * unsolved_N, solved_N)
