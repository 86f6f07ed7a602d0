"""What a right response costs beyond the cheapest right one of its group, in tokens, turns or tool calls.

Each prices a response's length; ``counts`` says what that is: ``counts: calls``, ``turns``, ``context`` and so on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch, check_values
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_max, group_mean, group_min
from leanthink.core.reward import Composite, Part, Reward, RewardN, Scope
from leanthink.rewards.correct import Correct
from leanthink.rewards.counted import CONTEXT_TOKENS, TURNS

Least = Literal["right", "group"]

OUTCOME: Final = Correct()


def cost_factor(
    cost_N: Float[Tensor, " N"],
    right_N: Bool[Tensor, " N"],
    group_N: Int[Tensor, " N"],
    beta: float,
    unit: float,
    least: Least = "right",
) -> Float[Tensor, " N"]:
    """``d + (1 - d) exp(-beta max(0, cost - least) / unit)`` for right ones, ``d`` the share of wrong ones; else 1.

    ``least`` is the smallest cost among the group's right responses, or in the group.
    """
    wrong_N = (1 - group_mean(right_N.double(), group_N))[group_N]
    least_N = group_min(cost_N, group_N, right_N if least == "right" else None)[group_N]
    beyond_N = torch.where(right_N, cost_N - least_N, 0.0).clamp(min=0.0)
    return wrong_N + (1 - wrong_N) * torch.exp(-beta * beyond_N / unit)


@final
@dataclass(frozen=True, kw_only=True)
class CostDecay(Composite):
    """A right response keeps less, the more it costs beyond the cheapest right one; hard prompts are charged less.

    ``r (d + (1 - d) exp(-beta max(0, cost - least) / unit))``, ``d`` the share of wrong responses of the group. With
    ``counts: calls`` and ``unit`` 1 it is EAPO's (arXiv 2606.02132), with ``counts: context`` NeMo-RL's cost of it.
    Wrong responses keep what they have, so that nothing is gained by being cheap and wrong. The paper's text could not
    be read beyond notes: its beta, and whether the least cost is that of the group or of its right responses, are not
    confirmed.

    Args:
        beta: decay, above 0.
        unit: what cost is measured in: 1 call, or so many tokens.
        least: the least cost among "right" responses, or of the "group", as EAPO's text has it.
        of: the reward, never negative for a right response.

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[0, 2, 4, 1], correct=[1, 1, 1, 0])
    >>> CostDecay(beta=0.5, unit=1)(batch)[0]
    tensor([1.0000, 0.5259, 0.3515, 0.0000], dtype=torch.float64)
    """

    beta: float
    unit: float = 1.0
    least: Least = "right"
    of: Reward = OUTCOME
    own_scope = Scope.GROUP

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta <= 0 or self.unit <= 0 or self.least not in ("right", "group"):
            raise ConfigError(
                f"cost_decay: beta is {self.beta}, unit {self.unit} and least {self.least!r}; give beta and unit above "
                "0, and least right or group"
            )

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The reward, less what its response's cost takes."""
        right_N = batch.correct == 1
        factor_N = cost_factor(batch.length, right_N, batch.group, self.beta, self.unit, self.least)
        value_N = part("of", batch)
        return torch.where(right_N, value_N * factor_N, value_N)


def tool_productivity(
    calls_N: Float[Tensor, " N"], right_N: Bool[Tensor, " N"], group_N: Int[Tensor, " N"], smooth: float = 1.0
) -> Float[Tensor, " N"]:
    """OTC's share: 1 at the least calls ``n`` among right responses, ``sin(f pi / 2n)`` elsewhere, 0 for wrong ones.

    ``f = 2 n m / (n + m)`` for ``m`` calls; where ``n`` is 0, ``cos(m pi / (2 m + smooth))``.
    """
    n_N = group_min(calls_N, group_N, right_N)[group_N].nan_to_num(nan=0.0)
    f_N = 2 * n_N * calls_N / (n_N + calls_N).clamp(min=1.0)
    some_N = torch.sin(f_N * math.pi / (2 * n_N.clamp(min=1.0)))
    none_N = torch.cos(calls_N * math.pi / (2 * calls_N + smooth))
    return torch.where(right_N, torch.where(n_N > 0, some_N, none_N), 0.0)


