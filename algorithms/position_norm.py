"""DECS's advantage: every position standardised over the group by itself. ``_N`` responses, ``_T`` tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch

from leanthink.algorithms.token_advantages import GroupN, MaskNT, RewardNT, TokenAdvantage
from leanthink.core.errors import ConfigError

Singleton = Literal["zero", "own"]


def token_values(reward_NT: RewardNT, mask_NT: MaskNT) -> RewardNT:
    """What each response is worth at each position: its total, and what is placed up to there.

    What falls on the last token is the outcome, less what was placed before it. Behind its end a response keeps its
    total.
    """
    reward_NT = torch.where(mask_NT, reward_NT.double(), 0.0)
    total_N1 = reward_NT.sum(-1, keepdim=True)
    last_N1 = mask_NT.cumsum(-1).argmax(-1, keepdim=True)  # argmax finds the first of equals: the last true
    steps_NT = reward_NT.scatter(-1, last_N1, 0.0).cumsum(-1)
    beyond_NT = torch.arange(reward_NT.shape[1], device=reward_NT.device) > last_N1
    return total_N1 + torch.where(beyond_NT, 0.0, steps_NT)


def position_norm(
    reward_NT: RewardNT, mask_NT: MaskNT, group_N: GroupN, eps: float = 1e-6, singleton: Singleton = "zero"
) -> RewardNT:
    """``(v - mean) / (std + eps)`` at each position over all responses of the group; the deviation is over ``n - 1``.

    A response without tokens takes no part. Where all values of a position are equal: 0.
    """
    advantage_NT = torch.zeros(reward_NT.shape, dtype=torch.float64, device=reward_NT.device)
    value_NT = token_values(reward_NT, mask_NT)
    written_N = mask_NT.any(-1)
    for code in torch.unique(group_N[written_N]).tolist():
        rows_M = ((group_N == code) & written_N).nonzero().squeeze(-1)
        value_MT = value_NT[rows_M]
        if len(rows_M) == 1:
            normed_MT = value_MT if singleton == "zero" else torch.zeros_like(value_MT)
        else:
            spread_T = value_MT.max(0).values - value_MT.min(0).values
            size_T = value_MT.abs().max(0).values.clamp(min=1.0)
            centred_MT = torch.where(spread_T > 1e-12 * size_T, value_MT - value_MT.mean(0), 0.0)
            normed_MT = centred_MT / (value_MT.std(0) + eps)
        advantage_NT[rows_M] = torch.where(mask_NT[rows_M], normed_MT, 0.0)
    return advantage_NT


@final
@dataclass(frozen=True, kw_only=True)
class PositionNorm(TokenAdvantage):
    """The advantage of DECS (arXiv 2509.25827, Eq. 10): each token position standardised over the group on its own.

    A response's value at a position is its total and what is placed on its tokens up to there (see
    `redundant_thinking`, whose steps sum to 0). One that has ended counts with its total: here padding takes part, by
    definition, and a response that ends early goes on pulling the mean of later positions up. The deviation of a
    position is small where only redundancy tells responses apart, so that the advantage is about 1 however small the
    difference.

    Args:
        eps: added to the deviation; 1e-6 in the released code, none in the paper.
        singleton: the baseline of a group of one: "zero" as in the released code, where its values are the advantage,
            or its "own", which leaves 0.

    >>> reward_NT = torch.tensor([[0.0, -0.5, 0.5, 1.0], [0.0, 0.0, 1.0, 0.0]])
    >>> mask_NT = torch.tensor([[True] * 4, [True, True, True, False]])
    >>> PositionNorm()(reward_NT, mask_NT, torch.tensor([0, 0]))
    tensor([[ 0.0000, -0.7071,  0.0000,  0.0000],
            [ 0.0000,  0.7071,  0.0000,  0.0000]], dtype=torch.float64)
    """

    eps: float = 1e-6
    singleton: Singleton = "zero"

    def __post_init__(self) -> None:
        if self.eps <= 0 or self.singleton not in ("zero", "own"):
            raise ConfigError(
                f"position_norm: eps is {self.eps} and singleton {self.singleton!r}; give eps a small positive number "
                "such as 1e-6, and singleton zero or own"
            )

    def __call__(self, reward_NT: RewardNT, mask_NT: MaskNT, group_N: GroupN) -> RewardNT:
        """The advantage (N, T) of each token."""
        return position_norm(reward_NT, mask_NT.bool(), group_N, self.eps, self.singleton)
