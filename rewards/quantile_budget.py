"""PALU: a budget for each prompt, cut by a quantile gap while the prompt is solved, reset once it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leanthink.core.batch import PROMPT_KEY, RolloutBatch
from leanthink.core.control import BudgetReward, wrong_count
from leanthink.core.errors import ConfigError
from leanthink.core.history import REMEMBERED, check_remembered, prompts_of, updated
from leanthink.core.reward import RewardN, Scope, State


def next_budget(
    length_N: Float[Tensor, " N"],
    correct_N: Bool[Tensor, " N"],
    budget: float,
    longest: float,
    threshold: float = 0.8,
    tau: float = 0.5,
    floor: float = 1.0,
    lengths: Literal["correct", "all"] = "correct",
    strict: bool = False,
    anchor: Literal["budget", "observed_max"] = "budget",
) -> float:
    """One prompt's next budget: ``L - (Q(1) - Q(1 - tau))`` where its pass rate is ``threshold``, else ``longest``.

    ``Q`` interpolates linearly over the lengths of the correct responses (or of all). Rounded down, ``floor`` at least.

    >>> length_N = torch.tensor([1200.0, 1500, 2000, 2600, 3000, 3400, 3900, 4000])
    >>> next_budget(length_N, torch.arange(8) < 7, budget=8000, longest=16384)
    6700.0
    """
    rate = float(correct_N.double().mean())
    solved = rate > threshold if strict else rate >= threshold
    if not solved or not bool(correct_N.any()):
        return longest
    counted_M = length_N[correct_N] if lengths == "correct" else length_N
    counted_M = counted_M.double()
    top, low = torch.quantile(counted_M, counted_M.new_tensor([1.0, 1.0 - tau])).tolist()
    base = min(budget, top) if anchor == "observed_max" else budget
    return float(min(max(math.floor(base - (top - low) + 1e-6), floor), longest))


@final
@dataclass(frozen=True, kw_only=True)
class QuantileBudget(BudgetReward):
    """The per-prompt budget of PALU (arXiv 2510.10168) and its outcome: 1 for a correct response within it, else 0.

    After each visit of a prompt, with pass rate ``R`` (correct within the budget) and the quantile function ``Q`` of
    the lengths: ``L <- L - (Q(1) - Q(1 - tau))`` if ``R >= threshold``, else ``L <- longest``, a full reset. The next
    visit, an epoch later, has the new budget; a prompt not met before has ``longest``. With ``limit: from_reward``
    rollouts stop at it; responses written without it are judged by it. Lengths and budgets in tokens.

    No correct response: reset. One correct, or all of one length: the budget stays. Non-integer: rounded down. A group
    left out by dynamic sampling is not seen, and its prompt's budget stays, where the method moves it all the same:
    train without ``algorithm.filter_groups``.

    The paper's method section could not be read in full: formula and table are from the authors' poster and public
    reviews. Open there, arguments here: ``lengths``, ``strict``, ``floor``, the initial budget (``longest``).

    Args:
        longest: ``L_max``, start and reset value; not confirmed in the paper.
        threshold: ``C``, the pass rate to keep; 0.8.
        tau: share of successes that one cut gives up; 0.5.
        floor: the least budget.
        lengths: those in ``Q``: of "correct" responses, or of "all" (the poster).
        strict: whether ``R`` must exceed the threshold (the poster).
        anchor: "observed_max" first lowers the budget to the longest length seen, so that it binds at once; not in the
            paper.
        remembered: prompts whose budget is kept; the one visited longest ago makes room.

    >>> reward = QuantileBudget(longest=4000)
    >>> batch = RolloutBatch.of(group=[0] * 3, length=[900, 1100, 1500], correct=[1, 1, 1], prompt_key=["p"] * 3)
    >>> _, state = reward(batch)
    >>> state["budget"], reward(batch.replace(length=[900, 3700, 1500]), state)[0].tolist()
    ({'p': 3600.0}, [1.0, 0.0, 1.0])
    """

    longest: float
    threshold: float = 0.8
    tau: float = 0.5
    floor: float = 1.0
    lengths: Literal["correct", "all"] = "correct"
    strict: bool = False
    anchor: Literal["budget", "observed_max"] = "budget"
    remembered: int = REMEMBERED
    scope = Scope.RESPONSE
    requires = frozenset({PROMPT_KEY})
    in_tokens = ("longest",)

    def __post_init__(self) -> None:
        if not 1 <= self.floor <= self.longest:
            raise ConfigError(
                f"quantile_budget: floor is {self.floor} and longest {self.longest}; give tokens, 1 or more, and a "
                "longest not below the floor"
            )
        if not 0 < self.threshold <= 1 or not 0 < self.tau <= 1:
            raise ConfigError(
                f"quantile_budget: threshold is {self.threshold} and tau {self.tau}; give shares above 0 and up to 1"
            )
        if self.strict and self.threshold == 1:
            raise ConfigError(
                "quantile_budget: no pass rate exceeds a threshold of 1; give a lower one, or strict: false"
            )
        if self.lengths not in ("correct", "all") or self.anchor not in ("budget", "observed_max"):
            raise ConfigError(
                f"quantile_budget: lengths is {self.lengths!r} and anchor {self.anchor!r}; give lengths correct or "
                "all, and anchor budget or observed_max"
            )
        check_remembered("quantile_budget", self.remembered)

    def init(self) -> State:
        """No prompt was visited."""
        return {"budget": {}, "cuts": 0, "resets": 0}

    def update(self, batch: RolloutBatch, state: State) -> tuple[RewardN, State]:
        """The outcome within the present budgets, and the next ones."""
        keys, key_N = prompts_of(batch)
        budgets = self.budgets(keys, batch.step, state)
        within_N = (batch.correct == 1) & ~batch.truncated & (batch.length <= batch.length.new_tensor(budgets)[key_N])
        now, cuts, resets = {}, 0, 0
        for code, key in enumerate(keys):
            rows_N = key_N == code
            now[key] = next_budget(
                batch.length[rows_N],
                within_N[rows_N],
                budgets[code],
                self.longest,
                self.threshold,
                self.tau,
                self.floor,
                self.lengths,
                self.strict,
                self.anchor,
            )
            cuts += now[key] < budgets[code]
            resets += now[key] > budgets[code]
        after = {
            "budget": updated(state["budget"], now, self.remembered),
            "cuts": state["cuts"] + cuts,
            "resets": state["resets"] + resets,
        }
        return within_N.double(), after

    def budgets(self, prompts: Sequence[str], step: int, state: State) -> list[float]:
        """What each prompt has, ``longest`` where it was not met."""
        return [float(state["budget"].get(prompt, self.longest)) for prompt in prompts]

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """The mean budget of the prompts met so far; cuts and resets since the start."""
        known = state["budget"].values()
        mean = {"budget": sum(known) / len(known)} if known else {}
        return {**mean, "prompts": len(known), "cuts": state["cuts"], "resets": state["resets"]}

    def wrong_state(self, state: State) -> str | None:
        """A budget out of range, or a count that is none."""
        for key, budget in state["budget"].items():
            if not self.floor <= budget <= self.longest:
                return f"budget.{key} is {budget}; give {self.floor:g} to {self.longest:g} tokens"
        return wrong_count({name: state[name] for name in ("cuts", "resets")})

    def taken_over(self, before: QuantileBudget, saved: State) -> State:
        """The budgets, within the present range."""
        budgets = {key: min(max(budget, self.floor), self.longest) for key, budget in saved["budget"].items()}
        return {**saved, "budget": budgets}
