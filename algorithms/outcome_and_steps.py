"""LC-R1's advantage: the outcome against the group's mean, and what falls on single tokens where it falls.

``_N`` responses, ``_T`` tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch

from leanthink.algorithms.advantages import grpo_advantage
from leanthink.algorithms.token_advantages import GroupN, MaskNT, RewardNT, TokenAdvantage
from leanthink.core.errors import ConfigError


def outcome_and_steps(
    reward_NT: RewardNT,
    mask_NT: MaskNT,
    group_N: GroupN,
    scale: Literal["std", "none"] = "none",
    eps: float = 1e-6,
) -> RewardNT:
    """``A_it = o_i - mean of o in the group + s_it``: ``o`` is on a response's last token, ``s`` on those before it.

    Divided by the group's standard deviation plus ``eps``, the first two alone, where ``scale`` is "std".
    """
    reward_NT = torch.where(mask_NT, reward_NT.double(), 0.0)
    advantage_NT = torch.zeros_like(reward_NT)
    rows_M = mask_NT.any(-1).nonzero().squeeze(-1)
    if not len(rows_M):
        return advantage_NT
    last_M1 = (mask_NT[rows_M].cumsum(-1).argmax(-1))[:, None]  # argmax finds the first of equals: the last true
    outcome_M = reward_NT[rows_M].gather(-1, last_M1).squeeze(-1)
    codes_M = torch.unique(group_N[rows_M], return_inverse=True)[1]
    steps_MT = reward_NT[rows_M].scatter(-1, last_M1, 0.0)
    whole_M = grpo_advantage(outcome_M, codes_M, scale, eps)
    advantage_NT[rows_M] = torch.where(mask_NT[rows_M], whole_M[:, None] + steps_MT, 0.0)
    return advantage_NT


@final
@dataclass(frozen=True, kw_only=True)
class OutcomeAndSteps(TokenAdvantage):
    """The advantage of LC-R1 (Optimizing Length Compression, arXiv 2506.14755, Sec. 3): nothing is passed back in time.

    The reward on a response's last token is its outcome; less the group's mean it stands on all of the response's
    tokens. What falls on an earlier token is added to that token's advantage alone, uncentred. A group of one has no
    outcome to compare with: 0. What a reward places on the very last token counts as outcome.

    Args:
        scale: "none" as in the paper, or "std", which divides the outcome's part by the group's standard deviation.
        eps: added to the standard deviation.

    >>> reward_NT, mask_NT = torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.0, 0.0]]), torch.ones(2, 3, dtype=torch.bool)
    >>> OutcomeAndSteps()(reward_NT, mask_NT, torch.tensor([0, 0]))
    tensor([[ 0.5000,  1.0000,  0.5000],
            [-0.5000, -0.5000, -0.5000]], dtype=torch.float64)
    """

    scale: Literal["std", "none"] = "none"
    eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.scale not in ("std", "none") or self.eps < 0:
            raise ConfigError(
                f"outcome_and_steps: scale is {self.scale!r} and eps {self.eps}; give std or none, and 0 or more"
            )

    def __call__(self, reward_NT: RewardNT, mask_NT: MaskNT, group_N: GroupN) -> RewardNT:
        """The advantage (N, T) of each token."""
        return outcome_and_steps(reward_NT, mask_NT.bool(), group_N, self.scale, self.eps)
