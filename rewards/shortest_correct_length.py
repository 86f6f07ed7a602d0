"""ShorterBetter: the distance to the shortest correct response of the group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_mean, group_min
from leanthink.core.reward import Reward, RewardN, Scope
from leanthink.core.schedules import Number, at, bounds


def optimal_length(
    length_N: Float[Tensor, " N"], correct_N: Bool[Tensor, " N"], group_N: Int[Tensor, " N"]
) -> Float[Tensor, " G"]:
    """The length of each group's shortest correct response; its mean length where none is correct."""
    shortest_G = group_min(length_N, group_N, correct_N)
    return torch.where(shortest_G.isnan(), group_mean(length_N, group_N), shortest_G)


def shortest_correct_length(
    length_N: Float[Tensor, " N"],
    correct_N: Bool[Tensor, " N"],
    group_N: Int[Tensor, " N"],
    beta: float,
    max_distance: float | None = None,
) -> Float[Tensor, " N"]:
    """``-beta |L - SOL|``, the distance not counted beyond ``max_distance``."""
    distance_N = (length_N - optimal_length(length_N, correct_N, group_N)[group_N]).abs()
    if max_distance is not None:
        distance_N = distance_N.clamp(max=max_distance)
    return -beta * distance_N


@final
@dataclass(frozen=True, kw_only=True)
class ShortestCorrectLength(Reward):
    """The length term of ShorterBetter (arXiv 2504.21370): ``-beta |L - SOL|``; a term to add to correctness.

    ``SOL``, the sample optimal length, is that of the group's shortest correct response, or the group's mean length
    where none is correct; in tokens. The paper adds the term to ``alpha`` times correctness, with ``alpha`` 2 or 1:
    ``correct`` with ``right: 2``. A correct response more than ``alpha / beta`` tokens longer than SOL scores below a
    wrong one of that length, and wrong responses shorter than SOL are pushed to be longer. Truncated responses count
    with their length.

    Args:
        beta: the price of a token's distance.
        max_distance: count a distance of no more than so many tokens (not in the paper, which is linear).

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[900, 1200, 2500, 4000], correct=[1, 1, 0, 1])
    >>> ShortestCorrectLength()(batch)[0]
    tensor([-0.0000, -0.3000, -1.6000, -3.1000], dtype=torch.float64)
    """

    beta: Number = 0.001
    max_distance: float | None = None
    scope = Scope.GROUP
    is_term = True

    def __post_init__(self) -> None:
        if bounds(self.beta)[0] < 0 or (self.max_distance is not None and self.max_distance <= 0):
            raise ConfigError(
                f"shortest_correct_length: beta is {self.beta} and max_distance {self.max_distance}; "
                "give beta 0 or more, and max_distance above 0 or none"
            )

    def score(self, batch: RolloutBatch) -> RewardN:
        """The penalty of each response."""
        beta = at(self.beta, batch.step)
        return shortest_correct_length(batch.length, batch.correct == 1, batch.group, beta, self.max_distance)
