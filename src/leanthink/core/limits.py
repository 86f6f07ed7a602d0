"""How many tokens a training response may take: the rollout's own limit, by step and by prompt.

The engine stops at it, and what was cut is flagged as truncated. Validation always has the whole response limit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.control import BudgetReward, states
from leanthink.core.errors import ConfigError, StateError
from leanthink.core.groups import group_mean
from leanthink.core.history import check_remembered, prompts_of, updated
from leanthink.core.reward import Reward, State
from leanthink.core.schedules import Number, at, bounds

Equality = Literal["easy", "hard"]

LIMIT: Final = "limit"
"""The column that holds the limit (tokens) that each response was written under."""


THINKING_LIMIT: Final = "thinking_limit"
"""The column that holds the most tokens that each response was allowed to think."""
FORCED: Final = "forced"
"""The column of whether a response's thinking was ended for it, 1 or 0."""


class Limit(ABC):
    """A rule for the limit of each prompt at each step; a frozen dataclass. Write :meth:`tokens`.

    One that remembers, as a controller does that steers each prompt's budget, writes :meth:`init` and :meth:`update`,
    too. Its state is a dict that JSON can hold, is saved with the reward's, and never sees validation.
    """

    @property
    def reads_state(self) -> bool:
        """Whether it remembers anything across steps."""
        return False

    @property
    def in_tokens(self) -> tuple[str, ...]:
        """The arguments that are lengths in tokens."""
        return ()

    def init(self) -> State:
        """The state before the first step."""
        return {}

    @abstractmethod
    def tokens(self, prompts: Sequence[str], step: int, state: State) -> list[float]:
        """The limit of each prompt in tokens, rounded by whoever asks.

        Args:
            prompts: a key for each prompt, the same in every epoch.
            step: the training step at which they are handed out, from 0.
            state: what it remembers.
        """

    def update(self, batch: RolloutBatch, state: State) -> State:
        """The state after a step; ``batch`` has each response's prompt in the column ``prompt_key``."""
        return state

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """Numbers of its own to be shown among a run's metrics."""
        return {}

    def wrong_state(self, state: State) -> str | None:
        """What is wrong with a state of the right shape, as somebody may have edited it; None for nothing."""
        return None


@final
@dataclass(frozen=True, kw_only=True)
class PerStep(Limit):
    """One limit for all prompts: a number, or a schedule of the step, as ThinkPrune (arXiv 2504.01296) shrinks it.

    >>> from leanthink.core.schedules import Stairs
    >>> limit = PerStep(at_most=Stairs(values=(4000, 3000, 2000), boundaries=(180, 360)))
    >>> limit.tokens(["a", "b"], 180, {})
    [3000.0, 3000.0]
    """

    at_most: Number
    in_tokens = ("at_most",)

    def __post_init__(self) -> None:
        if bounds(self.at_most)[0] < 1:
            raise ConfigError(f"per_step: at_most is {self.at_most}; give tokens, 1 or more at every step")

    def tokens(self, prompts: Sequence[str], step: int, state: State) -> list[float]:
        """The same for each prompt."""
        return [float(at(self.at_most, step))] * len(prompts)


