"""GFPO: of a large group, only the k best by a metric are trained on. ``_N`` responses, ``_M`` of them kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.algorithms.advantages import Advantage, GroupN, Grpo, LengthN, RewardN, as_tensors
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.groups import group_min

Metric = Literal["shortest", "token_efficiency"]

POPULATION: Final = Grpo(ddof=0, eps=1e-8)


def top_k(score_N: Float[Tensor, " N"], group_N: Int[Tensor, " N"], k: int | Int[Tensor, " N"]) -> Bool[Tensor, " N"]:
    """Which responses have one of the ``k`` highest scores of their group; of equals, those that come first.

    ``k`` is one number, or that of each response's group.
    """
    best_N = torch.argsort(score_N, descending=True, stable=True)
    order_N = best_N[torch.argsort(group_N[best_N], stable=True)]
    sorted_N = group_N[order_N]
    place_N = torch.arange(len(order_N), device=order_N.device)
    rank_N = place_N - torch.searchsorted(sorted_N, sorted_N)
    kept_N = torch.zeros_like(group_N, dtype=torch.bool)
    kept_N[order_N] = rank_N < (k[order_N] if isinstance(k, Tensor) else k)
    return kept_N


def metric_score(
    reward_N: Float[Tensor, " N"],
    length_N: Float[Tensor, " N"],
    group_N: Int[Tensor, " N"],
    metric: Metric,
    shift_negative: bool = False,
) -> Float[Tensor, " N"]:
    """``-L`` or ``R / L``, the more the better; with ``shift_negative``, ``R`` less its group's minimum below 0."""
    if metric == "shortest":
        return -length_N
    if shift_negative:
        reward_N = reward_N - group_min(reward_N, group_N).clamp(max=0.0)[group_N]
    return reward_N / length_N.clamp(min=1.0)


def kept_by(
    name: str,
    reward_N: RewardN,
    group_N: GroupN,
    length_N: LengthN | None,
    k: int | Int[Tensor, " N"],
    metric: Metric,
    shift_negative: bool,
) -> Bool[Tensor, " N"]:
    """Which responses a filter keeps: the ``k`` best of each group by ``metric``, none without a trained token.

    Raises:
        BatchError: there are no lengths to rank by.
    """
    if length_N is None:
        raise BatchError(f"{name}: it ranks by length, and no lengths are given; pass length_N")
    length_N = length_N.double()
    score_N = metric_score(reward_N.double(), length_N, group_N, metric, shift_negative)
    trained_N = length_N > 0
    return trained_N & top_k(torch.where(trained_N, score_N, -torch.inf), group_N, k)


def advantage_of_kept(
    of: Advantage, reward_N: RewardN, group_N: GroupN, length_N: LengthN | None, kept_N: Bool[Tensor, " N"]
) -> RewardN:
    """The advantage (N,) as if each group had only those that are kept; 0 for the others."""
    advantage_N = torch.zeros_like(reward_N, dtype=torch.float64)
    if bool(kept_N.any()):
        codes_M = torch.unique(group_N[kept_N], return_inverse=True)[1]
        length_M = None if length_N is None else length_N.double()[kept_N]
        advantage_N[kept_N] = of(reward_N.double()[kept_N], codes_M, length_M)
    return advantage_N


def check_filter(name: str, metric: str, of: Advantage) -> None:
    """Refuse settings that no filter can have.

    Raises:
        ConfigError: naming the part, what was given and what is allowed.
    """
    if metric not in get_args(Metric):
        raise ConfigError(f"{name}: metric is {metric!r}; give {' or '.join(get_args(Metric))}")
    if of.reads_correct or of.reads_order:
        raise ConfigError(
            f"{name}: of is {of}, which would reach beyond what is kept; give an advantage without boost and without a "
            "filter of its own, such as grpo"
        )


@final
@dataclass(frozen=True, kw_only=True)
class FilterTopK(Advantage):
    """Group filtered policy optimisation (GFPO: Sample More to Think Less, arXiv 2508.09726, Sec. 3, Eq. 2).

    Of each group the ``k`` best by ``metric`` are kept: their advantage is that of ``of``, computed as if the group had
    no others; the advantage of all others is 0. Their tokens still count in the loss's denominator, as in the paper,
    and KL and entropy terms still see them. A group of ``k`` or fewer is kept whole. Of equals, those that come first
    in the batch are kept. A response of no trained token is never kept.

    With "shortest" and rewards of 0 and 1 the kept may all be wrong: no signal. With "token_efficiency" a negative
    reward is the better the longer the response, as the formula has it, unless ``shift_negative``. The paper's third
    variant, ``k`` by difficulty, is :class:`AdaptiveTopK`.

    Args:
        k: responses kept of each group.
        metric: "shortest" keeps the smallest lengths, "token_efficiency" the largest rewards per token.
        of: the advantage within what is kept; the paper's standard deviation is the population's, its epsilon not
            stated.
        shift_negative: rank by rewards less the group's minimum where that is negative (not in the paper).

    >>> reward_N = torch.tensor([1.0, 0, 1, 1, 0, 1, 1, 0])
    >>> length_N = torch.tensor([300.0, 100, 900, 500, 400, 200, 800, 1000])
    >>> FilterTopK(k=4)(reward_N, torch.zeros(8, dtype=torch.int64), length_N)
    tensor([ 1.0000, -1.0000,  0.0000,  0.0000, -1.0000,  1.0000,  0.0000,  0.0000],
           dtype=torch.float64)
    """

    k: int
    metric: Metric = "shortest"
    of: Advantage = POPULATION
    shift_negative: bool = False
    reads_order = True

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ConfigError(f"filter_top_k: k is {self.k}; a kept set of one has nothing to compare: give 2 or more")
        check_filter("filter_top_k", self.metric, self.of)

    @property
    def batch_wide(self) -> bool:
        """Where that of the kept is."""
        return self.of.batch_wide

    def __call__(self, reward_N: RewardN, group_N: GroupN, length_N: LengthN | None = None) -> RewardN:
        """The advantage (N,) of each response; 0 for those that are not kept.

        Raises:
            BatchError: there are no lengths to rank by.
        """
        reward_N, group_N, length_N = as_tensors(reward_N, group_N, length_N)
        kept_N = kept_by("filter_top_k", reward_N, group_N, length_N, self.k, self.metric, self.shift_negative)
        return advantage_of_kept(self.of, reward_N, group_N, length_N, kept_N)
