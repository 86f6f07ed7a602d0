"""TRLE: a correct answer loses value with its length relative to the group's correct answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_mean, group_std
from leanthink.core.reward import Reward, RewardN, Scope
from leanthink.core.schedules import Number, at, bounds


def standard_length(
    length_N: Float[Tensor, " N"],
    right_N: Bool[Tensor, " N"],
    group_N: Int[Tensor, " N"],
    eps: float,
    ddof: int = 0,
    floor: float = 0.0,
) -> Float[Tensor, " N"]:
    """``(len - mean) / (max(std, floor) + eps)``, mean and deviation over the group's right responses.

    A group with one right response has deviation 0; where none is right, NaN.
    """
    mean_N = group_mean(length_N, group_N, right_N)[group_N]
    std_N = group_std(length_N, group_N, right_N, ddof=ddof).nan_to_num(nan=0.0)[group_N]
    return (length_N - mean_N) / (std_N.clamp(min=floor) + eps)


def sigmoid_length(
    length_N: Float[Tensor, " N"],
    correct_N: Bool[Tensor, " N"],
    group_N: Int[Tensor, " N"],
    alpha: float,
    eps: float = 1e-7,
    ddof: int = 0,
) -> Float[Tensor, " N"]:
    """``c_i (1 - alpha sigmoid(z_i))`` with ``z_i = (len_i - mean) / (std + eps)`` over the group's correct responses.

    A group with one correct response has std 0, hence ``1 - alpha / 2``.
    """
    z_N = standard_length(length_N, correct_N, group_N, eps, ddof)
    return torch.where(correct_N, 1 - alpha * torch.sigmoid(z_N), torch.zeros_like(length_N))


@final
@dataclass(frozen=True, kw_only=True)
class SigmoidLength(Reward):
    """Correctness times a discount that grows with standardised length: ``c (1 - alpha sigmoid(z))``.

    Training Language Models to Reason Efficiently (arXiv 2502.04463); the group statistics are those of its
    correct responses. Correct responses earn between ``1 - alpha`` and 1, wrong ones 0. With a std-normalised
    advantage an all-correct group gives the same advantages for every ``alpha``: use ``rloo``, as the paper does, or
    ``grpo`` with ``scale: none``.

    Args:
        alpha: strength in [0, 1); the paper uses 0.05, 0.1, 0.2 and 0.4.
        eps: added to the standard deviation (tokens).
        ddof: the standard deviation divides by ``count - ddof``; the paper's code uses 0.
        check_eos: count a truncated response as wrong, as the paper's code does.

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[800, 1200, 1600, 2400], correct=[1, 1, 1, 1])
    >>> SigmoidLength(alpha=0.1)(batch)[0]
    tensor([0.9766, 0.9624, 0.9458, 0.9179], dtype=torch.float64)
    """

    alpha: Number
    eps: float = 1e-7
    ddof: int = 0
    check_eos: bool = True
    scope = Scope.GROUP

    def __post_init__(self) -> None:
        low, high = bounds(self.alpha)
        if low < 0 or high >= 1:
            raise ConfigError(
                f"sigmoid_length: alpha is {self.alpha}; give 0 or more and less than 1, "
                "so that a correct response never earns less than a wrong one"
            )
        if self.eps <= 0 or self.ddof not in (0, 1):
            raise ConfigError(
                f"sigmoid_length: eps is {self.eps} and ddof {self.ddof}; "
                "give eps a small positive number such as 1e-7, and ddof 0 or 1"
            )

    def score(self, batch: RolloutBatch) -> RewardN:
        """The discounted correctness of each response."""
        correct_N = batch.correct == 1
        if self.check_eos:
            correct_N = correct_N & ~batch.truncated
        alpha = at(self.alpha, batch.step)
        return sigmoid_length(batch.length, correct_N, batch.group, alpha, self.eps, self.ddof)
