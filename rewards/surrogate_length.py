"""Surrogate signals: a smooth length reward with a turning point, in place of correctness. ``_N`` responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.reward import Composite, Part, Reward, RewardN


def surrogate_length(length_N: Float[Tensor, " N"], limit: float, turning_point: float = 0.5) -> Float[Tensor, " N"]:
    """With ``x = L / limit``: ``1 - (1 - x/p)^2`` up to ``p``, ``1 - 2 ((x - p) / (1 - p))^2`` beyond; not clamped."""
    share_N = length_N / limit
    rising_N = 1 - (1 - share_N / turning_point).square()
    falling_N = 1 - 2 * ((share_N - turning_point) / (1 - turning_point)).square()
    return torch.where(share_N <= turning_point, rising_N, falling_N)


def gated_by_format(term_N: Float[Tensor, " N"], parsable_N: Bool[Tensor, " N"], weight: float) -> Float[Tensor, " N"]:
    """``weight + term`` where an answer can be read, else ``min(0, term)``."""
    return torch.where(parsable_N, weight + term_N, term_N.clamp(max=0.0))


@final
@dataclass(frozen=True, kw_only=True)
class SurrogateLength(Composite):
    """The format-length signal of arXiv 2505.19439 (Surrogate Signals from Format and Length); needs no gold answer.

    ``R_len`` rises from 0 at no tokens to 1 at ``turning_point limit`` tokens and falls to -1 at ``limit``, further
    beyond. With ``format``: ``format_weight + R_len`` where an answer can be read, else ``min(0, R_len)``. Without, or
    with ``gate_on_correct``, a plain length term: correctness labels are better than this where they exist. It has no
    use for correctness, so a wrong response may beat a correct one. The tag of the released code's ``F_tag``, always 0
    in its runs, is left out.

    Args:
        limit: ``L_max``, tokens; 3072 in the paper. The best length is an absolute one: half of it.
        turning_point: ``p`` in (0, 1); 0.5 in the paper's runs, 0.25 the function's default in its code.
        format: a reward that is nonzero where an answer can be read, as `readable` is; None: every response counts as
            readable, and the format weight is not paid.
        format_weight: 0.5 in the paper.
        gate_on_correct: pay correct responses only; not in the paper.

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[256, 1536, 2304, 3072], correct=[1, 0, 1, 0])
    >>> SurrogateLength(limit=3072)(batch)[0]
    tensor([ 0.3056,  1.0000,  0.5000, -1.0000], dtype=torch.float64)
    """

    limit: float
    turning_point: float = 0.5
    format: Reward | None = None
    format_weight: float = 0.5
    gate_on_correct: bool = False
    in_tokens = ("limit",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.limit >= 1 or not 0 < self.turning_point < 1:
            raise ConfigError(
                f"surrogate_length: limit is {self.limit} and turning_point {self.turning_point}; give 1 token or "
                "more, and a share between 0 and 1"
            )
        if not self.format_weight >= 0:
            raise ConfigError(f"surrogate_length: format_weight is {self.format_weight}; give 0 or more")

    @property
    def is_term(self) -> bool:
        """Without the format it is."""
        return self.format is None

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The signal of each response."""
        value_N = surrogate_length(batch.length, self.limit, self.turning_point)
        if self.format is not None:
            value_N = gated_by_format(value_N, part("format", batch) != 0, self.format_weight)
        return value_N * batch.correct if self.gate_on_correct else value_N
