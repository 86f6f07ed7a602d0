"""ALP: every token costs, the more the more often the prompt is solved."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_count, group_mean
from leanthink.core.reward import Breakdown, Reward, RewardN, Scope, State
from leanthink.core.schedules import Number, at, bounds


def cost_per_token(
    correct_N: Float[Tensor, " N"], group_N: Int[Tensor, " N"], beta: float, length_norm: float = 1.0
) -> Float[Tensor, " N"]:
    """``beta / length_norm * max(p, 1 / K)`` with the pass rate ``p`` of the group's K responses."""
    pass_rate_G = torch.maximum(group_mean(correct_N, group_N), 1 / group_count(group_N))
    return beta / length_norm * pass_rate_G[group_N]


@final
@dataclass(frozen=True, kw_only=True)
class PassRateLength(Reward):
    """The adaptive length penalty of ALP (Just Enough Thinking, arXiv 2506.05256); a term to add to correctness.

    ``-(beta / length_norm) max(p, 1 / K) L``, with ``L`` the response's tokens and ``p`` the share of the prompt's K
    rollouts that are correct. Right and wrong responses pay alike; a prompt that nobody solves still pays ``1 / K``.
    What a token costs is logged as the part ``per_token``.

    Divide by the maximum length or not: both readings of the paper are around, and this formula holds both. Its value
    1e-7 makes sense as the cost of one token only (``length_norm`` 1): divided by a limit of 16384 it falls below the
    1e-6 that GRPO adds to the standard deviation.

    Args:
        beta: the cost of ``length_norm`` tokens of a prompt that is always solved.
        length_norm: the paper's N; the maximum response length makes ``beta`` the cost of a longest response.

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[1000, 2000, 4000, 8000], correct=[1, 1, 1, 0])
    >>> PassRateLength(beta=1e-4)(batch)[0]
    tensor([-0.0750, -0.1500, -0.3000, -0.6000], dtype=torch.float64)
    """

    beta: Number = 1e-7
    length_norm: float = 1.0
    scope = Scope.GROUP
    is_term = True

    def __post_init__(self) -> None:
        if bounds(self.beta)[0] < 0 or self.length_norm <= 0:
            raise ConfigError(
                f"pass_rate_length: beta is {self.beta} and length_norm {self.length_norm}; "
                "give beta 0 or more and length_norm above 0"
            )

    def score(self, batch: RolloutBatch) -> RewardN:
        """The penalty of each response."""
        return -self._per_token(batch) * batch.length

    def breakdown(self, batch: RolloutBatch, state: State | None = None) -> Breakdown:
        """The penalty, and what one token costs."""
        return dataclasses.replace(super().breakdown(batch, state), parts={"per_token": self._per_token(batch)})

    def _per_token(self, batch: RolloutBatch) -> RewardN:
        return cost_per_token(batch.correct, batch.group, at(self.beta, batch.step), self.length_norm)
