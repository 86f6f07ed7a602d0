"""The plain outcome reward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.reward import Reward, RewardN


@final
@dataclass(frozen=True, kw_only=True)
class Correct(Reward):
    """``right`` for a correct response, ``wrong`` for any other.

    >>> batch = RolloutBatch.of(group=[0, 0], length=[5, 8], correct=[1, 0])
    >>> Correct()(batch)[0], Correct(right=1.0, wrong=-1.0)(batch)[0]
    (tensor([1., 0.], dtype=torch.float64), tensor([ 1., -1.], dtype=torch.float64))
    """

    right: float = 1.0
    wrong: float = 0.0

    def __post_init__(self) -> None:
        if self.right <= self.wrong:
            raise ConfigError(
                f"correct: right {self.right} is not above wrong {self.wrong}; raise right or lower wrong"
            )

    def score(self, batch: RolloutBatch) -> RewardN:
        """The outcome of each response."""
        return torch.where(batch.correct == 1, torch.full_like(batch.correct, self.right), self.wrong)