@final
@dataclass(frozen=True, kw_only=True)
class PerPassRate(Limit):
    """A shorter limit for prompts that are often solved: DA-DLER (arXiv 2510.15110, Sec. 3.5) in the rollout itself.

    The pass rate of a prompt is that of its group when it was last trained on, at the limit it then had; a prompt not
    seen before has the longest. The paper does not say on which rollouts it is measured; the reward
    ``difficulty_truncation`` measures it on the current group.

    Args:
        thresholds: on the share of correct responses, rising; the paper has one, 0.5.
        lengths: tokens, falling, one more than thresholds; the paper: 4000 and 2000.
        equality: on which side a share equal to a threshold falls.
        remembered: prompts whose rate is kept; the one trained on longest ago makes room.

    >>> limit = PerPassRate(thresholds=(0.5,), lengths=(4000, 2000))
    >>> limit.tokens(["new", "easy", "hard"], 9, {"pass_rate": {"easy": 0.75, "hard": 0.25}})
    [4000.0, 2000.0, 4000.0]
    """

    thresholds: tuple[float, ...]
    lengths: tuple[float, ...]
    equality: Equality = "easy"
    remembered: int = 100_000
    reads_state = True
    in_tokens = ("lengths",)

    def __post_init__(self) -> None:
        for name in ("thresholds", "lengths"):  # lists, too, must compare and hash
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_difficulty("per_pass_rate", self.thresholds, self.lengths, self.equality)
        check_remembered("per_pass_rate", self.remembered)

    def init(self) -> State:
        """No prompt seen yet."""
        return {"pass_rate": {}}

    def tokens(self, prompts: Sequence[str], step: int, state: State) -> list[float]:
        """By the rate each prompt had last; the longest for one that has none."""
        rates = state["pass_rate"]
        rate_N = torch.tensor([rates.get(prompt, -1.0) for prompt in prompts], dtype=torch.float64)
        values: list[float] = length_by_difficulty(rate_N, self.thresholds, self.lengths, self.equality).tolist()
        return values

    def update(self, batch: RolloutBatch, state: State) -> State:
        """The rates of the batch's prompts, the latest last."""
        keys, key_N = prompts_of(batch)
        now = dict(zip(keys, group_mean(batch.correct, key_N).tolist(), strict=True))
        return {"pass_rate": updated(state["pass_rate"], now, self.remembered)}

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """How many prompts are known."""
        return {"prompts": len(state["pass_rate"])}

    def wrong_state(self, state: State) -> str | None:
        """A rate that is none."""
        for key, rate in state["pass_rate"].items():
            if not 0 <= rate <= 1:
                return f"pass_rate.{key} is {rate}; give a share from 0 to 1"
        return None


