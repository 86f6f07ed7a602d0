"""L1 (LCPO): a token budget that the prompt states, and what obeying it is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from jaxtyping import Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.reward import Reward, RewardN

BUDGET: Final = "budget"


def exact_budget(length_N: Float[Tensor, " N"], budget_N: Float[Tensor, " N"], alpha: float) -> Float[Tensor, " N"]:
    """``-alpha |budget - len|``: tokens too few cost what tokens too many cost."""
    return -alpha * (budget_N - length_N).abs()


def max_budget(
    length_N: Float[Tensor, " N"],
    correct_N: Float[Tensor, " N"],
    budget_N: Float[Tensor, " N"],
    alpha: float,
    delta: float = 0.5,
) -> Float[Tensor, " N"]:
    """``c clip(alpha (budget - len) + delta, 0, 1)``: 1 well inside the budget, ``delta`` at it, 0 well beyond."""
    return correct_N * (alpha * (budget_N - length_N) + delta).clamp(min=0.0, max=1.0)


@final
@dataclass(frozen=True, kw_only=True)
class ExactBudget(Reward):
    """The length term of LCPO-Exact (L1, arXiv 2503.04697, Eq. 1): ``-alpha |budget - len|``; add it to correctness.

    ``r = c - alpha |budget - len|`` is ``sum: {correct: correct, budget: exact_budget}``. The paper pays it to wrong
    responses, too: a wrong one of the right length beats a correct one that misses its budget by more than
    ``1 / alpha`` tokens (3333), so recipes declare it. It has no floor; beside other terms put it under a ``clip``.

    Args:
        alpha: price of a token; the paper uses 0.0003.

    The paper's code counts the whole response; ``counts: thinking`` counts the thinking only. The column ``budget`` is
    the prompt's, the same for all its responses; ``leanthink prepare --budget`` writes it.

    >>> batch = RolloutBatch.of(group=[0] * 3, length=[512, 1024, 1524], correct=[1, 1, 0], budget=[1024] * 3)
    >>> ExactBudget()(batch)[0]
    tensor([-0.1536, -0.0000, -0.1500], dtype=torch.float64)
    """

    alpha: float = 0.0003
    is_term = True
    requires = frozenset({BUDGET})

    def __post_init__(self) -> None:
        _check("exact_budget", self.alpha)

    def score(self, batch: RolloutBatch) -> RewardN:
        """The term of each response."""
        return exact_budget(batch.length, budgets_of(batch), self.alpha)


@final
@dataclass(frozen=True, kw_only=True)
class MaxBudget(Reward):
    """The reward of LCPO-Max (L1, arXiv 2503.04697, Eq. 2): ``c clip(alpha (budget - len) + delta, 0, 1)``.

    1 for a correct response of up to ``budget - (1 - delta) / alpha`` tokens, ``delta`` at the budget, 0 from
    ``budget + delta / alpha`` tokens on; a wrong one earns 0. A group without a correct response has no signal.

    Args:
        alpha: slope of the step. The paper gives no number; its code's 0.01 acts on a step from -1 to 1 and is 0.005
            here. 0.0003, the slope of Eq. 1, makes a step wider than any budget of the paper.
        delta: the value at the budget, in [0, 1].

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[900, 974, 1024, 1074], correct=[1] * 4, budget=[1024] * 4)
    >>> MaxBudget()(batch)[0]
    tensor([1.0000, 0.7500, 0.5000, 0.2500], dtype=torch.float64)
    """

    alpha: float = 0.005
    delta: float = 0.5
    requires = frozenset({BUDGET})

    def __post_init__(self) -> None:
        _check("max_budget", self.alpha)
        if not 0 <= self.delta <= 1:
            raise ConfigError(f"max_budget: delta is {self.delta}; it is the value at the budget: give 0 to 1")

    def score(self, batch: RolloutBatch) -> RewardN:
        """The reward of each response."""
        return max_budget(batch.length, batch.correct, budgets_of(batch), self.alpha, self.delta)


def _check(name: str, alpha: float) -> None:
    if alpha <= 0:
        raise ConfigError(f"{name}: alpha is {alpha}; give a price of a token above 0")


def budgets_of(batch: RolloutBatch) -> Float[Tensor, " N"]:
    """The column ``budget``, in tokens.

    Raises:
        BatchError: a budget is no number of tokens.
    """
    budget_N = batch.column(BUDGET)
    good_N = budget_N >= 0  # false for NaN
    if not bool(good_N.all()):
        row = int((~good_N).nonzero()[0])
        raise BatchError(
            f"column {BUDGET!r}, row {row}: {budget_N[row].item():g} is no number of tokens; the paper's code marks "
            "'at most' and 'no budget' by a sign: give 0 or more tokens, and the kind of budget in a column of its own"
        )
    return budget_N
