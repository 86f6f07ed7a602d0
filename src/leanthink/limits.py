"""How many tokens a training response may take: the rollout's own limit, by step and by prompt.

The engine stops at it, and what was cut is flagged as truncated. Validation always has the whole response limit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.batch import PROMPT_KEY, RolloutBatch
from leanthink.errors import ConfigError
from leanthink.groups import group_mean
from leanthink.module import State
from leanthink.schedules import Number, at, bounds

Equality = Literal["easy", "hard"]

LIMIT: Final = "limit"
"""The column that holds the limit (tokens) that each response was written under."""


class Limit(ABC):
    """A rule for the limit of each prompt at each step; a frozen dataclass. Write :meth:`tokens`.

    One that remembers, as a controller does that steers each prompt's budget, writes :meth:`init` and :meth:`update`,
    too. Its state is a dict that JSON can hold, is saved with the reward's, and never sees validation.
    """

    @property
    def reads_state(self) -> bool:
        """Whether it remembers anything across steps."""
        return False

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


@final
@dataclass(frozen=True, kw_only=True)
class PerStep(Limit):
    """One limit for all prompts: a number, or a schedule of the step, as ThinkPrune (arXiv 2504.01296) shrinks it.

    >>> from leanthink.schedules import Stairs
    >>> limit = PerStep(at_most=Stairs(values=(4000, 3000, 2000), boundaries=(180, 360)))
    >>> limit.tokens(["a", "b"], 180, {})
    [3000.0, 3000.0]
    """

    at_most: Number

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

    def __post_init__(self) -> None:
        for name in ("thresholds", "lengths"):  # lists, too, must compare and hash
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_difficulty("per_pass_rate", self.thresholds, self.lengths, self.equality)
        if self.remembered < 1:
            raise ConfigError(f"per_pass_rate: remembered is {self.remembered}; give a number of prompts, 1 or more")

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
        """The rates of the batch's groups, the latest last."""
        rate_N = group_mean(batch.correct, batch.group)[batch.group].tolist()
        now = dict(zip(map(str, batch.values(PROMPT_KEY)), rate_N, strict=True))
        rates = {key: rate for key, rate in state["pass_rate"].items() if key not in now} | now
        excess = len(rates) - self.remembered
        return {"pass_rate": dict(list(rates.items())[max(excess, 0) :])}


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
