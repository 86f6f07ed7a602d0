"""GRPO-λ: only the best-solved groups of a batch get the length-penalised reward. ``_N`` responses, ``_G`` groups."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_mean
from leanthink.core.reward import Composite, Part, Reward, RewardN, Scope
from leanthink.core.schedules import Number, at, bounds
from leanthink.rewards.combinators import PassRateAtLeast, Switch

Rounding: TypeAlias = Literal["floor", "ceil"]
Ties: TypeAlias = Literal["first", "random", "all"]


def top_count(groups: int, top_fraction: float, rounding: Rounding = "floor", min_groups: int = 0) -> int:
    """How many of a batch's groups are its top fraction: ``top_fraction * groups``, rounded.

    >>> top_count(128, 0.2), top_count(128, 0.2, rounding="ceil"), top_count(4, 0.2), top_count(4, 0.2, min_groups=1)
    (25, 26, 0, 1)
    """
    product = top_fraction * groups
    # 0.29 * 100 is a little less than 29.
    count = math.floor(product + 1e-9) if rounding == "floor" else math.ceil(product - 1e-9)
    return min(max(count, min_groups), groups)


def top_groups(
    pass_rate_G: Float[Tensor, " G"], count: int, ties: Ties = "first", seed: str = "0"
) -> Bool[Tensor, " G"]:
    """Whether each group is among the ``count`` of the highest pass rate.

    Among equal pass rates the earlier group wins ("first") or a drawn one ("random"); with "all", every group that ties
    with the last one chosen is chosen, too.

    >>> top_groups(torch.tensor([1.0, 0.5, 0.0, 0.5]), 2)
    tensor([ True,  True, False, False])
    >>> top_groups(torch.tensor([1.0, 0.5, 0.0, 0.5]), 2, ties="all")
    tensor([ True,  True, False,  True])
    """
    if count and ties == "all":
        return pass_rate_G >= pass_rate_G.sort(descending=True).values[count - 1]
    groups = len(pass_rate_G)
    order = random.Random(seed).sample(range(groups), groups) if ties == "random" else list(range(groups))
    order_G = torch.tensor(order, dtype=torch.int64, device=pass_rate_G.device)
    ranked_G = order_G[pass_rate_G[order_G].argsort(descending=True, stable=True)]
    chosen_G = torch.zeros_like(pass_rate_G, dtype=torch.bool)
    chosen_G[ranked_G[:count]] = True
    return chosen_G


@final
@dataclass(frozen=True, kw_only=True)
class TopPassRate(Reward):
    """1 for the responses of the batch's best-solved groups, else 0: a selector, as ``pass_rate_at_least`` is.

    Its arguments are those of :class:`LambdaSwitch`.

    >>> batch = RolloutBatch.of(group=[0, 0, 1, 1], length=[9, 9, 5, 9], correct=[1, 0, 1, 1])
    >>> TopPassRate(top_fraction=0.5)(batch)[0]
    tensor([0., 0., 1., 1.], dtype=torch.float64)
    """

    top_fraction: Number = 0.2
    rounding: Rounding = "floor"
    ties: Ties = "first"
    seed: int = 0
    min_groups: int = 0
    scope = Scope.BATCH
    is_term = True

    def __post_init__(self) -> None:
        low, high = bounds(self.top_fraction)
        if low < 0 or high > 1:
            raise ConfigError(f"top_fraction is {self.top_fraction}; give a share of the batch's groups, from 0 to 1")
        if self.rounding not in ("floor", "ceil") or self.ties not in ("first", "random", "all"):
            raise ConfigError(
                f"rounding is {self.rounding!r} and ties {self.ties!r}; give rounding floor or ceil, and ties first, "
                "random or all"
            )
        if self.min_groups < 0:
            raise ConfigError(f"min_groups is {self.min_groups}; give 0 or more")

    @property
    def reads_order(self) -> bool:
        """Unless every group that ties is chosen."""
        return self.ties != "all"

    def score(self, batch: RolloutBatch) -> RewardN:
        """The indicator of the chosen groups."""
        pass_rate_G = group_mean(batch.correct, batch.group)
        count = top_count(len(pass_rate_G), at(self.top_fraction, batch.step), self.rounding, self.min_groups)
        return top_groups(pass_rate_G, count, self.ties, f"{self.seed}/{batch.step}")[batch.group].double()


@final
@dataclass(frozen=True, kw_only=True)
class LambdaSwitch(Composite):
    """The batch-wise switch of GRPO-λ: ``shaped`` for the batch's best-solved groups, ``plain`` for all others.

    Stable Reinforcement Learning for Efficient Reasoning (arXiv 2505.18086, Sec. 3, Eqs. 1-2): the B groups of the
    batch are ranked by pass rate, and the first ``floor(top_fraction * B)`` are shaped. There, ``shaped`` is
    ``sigmoid_length`` with alpha 0.2 and ``plain`` is ``correct``. The batch is that of one training step, all workers'
    groups together. Rounding and ties are not in the paper. No correct response in a chosen group changes nothing by
    itself: the two rewards decide. The ranking goes by raw correctness: a right answer before a cut counts, though
    ``sigmoid_length`` pays it nothing.

    Args:
        shaped: the reward of the chosen groups.
        plain: the reward of the others.
        mode: "top_fraction" ranks the batch, as the paper does; "threshold" chooses each group whose pass rate is at
            least ``threshold``, as the paper's introduction suggests.
        top_fraction: the paper's λ.
        threshold: for that mode only; no source gives a value.
        rounding: of ``top_fraction * B``: "floor" or "ceil".
        ties: groups of equal pass rate at the cut: the "first" ones to appear in the batch, "random" ones, drawn anew
            each step, or "all" of them.
        seed: of "random".
        min_groups: choose at least so many groups.

    >>> from leanthink.rewards import Correct, SigmoidLength
    >>> reward = LambdaSwitch(top_fraction=0.5, shaped=SigmoidLength(alpha=0.2), plain=Correct())
    >>> reward(RolloutBatch.of(group=[0, 0, 1, 1], length=[9, 9, 5, 9], correct=[1, 0, 1, 1]))[0]
    tensor([1.0000, 0.0000, 0.9462, 0.8538], dtype=torch.float64)
    """

    shaped: Reward
    plain: Reward
    mode: Literal["top_fraction", "threshold"] = "top_fraction"
    top_fraction: Number = 0.2
    threshold: Number | None = None
    rounding: Rounding = "floor"
    ties: Ties = "first"
    seed: int = 0
    min_groups: int = 0
    carries = frozenset({"shaped", "plain"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in ("top_fraction", "threshold"):
            raise ConfigError(f"lambda_switch: mode is {self.mode!r}; give top_fraction or threshold")
        if (self.mode == "threshold") != (self.threshold is not None):
            raise ConfigError(
                f"lambda_switch: mode is {self.mode} and threshold {self.threshold}; "
                "give a threshold with mode threshold, and only there"
            )
        ranking = self._ranking()
        if self.threshold is None:
            return
        if ranking != TopPassRate():
            raise ConfigError(
                f"lambda_switch: mode threshold ranks nothing and would ignore an argument of {ranking}; "
                "leave it at its default, or choose mode top_fraction"
            )
        low, high = bounds(self.threshold)
        if low < 0 or high > 1:
            raise ConfigError(f"lambda_switch: threshold is {self.threshold}; give a pass rate, from 0 to 1")

    def _ranking(self) -> TopPassRate:
        return TopPassRate(
            top_fraction=self.top_fraction,
            rounding=self.rounding,
            ties=self.ties,
            seed=self.seed,
            min_groups=self.min_groups,
        )

    @property
    def switch(self) -> Switch:
        """The ``switch`` that this is, with its selector spelled out."""
        select = self._ranking() if self.threshold is None else PassRateAtLeast(threshold=self.threshold)
        return Switch(select=select, shaped=self.shaped, plain=self.plain)

    def children(self) -> Mapping[str, Reward]:
        """Selector and branches: the mean of part ``select`` is the share of responses that are shaped."""
        return self.switch.children()

    @property
    def scope(self) -> Scope:
        """The whole batch, if it is ranked."""
        return self.switch.scope

    @property
    def is_term(self) -> bool:
        """Decided by the two branches."""
        return self.switch.is_term

    def weight(self, name: str, batch: RolloutBatch, value: Mapping[str, RewardN]) -> RewardN:
        """1 in the groups of the branch, else 0."""
        return self.switch.weight(name, batch, value)

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """One branch per group."""
        return self.switch.combine(batch, part)
