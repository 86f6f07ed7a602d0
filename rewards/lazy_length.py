"""Short-RL: a min-max length term of right responses, with a slack, that is off while accuracy is down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.control import StatefulComposite
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_max, group_min
from leanthink.core.reward import Part, Reward, RewardN, Scope, State

CLOSE: Final = 1e-9
"""0.65 - 0.05 is a little above 0.6: an accuracy of exactly 0.6 keeps the gate open."""


def lazy_length(
    length_N: Float[Tensor, " N"], right_N: Bool[Tensor, " N"], group_N: Int[Tensor, " N"], slack: float
) -> Float[Tensor, " N"]:
    """0.5 up to ``slack`` tokens above the shortest right response, else ``0.5 - (l - min) / (max - min)``.

    The extremes are those of the group's right responses; every other one has 0. Behind the edge it falls at once to
    where the line from the shortest response on is.
    """
    least_N, most_N = (one(length_N, group_N, right_N)[group_N] for one in (group_min, group_max))
    beyond_N = length_N > least_N + slack
    span_N = torch.where(beyond_N, most_N - least_N, 1.0)
    term_N = torch.where(beyond_N, 0.5 - (length_N - least_N) / span_N, 0.5)
    return torch.where(right_N, term_N, torch.zeros_like(term_N))


@final
@dataclass(frozen=True, kw_only=True)
class LazyLength(StatefulComposite):
    """The lazy length penalty of Short-RL (arXiv 2505.12284), in [-0.5, 0.5]; a term to add to an outcome.

    Kimi's min-max term with three restraints. Only right responses have it, and only they make the extremes. Those
    within ``slack`` tokens of the shortest right one all earn its 0.5 (`lazy_length`); the longest beyond that has
    -0.5. It is 0 for the whole batch where the batch's accuracy, the share of its right responses, is more than
    ``tolerance`` below the best of any training batch so far. A batch that sets a new best is scored with the term. The
    best never falls: one lucky batch can close the gate for long. An empty batch changes nothing, validation is never
    read. Leave ``algorithm.filter_groups`` off: the best would be that of the groups kept.

    The paper's base is 3 for a right, -0.5 for a wrong and -3 for an ill-formed response; beside 1 and 0 the term is
    three and a half times as strong. Formula and values are the released code's (Short-RL at 07cea8a; with 1e-5 in the
    denominator there, which is never 0). The paper's values, a weight of the term that notes on it name, and whether
    its third version gates by more than this, are not confirmed.

    Args:
        slack: tokens; 100 for mathematics in the scripts, 200 for logic.
        tolerance: of accuracy, in [0, 1]; 0.05.
        valid: a reward that is nonzero for a well-formed response; an ill-formed one is not right. None: all are.

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[500, 560, 620, 9000], correct=[1, 1, 1, 0])
    >>> LazyLength(slack=100)(batch)[0]
    tensor([ 0.5000,  0.5000, -0.5000,  0.0000], dtype=torch.float64)
    """

    slack: float = 100.0
    tolerance: float = 0.05
    valid: Reward | None = None
    scope = Scope.BATCH
    is_term = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slack < 0 or not 0 <= self.tolerance <= 1:
            raise ConfigError(
                f"lazy_length: slack is {self.slack} and tolerance {self.tolerance}; give a slack in tokens, 0 or "
                "more, and a tolerance of accuracy from 0 to 1"
            )

    def start(self) -> State:
        """No accuracy yet, and the gate open."""
        return {"best": 0.0, "accuracy": 0.0, "open": 1}

    def update(self, batch: RolloutBatch, part: Part, own: State) -> tuple[RewardN, State]:
        """The term of each response under the gate that this batch's accuracy makes."""
        right_N = batch.correct == 1
        if self.valid is not None:
            right_N = right_N & (part("valid", batch) != 0)
        if not len(batch):
            return torch.zeros_like(batch.length), own
        accuracy = float(right_N.double().mean())
        best = max(own["best"], accuracy)
        is_open = accuracy >= best - self.tolerance - CLOSE
        term_N = lazy_length(batch.length, right_N, batch.group, self.slack)
        after = {"best": best, "accuracy": accuracy, "open": int(is_open)}
        return term_N if is_open else torch.zeros_like(term_N), after

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """Whether the term is paid, and why."""
        return {name: float(state[name]) for name in ("best", "accuracy", "open")}

    def events(self, before: State, after: State) -> Iterable[str]:
        """The gate closing or opening."""
        if before["open"] == after["open"]:
            return ()
        what = "opens" if after["open"] else "closes"
        return (f"lazy length {what}: accuracy {after['accuracy']:.3f}, best {after['best']:.3f}",)

    def wrong_state(self, state: State) -> str | None:
        """What is no accuracy, or no gate."""
        for name in ("best", "accuracy"):
            if not 0 <= state[name] <= 1:
                return f"{name} is {state[name]}; give a number from 0 to 1"
        return None if state["open"] in (0, 1) else f"open is {state['open']}; give 0 or 1"
