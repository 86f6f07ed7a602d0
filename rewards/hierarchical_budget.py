"""HBPO: a group split over budgets that its responses begin by naming; small budgets earn more, if they are kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, final, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_centred, group_mean
from leanthink.core.reward import Composite, Part, Reward, RewardN, Scope
from leanthink.rewards.budget import BUDGET, budgets_of
from leanthink.rewards.opened import OpenedReward, Opening

Inside = Literal["paper", "released"]


def most_at(tokens_N: Float[Tensor, " N"], longest: float, scale: float = 4.0) -> Float[Tensor, " N"]:
    """``scale cos(pi b / (2 longest))``: the most a response of the budget ``b`` can earn."""
    return scale * torch.cos(math.pi * tokens_N / (2 * longest))


def hierarchical_budget(
    length_N: Float[Tensor, " N"],
    budget_N: Float[Tensor, " N"],
    right_N: Bool[Tensor, " N"],
    longest: float,
    scale: float = 4.0,
    deviation: float = 1 / 4096,
    inside: Inside = "paper",
) -> Float[Tensor, " N"]:
    """``f2(b)`` for a right response within its budget, ``f1(n, b)`` up to ``longest`` beyond, 0 for any other.

    ``f2(b) = scale cos(pi b / (2 longest))`` and ``f1(n, b) = scale cos(pi n / (2 longest)) - deviation |n - b|``.
    The released code has ``min(f1, f2)`` within the budget, too.
    """
    beyond_N = most_at(length_N, longest, scale) - deviation * (length_N - budget_N).abs()
    within_N = most_at(budget_N, longest, scale)
    if inside == "released":
        within_N = torch.minimum(within_N, beyond_N)
    value_N = torch.where(length_N <= budget_N, within_N, beyond_N)
    return torch.where(right_N & (length_N <= longest), value_N, torch.zeros_like(value_N))


SENTENCE: Final = "<think> I will answer the question within {budget} tokens."


@final
@dataclass(frozen=True, kw_only=True)
class HierarchicalBudget(OpenedReward, Composite):
    """The reward of HBPO (arXiv 2507.15844, Sec. 3.2): what a right response earns under the budget that it names.

    Training splits each group over ``budgets``, the first n / k responses to the first one and so on; each begins with
    ``opening_text``, which is given, names its budget, counts among its tokens and is trained on. A right response of
    budget ``b`` and ``n`` tokens earns ``scale cos(pi b / (2 longest))`` within the budget, which is more for smaller
    ones, and ``scale cos(pi n / (2 longest)) - deviation |n - b|`` beyond; any other earns 0. Far beyond a small budget
    that is negative: a right answer then earns less than a wrong one, unless ``least`` is 0. A response longer than
    ``longest`` earns 0.

    The scale is the released code's (HBPO at 5c8991d), the paper states none; ``deviation`` is by a draft of it. The
    exact sentence of the paper's openings is not known here: it names a number of tokens.

    Args:
        budgets: in tokens, each of which has as many of a group's responses; 512, 1024, 2048 and 2560.
        longest: tokens of the training window; 4096.
        scale: 4.
        deviation: price of a token beyond the budget; None: ``1 / longest``, 1/4096 in the paper.
        inside: what is paid within the budget: the ``paper``'s constant, or the smaller of both as ``released``, which
            differs for the smallest budget and short responses only.
        least: the least that a right response earns; None as in the paper.
        valid: a reward that is nonzero for a well-formed response; an ill-formed one earns 0. None: all are.
        opening_text: what a response begins with; ``{budget}`` stands for its budget.
        trained: whether the loss sees the opening, as the released code's does.

    >>> batch = RolloutBatch.of(
    ...     group=[0] * 4, length=[400, 900, 1500, 2400], correct=[1, 1, 1, 0], budget=[512, 512, 2048, 2560]
    ... )
    >>> HierarchicalBudget()(batch)[0]
    tensor([3.9231, 3.6694, 2.8284, 0.0000], dtype=torch.float64)
    """

    budgets: tuple[int, ...] = (512, 1024, 2048, 2560)
    longest: int = 4096
    scale: float = 4.0
    deviation: float | None = None
    inside: Inside = "paper"
    least: float | None = None
    valid: Reward | None = None
    opening_text: str = SENTENCE
    trained: bool = True
    in_tokens = ("budgets", "longest")
    is_term = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.budgets or len(set(self.budgets)) < len(self.budgets):
            raise ConfigError(f"hierarchical_budget: budgets are {self.budgets}; give one or more, each once")
        for name, fine, allowed in (
            ("budgets", min(self.budgets) >= 1 and max(self.budgets) <= self.longest, f"1 to {self.longest} tokens"),
            ("scale", self.scale > 0, "a number above 0"),
            ("deviation", self.deviation is None or self.deviation >= 0, "a price of a token, 0 or more, or nothing"),
            ("inside", self.inside in get_args(Inside), " or ".join(get_args(Inside))),
            ("least", self.least is None or self.least <= 0, "0 or less, or nothing"),
            ("opening_text", "{budget}" in self.opening_text, "a text with {budget} in it"),
        ):
            if not fine:
                raise ConfigError(f"hierarchical_budget: {name} is {getattr(self, name)!r}; give {allowed}")

    @property
    def requires(self) -> frozenset[str]:
        """The budget that each response names."""
        return super().requires | {BUDGET}

    def opening(self, session: int, rollouts: int) -> Opening:
        """The budget of the share of a group that a response falls into.

        Raises:
            ConfigError: the rollouts do not divide over the budgets.
        """
        if rollouts % len(self.budgets):
            raise ConfigError(
                f"hierarchical_budget: {rollouts} rollouts do not divide over {len(self.budgets)} budgets; set "
                f"actor_rollout_ref.rollout.n to a multiple of {len(self.budgets)}, or give other budgets"
            )
        budget = self.budgets[session * len(self.budgets) // rollouts]
        text = self.opening_text.replace("{budget}", str(budget))
        return Opening(text=text, is_trained=self.trained, columns={BUDGET: float(budget)})

    def most(self, batch: RolloutBatch) -> RewardN:
        """The most that each response could have earned under its budget."""
        return most_at(budgets_of(batch), self.longest, self.scale)

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The reward of each response."""
        right_N = batch.correct == 1
        if self.valid is not None:
            right_N = right_N & (part("valid", batch) != 0)
        deviation = 1 / self.longest if self.deviation is None else self.deviation
        value_N = hierarchical_budget(
            batch.length, budgets_of(batch), right_N, self.longest, self.scale, deviation, self.inside
        )
        return value_N if self.least is None else torch.where(right_N, value_N.clamp(min=self.least), value_N)


