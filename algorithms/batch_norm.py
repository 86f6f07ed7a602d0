"""DLER: the group's mean is the baseline, the whole batch gives the scale. ``_N`` responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from leanthink.algorithms.advantages import Advantage, CorrectN, GroupN, LengthN, RewardN, as_tensors
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.groups import group_centred, group_count

Level = Literal["token", "response"]
Floor = Literal["add", "clamp"]
Divisor = Literal["variance", "deviation", "clamp"]
Singleton = Literal["zero", "own"]
Baseline = Literal["group", "none"]


def group_baseline_removed(
    reward_N: Float[Tensor, " N"], group_N: Int[Tensor, " N"], singleton: Singleton = "zero"
) -> Float[Tensor, " N"]:
    """``r`` minus the mean of its group; a group of one has the baseline 0, or its ``own`` reward."""
    centred_N = group_centred(reward_N, group_N)
    if singleton == "own":
        return centred_N
    return torch.where((group_count(group_N) == 1)[group_N], reward_N.double(), centred_N)


def batch_norm(
    values_N: Float[Tensor, " N"],
    weight_N: Float[Tensor, " N"],
    ddof: int = 1,
    eps: float = 1e-8,
    floor: Divisor = "variance",
) -> Float[Tensor, " N"]:
    """``(a - mean) / sqrt(var + eps)``, mean and variance weighted: ``var = Σ w (a - mean)² / (Σ w - ddof)``.

    ``floor`` says where ``eps`` keeps the divisor from 0: ``sqrt(var + eps)``, ``sqrt(var) + eps`` or
    ``sqrt(max(var, eps))``. Weights that sum to ``ddof`` or less leave no variance: 0.
    """
    total = weight_N.sum()
    mean = (weight_N * values_N).sum() / total.clamp(min=1.0)
    variance = (weight_N * (values_N - mean).square()).sum() / (total - ddof).clamp(min=1.0)
    divisor = {
        "variance": (variance + eps).sqrt(),
        "deviation": variance.sqrt() + eps,
        "clamp": variance.clamp(min=eps).sqrt(),
    }[floor]
    return torch.where(total > ddof, (values_N - mean) / divisor, torch.zeros_like(values_N))


@final
@dataclass(frozen=True, kw_only=True)
class BatchNorm(Advantage):
    """Batch-wise normalised advantage of DLER (Doing Length pEnalty Right, arXiv 2510.15110, Eq. 3).

    ``a = r - mean of the group``, then ``A = (a - mean) / std`` with mean and deviation over the whole batch, as
    verl's ``reinforce_plus_plus_baseline`` has it. A group whose rewards are all equal has ``a = 0``, but gets the
    batch's shift ``-mean / std``, and a group's advantages do not sum to 0.

    Args:
        level: whether the batch's statistics are over tokens, where long responses weigh more (the released code), or
            over responses; Eq. 3 does not say.
        ddof: the variance divides by ``count - ddof``; 1 as in verl, 0 as in NeMo-RL.
        eps: keeps the divisor from 0.
        floor: "add" adds ``eps`` to the variance (level "token") or to the deviation (level "response"); "clamp" raises
            the variance to ``eps``, as NeMo-RL does.
        singleton: the baseline of a group of one response: "zero" as in verl, or its "own" reward as in NeMo-RL.
        baseline: what is taken off each reward before: the mean of its "group", or "none", for rewards that are centred
            by group already (as GDPO's, arXiv 2601.05242) and for whitening alone.
        boost: added to the advantage of every correct response, truncated or not, after all else; 0 in the paper, 0.1
            in one of the released scripts.

    A batch of one token (or of one response, by level) has no variance: 0, where verl raises.

    >>> reward_N, group_N = torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([0, 0, 0, 0])
    >>> BatchNorm()(reward_N, group_N, torch.tensor([900.0, 2500.0, 4000.0, 3000.0]))
    tensor([ 1.4348,  1.4348, -0.6969, -0.6969], dtype=torch.float64)
    >>> BatchNorm(level="response")(reward_N, group_N)
    tensor([ 0.8660,  0.8660, -0.8660, -0.8660], dtype=torch.float64)
    """

    level: Level = "token"
    ddof: int = 1
    eps: float = 1e-8
    floor: Floor = "add"
    singleton: Singleton = "zero"
    boost: float = 0.0
    baseline: Baseline = "group"
    batch_wide = True

    def __post_init__(self) -> None:
        for name, allowed in (("level", Level), ("floor", Floor), ("singleton", Singleton), ("baseline", Baseline)):
            given, options = getattr(self, name), get_args(allowed)
            if given not in options:
                raise ConfigError(f"batch_norm: {name} is {given!r}; give {' or '.join(options)}")
        if self.eps <= 0 or self.ddof not in (0, 1):
            raise ConfigError(
                f"batch_norm: eps is {self.eps} and ddof {self.ddof}; "
                "give eps a small positive number such as 1e-8, and ddof 0 or 1"
            )
        if self.boost < 0:
            raise ConfigError(f"batch_norm: boost is {self.boost}; it favours correct responses: give 0 or more")

    @property
    def reads_correct(self) -> bool:
        """Where there is a boost."""
        return self.boost != 0

    def __call__(self, reward_N: RewardN, group_N: GroupN, length_N: LengthN | None = None) -> RewardN:
        """The advantage (N,) of each response.

        Raises:
            BatchError: the statistics are by token, and there are no lengths.
        """
        reward_N, group_N, length_N = as_tensors(reward_N, group_N, length_N)
        values_N = reward_N
        if self.baseline == "group":
            values_N = group_baseline_removed(reward_N, group_N, self.singleton)
        weight_N = torch.ones_like(values_N)
        if self.level == "token":
            if length_N is None:
                raise BatchError(
                    "batch_norm: its statistics are over tokens, and no lengths are given; pass length_N, or set level "
                    "to response"
                )
            weight_N = length_N
        floor: Divisor = "clamp" if self.floor == "clamp" else "variance" if self.level == "token" else "deviation"
        return batch_norm(values_N, weight_N, self.ddof, self.eps, floor)

    def lifted(self, advantage_N: RewardN, correct_N: CorrectN, group_N: GroupN) -> RewardN:
        """The advantage, ``boost`` higher where the response is correct."""
        return advantage_N + self.boost * correct_N.to(advantage_N)