@final
@dataclass(frozen=True, kw_only=True)
class FromReward(Limit):
    """The budgets that the recipe's own reward steers, as ``quantile_budget`` does for each prompt.

    The smallest where several parts steer some, never above verl's ``data.max_response_length``.

    Args:
        factor: room beyond the budget; 1 stops a response exactly there.

    >>> from leanthink.rewards import QuantileBudget
    >>> reward = QuantileBudget(longest=4000)
    >>> FromReward().of_reward(["new"], 0, reward, reward.init())
    [4000.0]
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        if not self.factor >= 1:
            raise ConfigError(f"from_reward: factor is {self.factor}; give 1 or more, or no response meets its budget")

    def tokens(self, prompts: Sequence[str], step: int, state: State) -> list[float]:
        """Not known without the reward."""
        raise StateError("from_reward reads the reward's state; ask it through limit_tokens")

    def of_reward(self, prompts: Sequence[str], step: int, reward: Reward, state: State) -> list[float]:
        """The least budget of each prompt."""
        budgets = [
            part.budgets(prompts, step, own) for _, part, own in states(reward, state) if isinstance(part, BudgetReward)
        ]
        return [self.factor * min(of_prompt) for of_prompt in zip(*budgets, strict=True)]


@final
@dataclass(frozen=True, kw_only=True)
class Thinking(Limit):
    """A budget of the thinking alone: after so many tokens its end is put in, and the answer has room of its own.

    A response that has not ended its thinking after its budget, the closing tag counted, gets ``closing`` and goes on
    with its answer, of at most ``answer`` tokens. One that ends it sooner goes on untouched, up to the whole limit; one
    that ends altogether is over, without an answer. What was put in is masked out of the loss, and the column
    ``forced`` is 1; a response whose thinking was ended so is not truncated, one whose answer fills its room is.

    The hard form of a shorter thinking, as engines have it (vLLM's ``thinking_token_budget``); `stop_bias` is a soft
    one. Nothing tells the policy of it.

    Args:
        at_most: tokens of thinking, a number or a schedule of the step; or None, for ``of``.
        of: another rule for them, by prompt (``per_pass_rate``, ``from_reward``); None for ``at_most``.
        answer: tokens that are kept for an answer behind a forced end.
        closing: what is put in; it holds ``marker``.
        marker: what ends thinking, one token of the model's.
        in_validation: whether validation thinks under it, too.

    >>> limit = Thinking(at_most=2000)
    >>> limit.tokens(["a"], 0, {}), limit.answer
    ([2000.0], 1024)
    """

    at_most: Number | None = None
    of: Limit | None = None
    answer: int = 1024
    closing: str = "\n</think>\n\n"
    marker: str = "</think>"
    in_validation: bool = False

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.of is None):
            raise ConfigError("thinking: give at_most, the tokens of thinking, or of, another limit; one of the two")
        if self.at_most is not None and bounds(self.at_most)[0] < 1:
            raise ConfigError(f"thinking: at_most is {self.at_most}; give tokens, 1 or more at every step")
        if self.answer < 1:
            raise ConfigError(f"thinking: answer is {self.answer}; give tokens for an answer, 1 or more")
        if not self.marker or self.marker not in self.closing:
            raise ConfigError(f"thinking: closing is {self.closing!r}; give a text that holds {self.marker!r}")

    @property
    def rule(self) -> Limit:
        """What says how many tokens."""
        return self.of if self.of is not None else PerStep(at_most=self.at_most or 1)

    @property
    def reads_state(self) -> bool:
        """Whether its rule does."""
        return self.rule.reads_state

    def init(self) -> State:
        """Its rule's."""
        return self.rule.init()

    def tokens(self, prompts: Sequence[str], step: int, state: State) -> list[float]:
        """By its rule."""
        return self.rule.tokens(prompts, step, state)

    def update(self, batch: RolloutBatch, state: State) -> State:
        """Its rule's."""
        return self.rule.update(batch, state)

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """Its rule's numbers."""
        return self.rule.shown(step, state)

    def wrong_state(self, state: State) -> str | None:
        """What is wrong with its rule's."""
        return self.rule.wrong_state(state)


def limit_tokens(
    limit: Limit, prompts: Sequence[str], step: int, limit_state: State, reward: Reward, state: State
) -> list[float]:
    """The limit of each prompt (tokens) by any rule, whether it has a state of its own or reads the reward's."""
    if isinstance(limit, Thinking):
        return limit_tokens(limit.rule, prompts, step, limit_state, reward, state)
    if isinstance(limit, FromReward):
        return limit.of_reward(prompts, step, reward, state)
    return limit.tokens(prompts, step, limit_state)


def check_limit(limit: Limit, reward: Reward, place: str) -> None:
    """Refuse a limit from a reward that steers none.

    Raises:
        ConfigError: naming the place and the rewards that do.
    """
    if isinstance(limit, Thinking):
        if isinstance(limit.of, Thinking):
            raise ConfigError(f"{place}: a thinking limit in a thinking limit; give one")
        return check_limit(limit.rule, reward, place)
    if isinstance(limit, FromReward) and not any(isinstance(part, BudgetReward) for part in reward.walk()):
        raise ConfigError(
            f"{place}: from_reward takes the budgets that a part of the reward steers, and none does; add such a part "
            "(quantile_budget, or a BudgetReward of your own), or give per_step"
        )


def length_by_difficulty(
    rate_N: Float[Tensor, " N"],
    thresholds: tuple[float, ...],
    lengths: tuple[float, ...],
    equality: Equality = "easy",
) -> Float[Tensor, " N"]:
    """``lengths[k]`` where ``k`` thresholds lie below a pass rate; an equal one counts as below where it is "easy".

    >>> length_by_difficulty(torch.tensor([0.25, 0.5, 0.75]).double(), (0.5,), (4000, 2000))
    tensor([4000., 2000., 2000.], dtype=torch.float64)
    """
    below_N = torch.bucketize(rate_N, rate_N.new_tensor(thresholds), right=equality == "easy")
    return rate_N.new_tensor(lengths)[below_N]


def check_difficulty(name: str, thresholds: tuple[float, ...], lengths: tuple[float, ...], equality: str) -> None:
    """Refuse thresholds and lengths that do not make a rule.

    Raises:
        ConfigError: naming the part, what was given and what is allowed.
    """
    if len(lengths) != len(thresholds) + 1 or not thresholds:
        raise ConfigError(
            f"{name}: {len(thresholds)} thresholds and {len(lengths)} lengths; give one threshold or more, and one "
            "length more than thresholds"
        )
    if not all(0 < threshold <= 1 for threshold in thresholds) or any(b <= a for a, b in pairwise(thresholds)):
        raise ConfigError(f"{name}: thresholds are {list(thresholds)}; give shares above 0 and up to 1, rising")
    if not all(length >= 1 for length in lengths) or any(b > a for a, b in pairwise(lengths)):
        raise ConfigError(
            f"{name}: lengths are {list(lengths)}; give tokens, 1 or more, the first for the hardest prompts, and none "
            "above the one before it"
        )
    if equality not in ("easy", "hard"):
        raise ConfigError(f"{name}: equality is {equality!r}; give easy or hard")
