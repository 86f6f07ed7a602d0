"""GDPO's length part: 1 for every response within a target, right or wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.reward import Reward, RewardN
from leanthink.core.schedules import Number, at, bounds


def within_length(length_N: Float[Tensor, " N"], target: float) -> Float[Tensor, " N"]:
    """1 for a response of up to ``target`` tokens, the edge included, 0 for a longer one."""
    return (length_N <= target).double()


@final
@dataclass(frozen=True, kw_only=True)
class WithinLength(Reward):
    """1 for a response of at most ``target`` tokens, right or wrong; a term to add to correctness.

    The length part of GDPO's experiments (arXiv 2601.05242, Sec. 4.2): ``1[L <= l]``, l = 4000. GDPO itself needs no
    part of its own: each part is normalised in its group (`group_normalize`), weighted (`scale`), added (`sum`), and
    the sum is whitened over the batch (`batch_norm`). The conditioned part, ``1[L <= l] 1[right]`` (Eq. 8), is
    `step_length` with ``alpha: 1.0``.

    Args:
        target: tokens; the paper uses 4000.

    >>> WithinLength(target=4000)(RolloutBatch.of(group=[0] * 3, length=[3999, 4000, 4001], correct=[1, 0, 1]))[0]
    tensor([1., 1., 0.], dtype=torch.float64)
    """

    target: Number
    in_tokens = ("target",)
    is_term = True

    def __post_init__(self) -> None:
        if not bounds(self.target)[0] >= 1:
            raise ConfigError(f"within_length: target is {self.target}; give tokens, 1 or more at every step")

    def score(self, batch: RolloutBatch) -> RewardN:
        """Whether each response is within the target."""
        return within_length(batch.length, at(self.target, batch.step))
