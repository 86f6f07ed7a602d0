"""GR3: every reward divided by what its response's length is, relative to its group's mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.groups import group_mean
from leanthink.core.reward import Composite, Part, Reward, RewardN, Scope
from leanthink.core.schedules import Number, at, bounds
from leanthink.rewards.correct import Correct

OUTCOME: Final = Correct()


def length_factor(length_N: Float[Tensor, " N"], group_N: Int[Tensor, " N"], alpha: float) -> Float[Tensor, " N"]:
    """``1 / (1 + alpha l / l_mean)``, the mean over all responses of the group, right or wrong; 1 where all are empty.

    In [1 / (1 + alpha G), 1] for a group of G; a response of mean length, or alone, has 1 / (1 + alpha).
    """
    mean_N = group_mean(length_N, group_N)[group_N]
    relative_N = torch.where(mean_N > 0, length_N / mean_N, 0.0)
    return 1 / (1 + alpha * relative_N)


@final
@dataclass(frozen=True, kw_only=True)
class LengthRescale(Composite):
    """Group relative reward rescaling (GR3, arXiv 2603.10535): ``r / (1 + alpha l / l_mean)``, in [0, r].

    ``l_mean`` is the group's mean length in tokens over all responses, truncated ones with what they have. A reward of
    0 stays 0, so that no length makes a wrong response better than a right one. A negative reward would be worth more
    the longer its response: it is an error.

    The formula is that of public code (prime-rl at c1bbbf9) and of notes on the paper. Whether the paper's advantage
    also divides by the group's deviation is not confirmed; the code subtracts the mean only (``grpo: {scale: none}``),
    which leaves ``alpha`` a dial in groups that are all right.

    Args:
        alpha: strength, 0 or more; 0.33 by both.
        of: the reward to rescale, never negative.

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[500, 1500, 2000, 4000], correct=[0, 0, 1, 1])
    >>> LengthRescale(alpha=0.5)(batch)[0]
    tensor([0.0000, 0.0000, 0.6667, 0.5000], dtype=torch.float64)
    """

    alpha: Number = 0.33
    of: Reward = OUTCOME
    own_scope = Scope.GROUP

    def __post_init__(self) -> None:
        super().__post_init__()
        if bounds(self.alpha)[0] < 0:
            raise ConfigError(f"length_rescale: alpha is {self.alpha}, which would pay for length; give 0 or more")
        if isinstance(self.of, Correct) and self.of.wrong < 0:
            raise ConfigError(
                f"length_rescale: a wrong response earns {self.of.wrong}, and would earn more the longer it is; "
                "give 0 for a wrong response"
            )

    @property
    def carries(self) -> frozenset[str]:
        """The part, of which each response keeps a share that is the same for all its tokens."""
        return frozenset({"of"})

    def weight(self, name: str, batch: RolloutBatch, value: Mapping[str, RewardN]) -> RewardN:
        """The share that each response keeps."""
        return length_factor(batch.length, batch.group, at(self.alpha, batch.step))

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The part, less what its response's length takes."""
        reward_N = part("of", batch)
        negative_N = reward_N < 0
        if bool(negative_N.any()):
            row = int(negative_N.nonzero()[0])
            raise BatchError(
                f"length_rescale: the reward of row {row} is {reward_N[row].item():.4g}, and would be more the longer "
                "the response; give a reward that is never negative"
            )
        return reward_N * length_factor(batch.length, batch.group, at(self.alpha, batch.step))
