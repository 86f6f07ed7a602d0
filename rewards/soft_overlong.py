"""DAPO: a penalty that ramps up inside a buffer before the generation limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.reward import Reward, RewardN


def soft_overlong(
    length_N: Float[Tensor, " N"], limit: float, buffer: float, factor: float = 1.0, clamp: bool = True
) -> Float[Tensor, " N"]:
    """0 up to ``limit - buffer`` tokens, then linearly down to ``-factor`` at ``limit``; beyond it, constant.

    Without ``clamp`` it goes on falling beyond ``limit``, as verl's reward manager has it.
    """
    ramp_N = (limit - buffer - length_N) / buffer
    return factor * ramp_N.clamp(min=-1.0 if clamp else None, max=0.0)


@final
@dataclass(frozen=True, kw_only=True)
class SoftOverlong(Reward):
    """Soft overlong punishment (DAPO, arXiv 2503.14476, Eq. 13); a term to add to any reward, right or wrong.

    Args:
        limit: ``L_max``, the generation limit in tokens (the paper: 20480), at which the penalty is full.
        buffer: ``L_cache``, tokens before the limit over which it ramps up (the paper: 4096).
        factor: the full penalty (the paper: 1).
        clamp: stop at ``-factor`` beyond the limit (Eq. 13); verl's own form goes on.

    >>> batch = RolloutBatch.of(group=[0] * 3, length=[16384, 18432, 20480], correct=[1, 1, 0])
    >>> SoftOverlong(limit=20480, buffer=4096)(batch)[0]
    tensor([ 0.0000, -0.5000, -1.0000], dtype=torch.float64)
    """

    limit: float
    buffer: float
    factor: float = 1.0
    clamp: bool = True
    in_tokens = ("limit",)
    is_term = True

    def __post_init__(self) -> None:
        if not 0 < self.buffer <= self.limit:
            raise ConfigError(
                f"soft_overlong: buffer is {self.buffer} and limit {self.limit}; "
                "the buffer lies before the limit: give 0 < buffer <= limit"
            )
        if self.factor < 0:
            raise ConfigError(f"soft_overlong: factor is {self.factor}; a penalty is 0 or more")

    def score(self, batch: RolloutBatch) -> RewardN:
        """The penalty of each response."""
        return soft_overlong(batch.length, self.limit, self.buffer, self.factor, self.clamp)