def budget_gap(
    reward_N: Float[Tensor, " N"],
    most_N: Float[Tensor, " N"],
    budget_N: Float[Tensor, " N"],
    group_N: Int[Tensor, " N"],
) -> Float[Tensor, " N"]:
    """The mean reward of a prompt's responses of the same budget, less the most that one of them can earn."""
    _, code_N = torch.unique(torch.stack([group_N.double(), budget_N]), dim=1, return_inverse=True)
    return group_mean(reward_N, code_N)[code_N] - most_N


@final
@dataclass(frozen=True, kw_only=True)
class BudgetGap(Composite):
    """The advantage of HBPO within a budget (arXiv 2507.15844, Sec. 3.3), never above 0; a term.

    ``mu_b - f2(b)``: how far the mean reward of a prompt's responses of one budget is below the most that the budget
    allows. It is added to the rewards' own group-relative advantage: ``sum: {across: {group_normalize: {of:
    {hierarchical_budget: ...}}}, within: {budget_gap: {of: {hierarchical_budget: ...}}}}`` under ``no_baseline``, with
    the same arguments in both. It has no mean of 0: where a budget's responses fail, all its tokens are pushed down, by
    up to 3.9 on prompts that nobody solves. ``centred`` takes the group's mean off, which is not in the paper. The
    released code adds it twice: ``scale: {by: 2.0, of: budget_gap}``.

    Args:
        of: the reward, with its budgets.
        centred: take the group's mean off.

    >>> batch = RolloutBatch.of(group=[0] * 2, length=[400, 900], correct=[1, 0], budget=[512, 512])
    >>> BudgetGap(of=HierarchicalBudget())(batch)[0]
    tensor([-1.9616, -1.9616], dtype=torch.float64)
    """

    of: HierarchicalBudget
    centred: bool = False
    is_term = True
    scope = Scope.GROUP

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The gap of each response's budget."""
        gap_N = budget_gap(part("of", batch), self.of.most(batch), budgets_of(batch), batch.group)
        return group_centred(gap_N, batch.group) if self.centred else gap_N
