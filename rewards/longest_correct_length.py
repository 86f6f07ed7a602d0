"""LC-R1's length reward: how much shorter a correct response is than the longest correct one of its group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_max
from leanthink.core.reward import Reward, RewardN, Scope


def longest_correct_length(
    length_N: Float[Tensor, " N"], correct_N: Bool[Tensor, " N"], group_N: Int[Tensor, " N"], pay_wrong: bool = False
) -> Float[Tensor, " N"]:
    """``1 - L / max L`` over the group's correct responses; 0 for a wrong one, and where none is correct."""
    longest_N = group_max(length_N, group_N, correct_N)[group_N].clamp(min=1.0)
    paid_N = ~longest_N.isnan() if pay_wrong else correct_N
    return torch.where(paid_N, 1 - length_N / longest_N, 0.0)


@final
@dataclass(frozen=True, kw_only=True)
class LongestCorrectLength(Reward):
    """The length reward of LC-R1 (arXiv 2506.14755, Eq. 3): ``1 - L / max_{j correct} L_j`` if correct, else 0.

    A term to add to correctness; lengths in tokens, those of the compressed response where the run compresses. The
    longest correct response, a single correct one, and all of equal length, get 0.

    Args:
        pay_wrong: give wrong responses of a group with a correct one the same term, as the released trainer does; it is
            negative for a wrong response longer than every correct one.

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[400, 600, 1000, 800], correct=[1, 1, 1, 0])
    >>> LongestCorrectLength()(batch)[0]
    tensor([0.6000, 0.4000, 0.0000, 0.0000], dtype=torch.float64)
    """

    pay_wrong: bool = False
    scope = Scope.GROUP
    is_term = True

    def __post_init__(self) -> None:
        if not isinstance(self.pay_wrong, bool):
            raise ConfigError(f"longest_correct_length: pay_wrong is {self.pay_wrong!r}; give true or false")

    def score(self, batch: RolloutBatch) -> RewardN:
        """The term of each response."""
        return longest_correct_length(batch.length, batch.correct == 1, batch.group, self.pay_wrong)