@final
@dataclass(frozen=True, kw_only=True)
class ToolProductivity(Reward):
    """The reward of OTC (Acting Less is Reasoning More, arXiv 2504.14870): right, by as few tool calls as it takes.

    ``alpha r_tool c``; 1 for a right response with the least calls of its group's right ones, less for more. Give it
    ``counts: calls``. Formulas by notes on the paper; alpha and the smoothing are not confirmed, nor is that the least
    number is kept across epochs, which this does not do.

    Args:
        smooth: ``k``, above 0, where the least number of calls is 0.
        alpha: what a right response earns at most.

    >>> batch = RolloutBatch.of(group=[0] * 3, length=[1, 2, 4], correct=[1, 1, 1])
    >>> ToolProductivity()(batch)[0]
    tensor([1.0000, 0.8660, 0.5878], dtype=torch.float64)
    """

    smooth: float = 1.0
    alpha: float = 1.0
    scope = Scope.GROUP

    def __post_init__(self) -> None:
        if self.smooth <= 0 or self.alpha <= 0:
            raise ConfigError(f"tool_productivity: smooth is {self.smooth} and alpha {self.alpha}; give both above 0")

    def score(self, batch: RolloutBatch) -> RewardN:
        """The reward of each response."""
        return self.alpha * tool_productivity(batch.length, batch.correct == 1, batch.group, self.smooth)


@final
@dataclass(frozen=True, kw_only=True)
class LinearCost(Reward):
    """prime-rl's price of a conversation: what was written, read, and how many turns, each over the group's most.

    ``-p (output w / max w + input r / max r + turns a / max a)`` with the group's pass rate ``p``; a term. Its own form
    charges wrong responses, too, among which the cheapest then wins; ``gate`` leaves them alone.

    Args:
        output: price of tokens written; 0.25 there.
        input: of tokens read: the prompt's, and what tools returned; 0.1.
        turns: of turns; 0.1.
        gate: charge right responses only.

    >>> batch = RolloutBatch.of(
    ...     group=[0] * 2, length=[800, 1600], correct=[1, 1], context_tokens=[2800, 7600], assistant_turns=[2, 4]
    ... )
    >>> LinearCost()(batch)[0]
    tensor([-0.2083, -0.4500], dtype=torch.float64)
    """

    output: float = 0.25
    input: float = 0.1
    turns: float = 0.1
    gate: bool = True
    scope = Scope.GROUP
    is_term = True
    requires = frozenset({CONTEXT_TOKENS, TURNS})

    def __post_init__(self) -> None:
        for name in ("output", "input", "turns"):
            if getattr(self, name) < 0:
                raise ConfigError(f"linear_cost: {name} is {getattr(self, name)}; give a price of 0 or more")

    def score(self, batch: RolloutBatch) -> RewardN:
        """The price of each response."""
        context_N = batch.column(CONTEXT_TOKENS)
        read_N = context_N - batch.length
        check_values(CONTEXT_TOKENS, read_N >= 0, context_N, "it holds what was written, too: give no less than length")
        costs: Mapping[str, Tensor] = {"output": batch.length, "input": read_N, "turns": batch.column(TURNS)}
        price_N = torch.zeros_like(batch.length)
        for name, cost_N in costs.items():
            most_N = group_max(cost_N, batch.group)[batch.group].clamp(min=1.0)
            price_N = price_N + getattr(self, name) * cost_N / most_N
        price_N = price_N * group_mean(batch.correct, batch.group)[batch.group]
        return -price_N * batch.correct if self.gate else -price_N
