"""Advantages by token, for rewards that fall on single tokens. ``_N`` responses, ``_T`` tokens.

Where an estimator reads a critic's values, verl's own runs, and only its settings are kept here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.algorithms.advantages import Advantage
from leanthink.core.errors import ConfigError

RewardNT = Float[Tensor, "N T"]
MaskNT = Bool[Tensor, "N T"]
GroupN = Int[Tensor, " N"]


class TokenAdvantage(ABC):
    """An advantage estimator by token: rewards and mask by token, and groups in, one advantage per token out."""

    @abstractmethod
    def __call__(self, reward_NT: RewardNT, mask_NT: MaskNT, group_N: GroupN) -> RewardNT:
        """The advantage (N, T) of each token in float64; 0 where the mask is 0, which takes part in no statistics."""


class VerlAdvantage(ABC):
    """The settings of an estimator of verl's own that reads more than rewards; nothing is computed here.

    Attributes:
        estimator: what ``algorithm.adv_estimator`` is set to.
        reads_critic: whether verl has to train a critic beside the policy.
    """

    estimator: ClassVar[str]
    reads_critic: ClassVar[bool]


AnyAdvantage: TypeAlias = Advantage | TokenAdvantage | VerlAdvantage


def reinforce_pp_advantage(reward_NT: RewardNT, mask_NT: MaskNT, gamma: float = 1.0, eps: float = 1e-8) -> RewardNT:
    """``(G - mean) / sqrt(var + eps)`` with returns ``G_t = r_t + gamma G_{t+1}``, over all valid tokens of the batch.

    The variance divides by the number of tokens less one. Where all returns are equal, or there is one token only: 0.
    A masked token inside a response is passed over: the return goes on before it.
    """
    reward_NT = reward_NT.double()
    return_NT = torch.zeros_like(reward_NT)
    running_N = reward_NT.new_zeros(len(reward_NT))
    for t in reversed(range(reward_NT.shape[1])):
        running_N = torch.where(mask_NT[:, t], reward_NT[:, t] + gamma * running_N, running_N)
        return_NT[:, t] = running_N
    return_M = return_NT[mask_NT]
    advantage_NT = torch.zeros_like(reward_NT)
    if len(return_M) > 1 and return_M.max() - return_M.min() > 1e-12 * return_M.abs().max().clamp(min=1.0):
        advantage_NT[mask_NT] = (return_M - return_M.mean()) * torch.rsqrt(return_M.var() + eps)
    return advantage_NT


@final
@dataclass(frozen=True, kw_only=True)
class ReinforcePp(TokenAdvantage):
    """REINFORCE++ (arXiv 2501.03262): the return from each token on, whitened over all tokens of the batch; no critic.

    verl's ``reinforce_plus_plus`` in float64; where that fails on a batch of one valid token or none, this gives 0.

    Args:
        gamma: discount of the return by token, in (0, 1]; VSRM's code uses 1.
        eps: added to the variance; verl uses 1e-8.

    >>> reward_NT = torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.0, 0.0]])
    >>> mask_NT = torch.tensor([[True, True, True], [True, True, False]])
    >>> ReinforcePp()(reward_NT, mask_NT, torch.tensor([0, 1]))
    tensor([[ 0.9231,  0.9231,  0.2638],
            [-1.0550, -1.0550,  0.0000]], dtype=torch.float64)
    """

    gamma: float = 1.0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1 or self.eps <= 0:
            raise ConfigError(
                f"reinforce_pp: gamma is {self.gamma} and eps {self.eps}; give a gamma above 0 and up to 1, and eps a "
                "small positive number such as 1e-8"
            )

    def __call__(self, reward_NT: RewardNT, mask_NT: MaskNT, group_N: GroupN) -> RewardNT:
        """The advantage (N, T) of each token; groups play no part."""
        return reinforce_pp_advantage(reward_NT, mask_NT.bool(), self.gamma, self.eps)


@final
@dataclass(frozen=True, kw_only=True)
class Gae(VerlAdvantage):
    """Generalised advantage estimation with a critic (arXiv 1506.02438), whitened over all tokens: PPO. verl's own.

    The critic's own settings are verl's keys under ``critic``.

    Args:
        gamma: discount by token, in (0, 1]; VSRM's code uses 1.
        lam: GAE's lambda, in [0, 1]; VSRM's code uses 1.

    >>> Gae(lam=0.95)
    Gae(gamma=1.0, lam=0.95)
    """

    gamma: float = 1.0
    lam: float = 1.0
    estimator = "gae"
    reads_critic = True

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1 or not 0 <= self.lam <= 1:
            raise ConfigError(
                f"gae: gamma is {self.gamma} and lam {self.lam}; give a gamma above 0 and up to 1, and lam from 0 to 1"
            )
