"""TLDR: a linear price of length that depends on the level of brevity that the prompt asks for. ``_N`` responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch, check_values
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.groups import group_max
from leanthink.core.reward import Reward, RewardN

LEVEL: Final = "length_level"
"""The column that names a prompt's level: 0 for the shortest, counting up."""


def level_length(
    length_N: Float[Tensor, " N"],
    correct_N: Float[Tensor, " N"],
    price_N: Float[Tensor, " N"],
    limit: float,
    penalise_incorrect: bool = False,
) -> Float[Tensor, " N"]:
    """``c (1 - lambda min(L, limit) / limit)``, or ``c - lambda min(L, limit) / limit``."""
    cost_N = price_N * length_N.clamp(max=limit) / limit
    return correct_N - (cost_N if penalise_incorrect else correct_N * cost_N)


@final
@dataclass(frozen=True, kw_only=True)
class LevelLength(Reward):
    """The length-regularised reward for several levels of brevity, after TLDR (arXiv 2505.07961).

    ``c (1 - lambda_k min(L, limit) / limit)`` with one price ``lambda_k`` for each level ``k``; the prompt states its
    level, and all responses of a group share it. A group of two levels is an error: their length terms would mix.
    Wrong: 0. Truncated: wrong, even if the answer stood before the cut, and its length is the limit.

    The paper's equations could not be read: form, prices and levels are a reconstruction, and no number is the paper's.

    Args:
        limit: ``L_max``, tokens.
        prices: ``lambda`` by level, falling, from the shortest level on, each in [0, 1].
        penalise_incorrect: subtract the price of wrong responses, too, which trains failing prompts to be short.

    The column ``length_level`` is the prompt's: 0, 1, ... ``leanthink prepare --levels`` draws it for each
    prompt, and says it there.

    >>> batch = RolloutBatch.of(group=[0, 0, 1, 1], length=[1000, 3000] * 2, correct=[1] * 4, length_level=[0, 0, 2, 2])
    >>> LevelLength(limit=8000)(batch)[0]
    tensor([0.9250, 0.7750, 0.9875, 0.9625], dtype=torch.float64)
    """

    limit: float
    prices: tuple[float, ...] = (0.6, 0.3, 0.1)
    penalise_incorrect: bool = False
    requires = frozenset({LEVEL})
    in_tokens = ("limit",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prices", tuple(self.prices))  # a list, too, must compare and hash
        if not self.limit >= 1:
            raise ConfigError(f"level_length: limit is {self.limit}; give tokens, 1 or more")
        falling = all(b < a for a, b in zip(self.prices, self.prices[1:], strict=False))
        if not self.prices or not falling or not all(0 <= price <= 1 for price in self.prices):
            raise ConfigError(
                f"level_length: prices are {list(self.prices)}; give one for each level from 0 to 1, falling from the "
                "shortest level on"
            )

    def score(self, batch: RolloutBatch) -> RewardN:
        """The reward of each response."""
        level_N = batch.column(LEVEL)
        good_N = (level_N == level_N.round()) & (level_N >= 0) & (level_N < len(self.prices))
        last = len(self.prices) - 1
        check_values(LEVEL, good_N, level_N, f"give a level, a whole number from 0 to {last}, as many as prices")
        highest_N = group_max(level_N, batch.group)[batch.group]
        if not torch.equal(highest_N, level_N):
            row = int((highest_N != level_N).nonzero()[0])
            raise BatchError(
                f"column {LEVEL!r}, row {row}: {level_N[row].item():g}, but its group has {highest_N[row].item():g}, "
                "too; give each prompt one"
            )
        price_N = torch.tensor(self.prices, dtype=torch.float64, device=level_N.device)[level_N.long()]
        correct_N = torch.where(batch.truncated, 0.0, batch.correct)
        length_N = torch.where(batch.truncated, self.limit, batch.length)
        return level_length(length_N, correct_N, price_N, self.limit, self.penalise_incorrect)
