"""Response-level advantages from the rewards of a prompt group. ``_N`` responses.

The settings are frozen dataclasses, so that a recipe compares and prints; each calls the pure function beside it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from leanthink.errors import ConfigError
from leanthink.groups import group_count, group_mean, group_std, group_sum

RewardN = Float[Tensor, " N"]
GroupN = Int[Tensor, " N"]


class Advantage(ABC):
    """An advantage estimator: rewards and groups in, one advantage per response out."""

    @abstractmethod
    def __call__(self, reward_N: RewardN, group_N: GroupN) -> RewardN:
        """The advantage (N,) of each response; every token of the response gets it."""


def grpo_advantage(
    reward_N: RewardN, group_N: GroupN, scale: Literal["std", "none"] = "std", eps: float = 1e-6, ddof: int = 1
) -> RewardN:
    """``(r - mean) / (std + eps)`` within each group, or ``r - mean`` where ``scale`` is "none".

    A group of one response has nothing to compare with: 0. A group whose rewards are all equal: 0, exactly.
    """
    mean_N = group_mean(reward_N, group_N)[group_N]
    equal_N = group_std(reward_N, group_N)[group_N] <= 1e-12 * reward_N.abs().clamp(min=1.0)
    centred_N = torch.where(equal_N, torch.zeros_like(mean_N), reward_N - mean_N)
    if scale == "none":
        return centred_N
    std_N = group_std(reward_N, group_N, ddof=ddof).nan_to_num(nan=0.0)[group_N]
    return centred_N / (std_N + eps)


@final
@dataclass(frozen=True, kw_only=True)
class Grpo(Advantage):
    """Group-relative advantage of GRPO (DeepSeekMath, arXiv 2402.03300); ``scale: none`` is Dr. GRPO (2503.20783).

    Args:
        scale: "std" divides by the group's standard deviation, "none" does not.
        eps: added to the standard deviation.
        ddof: the standard deviation divides by ``count - ddof``; 1 as in verl.

    A group of one gets 0; verl's own estimator gives it its reward.

    >>> Grpo()(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0, 0, 1]))
    tensor([ 0.7071, -0.7071,  0.0000], dtype=torch.float64)
    """

    scale: Literal["std", "none"] = "std"
    eps: float = 1e-6
    ddof: int = 1

    def __post_init__(self) -> None:
        if self.eps < 0:
            raise ConfigError(f"grpo: eps is {self.eps}; give 0 or more")

    def __call__(self, reward_N: RewardN, group_N: GroupN) -> RewardN:
        return grpo_advantage(reward_N.double(), group_N, self.scale, self.eps, self.ddof)


def rloo_advantage(reward_N: RewardN, group_N: GroupN) -> RewardN:
    """``r_i`` minus the mean of the other rewards of the group; 0 for a group of one."""
    count_N = group_count(group_N)[group_N]
    others_N = (group_sum(reward_N, group_N)[group_N] - reward_N) / (count_N - 1).clamp(min=1)
    return torch.where(count_N > 1, reward_N - others_N, torch.zeros_like(others_N))


@final
@dataclass(frozen=True, kw_only=True)
class Rloo(Advantage):
    """Leave-one-out advantage (RLOO, arXiv 2402.14740): ``A_i = r_i - mean of the other rewards of the group``.

    A group of one gets 0: there is no other response to compare with.

    >>> Rloo()(torch.tensor([0.0, 0.95, 0.0, 0.0]), torch.tensor([0, 0, 0, 0]))
    tensor([-0.3167,  0.9500, -0.3167, -0.3167], dtype=torch.float64)
    """

    def __call__(self, reward_N: RewardN, group_N: GroupN) -> RewardN:
        return rloo_advantage(reward_N.double(), group_N)
