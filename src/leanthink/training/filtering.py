"""Which groups a filter keeps, as DAPO's dynamic sampling does: by raw correctness, never by shaped reward."""

from __future__ import annotations

from typing import Final, Literal, get_args

from jaxtyping import Bool, Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.groups import group_count, group_max, group_mean, group_min

Metric = Literal["acc", "acc_then_reward"]

ACC_THEN_REWARD: Final = "acc_then_reward"
"""Raw correctness, but all-correct groups stay that the reward tells apart."""

NO_SPREAD: Final = 1e-6
"""Rewards of a group that differ by no more are equal but for rounding."""


def kept_groups(
    batch: RolloutBatch, metric: Metric = "acc", reward_N: Float[Tensor, " N"] | None = None
) -> Bool[Tensor, " N"]:
    """Whether the group of each response is kept: one that is neither all right nor all wrong, or has one response.

    DAPO's dynamic sampling (arXiv 2503.14476, Sec. 3.2), as verl has it. Select with it: ``batch.select(kept)``.

    Args:
        batch: whole groups.
        metric: "acc", or "acc_then_reward", which keeps an all-right group whose rewards differ by more than 1e-6.
        reward_N: (N,) the shaped rewards, which "acc_then_reward" needs.

    Raises:
        ConfigError: another metric.
        BatchError: "acc_then_reward" without the rewards.

    >>> batch = RolloutBatch.of(group=[0, 0, 1, 1, 2, 2], length=[9, 8, 7, 6, 5, 4], correct=[1, 0, 1, 1, 0, 0])
    >>> kept_groups(batch)
    tensor([ True,  True, False, False, False, False])
    """
    if metric not in get_args(Metric):
        raise ConfigError(f"metric is {metric!r}; give {' or '.join(get_args(Metric))}")
    rate_G = group_mean(batch.correct, batch.group)
    kept_G = ((rate_G > 0) & (rate_G < 1)) | (group_count(batch.group) == 1)
    if metric == ACC_THEN_REWARD:
        if reward_N is None:
            raise BatchError(f"metric {metric} looks at shaped rewards, and none are given; pass reward_N")
        kept_G |= (rate_G == 1) & told_apart(reward_N, batch)
    return kept_G[batch.group]


def told_apart(reward_N: Float[Tensor, " N"], batch: RolloutBatch) -> Bool[Tensor, " G"]:
    """Whether rewards differ within each group by more than rounding."""
    return group_max(reward_N, batch.group) - group_min(reward_N, batch.group) > NO_SPREAD
