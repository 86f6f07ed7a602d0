"""DDCA: a length advantage among a group's right responses only, weighed by its pass rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_count, group_mean
from leanthink.core.reward import Reward, RewardN, Scope
from leanthink.rewards.sigmoid_length import standard_length

Baseline = Literal["mean", "leave_one_out"]


def conditional_length(
    length_N: Float[Tensor, " N"],
    right_N: Bool[Tensor, " N"],
    group_N: Int[Tensor, " N"],
    dynamic: bool = True,
    baseline: Baseline = "mean",
    eps: float = 1e-8,
) -> Float[Tensor, " N"]:
    """``-rho (s_i - mean s)`` over the group's right responses, ``s = sigmoid((l - mean) / std)``; 0 for wrong ones.

    ``rho`` is the group's share of right responses, or 1. Leaving one out multiplies by ``n / (n - 1)``.
    """
    s_N = torch.sigmoid(standard_length(length_N, right_N, group_N, eps, floor=eps))
    right_G = group_count(group_N, right_N)
    weight_G = right_G / group_count(group_N) if dynamic else torch.ones_like(right_G)
    if baseline == "leave_one_out":
        weight_G = weight_G * right_G / (right_G - 1).clamp(min=1)
    term_N = -weight_G[group_N] * (s_N - group_mean(s_N, group_N, right_N)[group_N])
    return torch.where(right_N & (right_G[group_N] > 1), term_N, torch.zeros_like(term_N))


@final
@dataclass(frozen=True, kw_only=True)
class ConditionalLength(Reward):
    """The length advantage of DDCA (arXiv 2602.02099): positive for the short among a group's right responses.

    ``-rho (s_i - mean s)`` with ``s = sigmoid((l - mean) / std)``, mean and population deviation over the right
    responses of the group, and ``rho`` its pass rate, so that hard prompts feel less pressure. Wrong responses have 0
    and take no part: they neither drag the baseline nor are touched. It sums to 0 in each group, and so is added to an
    advantage of correctness that does, too: ``sum: {correct: {group_normalize: {of: correct, ddof: 0, eps: 1.0e-8}},
    length: {scale: {by: 0.2, of: conditional_length}}}`` under ``no_baseline``. An advantage that divides by the
    deviation would couple the two again. Two right responses have +-0.231 rho, however far apart they are.

    The paper's text could not be read beyond its abstract: formula and constants are the released code's (DDCA at
    75382a3). Two public notes give the paper's formula with the baseline that leaves one out, which the code has beside
    RLOO; which of them the paper reports is not confirmed.

    A truncated response counts by its verdict.

    Args:
        dynamic: weigh by the pass rate (DDCA); without, DCA.
        baseline: "mean" over the right responses, or "leave_one_out": the mean of the others.
        eps: the least deviation, added to it once more.

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[500, 700, 900, 1100], correct=[0, 1, 1, 0])
    >>> ConditionalLength()(batch)[0]
    tensor([ 0.0000,  0.1155, -0.1155,  0.0000], dtype=torch.float64)
    """

    dynamic: bool = True
    baseline: Baseline = "mean"
    eps: float = 1e-8
    scope = Scope.GROUP
    is_term = True

    def __post_init__(self) -> None:
        if self.baseline not in ("mean", "leave_one_out"):
            raise ConfigError(f"conditional_length: baseline is {self.baseline!r}; give mean or leave_one_out")
        if self.eps <= 0:
            raise ConfigError(f"conditional_length: eps is {self.eps}; give a small positive number such as 1e-8")

    def score(self, batch: RolloutBatch) -> RewardN:
        """The length advantage of each response."""
        right_N = batch.correct == 1
        return conditional_length(batch.length, right_N, batch.group, self.dynamic, self.baseline, self.eps)
