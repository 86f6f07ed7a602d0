"""HAPO: a correct response against the shortest correct one that its prompt ever had."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leanthink.core.batch import PROMPT_KEY, RolloutBatch
from leanthink.core.control import wrong_count
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_count, group_min, group_sum
from leanthink.core.history import REMEMBERED, check_remembered, prompts_of, updated
from leanthink.core.reward import RewardN, Scope, State, StatefulReward


def history_length(
    length_N: Float[Tensor, " N"], correct_N: Bool[Tensor, " N"], history_N: Float[Tensor, " N"], floor: float = -0.7
) -> Float[Tensor, " N"]:
    """``f = cos(min(pi/2 L/h, pi))``: a correct response earns ``max(f, floor)``, a wrong one ``min(f, 0)``.

    Without a history (``h`` is NaN): 0.
    """
    f_N = torch.cos((math.pi / 2 * length_N / history_N).clamp(max=math.pi))
    return torch.where(correct_N, f_N.clamp(min=floor), f_N.clamp(max=0.0)).nan_to_num(nan=0.0)


def linear_history_length(
    length_N: Float[Tensor, " N"],
    correct_N: Bool[Tensor, " N"],
    history_N: Float[Tensor, " N"],
    floor: float = -0.7,
    tolerance: float = 0.1,
) -> Float[Tensor, " N"]:
    """The released code's other shape: ``1 - L/h`` below ``h``, 0 up to ``(1 + tolerance) h``, then falling.

    It falls by ``1 / h`` a token, to ``floor`` for a correct response and -1 for a wrong one; a wrong one earns nothing
    for being short. Without a history: 0.
    """
    ratio_N = length_N / history_N
    excess_N = -(ratio_N - 1 - tolerance).clamp(min=0.0)
    right_N = (1 - ratio_N).clamp(min=0.0) + excess_N.clamp(min=floor)
    return torch.where(correct_N, right_N, excess_N.clamp(min=-1.0)).nan_to_num(nan=0.0)


@final
@dataclass(frozen=True, kw_only=True)
class HistoryLength(StatefulReward):
    """The history-aware length term of HAPO (arXiv 2505.11225), in [-1, 1]; a term to add to correctness.

    ``h`` is the length of the shortest correct response that the prompt has had in earlier steps (tokens).
    ``f = cos(min(pi/2 L/h, pi))`` is 1 for nothing, 0 at ``h``, -1 from ``2 h`` on; a correct response earns
    ``max(f, floor)``, a wrong one ``min(f, 0)``, both 0 at the prompt's first visit. ``h`` moves after the batch. The
    weight ``w`` of the paper (1.0, at most 1) belongs to a surrounding ``scale``. Added to 1 for correct, 0 for wrong,
    it keeps every correct response above every wrong one where ``w |floor| < 1``: for a floor above -1, up to a weight
    of 1 at least. Within one epoch each prompt is met once, and the term stays 0.

    Prompts are told apart by the column ``prompt_key``, the same in every epoch; training fills it in. The state is one
    number for each prompt that was ever solved (two with "mean"): some 30 bytes of JSON, 3 MB for 100,000 prompts, in
    each checkpoint. A response without tokens counts as one token, and any length is a history: the released code takes
    one of 0, or of 100,000 tokens and more, for none.

    Args:
        floor: the least a correct response earns.
        mode: "min" keeps the shortest correct length; "mean" the mean of all correct ones so far (the released code
            truncates it to whole tokens and counts responses of one visit several times; this is the true mean).
        shape: "cosine", or "linear" as in the released code (see :func:`linear_history_length`).
        tolerance: of "linear".
        remembered: prompts whose history is kept; the one solved longest ago makes room.

    >>> reward = HistoryLength()
    >>> batch = RolloutBatch.of(group=[0, 0], length=[1000, 1400], correct=[1, 1], prompt_key=["sum", "sum"])
    >>> first, state = reward(batch)
    >>> first.tolist(), state
    ([0.0, 0.0], {'length': {'sum': 1000.0}, 'count': {}})
    >>> reward(batch.replace(length=[400, 1400]), state)[0]
    tensor([ 0.8090, -0.5878], dtype=torch.float64)
    """

    floor: float = -0.7
    mode: Literal["min", "mean"] = "min"
    shape: Literal["cosine", "linear"] = "cosine"
    tolerance: float = 0.1
    remembered: int = REMEMBERED
    scope = Scope.RESPONSE
    requires = frozenset({PROMPT_KEY})
    is_term = True

    def __post_init__(self) -> None:
        if not -1 <= self.floor <= 0 or self.tolerance < 0:
            raise ConfigError(
                f"history_length: floor is {self.floor} and tolerance {self.tolerance}; "
                "give a floor between -1 and 0, and a tolerance of 0 or more"
            )
        if self.mode not in ("min", "mean") or self.shape not in ("cosine", "linear"):
            raise ConfigError(
                f"history_length: mode is {self.mode!r} and shape {self.shape!r}; "
                "give mode min or mean, and shape cosine or linear"
            )
        check_remembered("history_length", self.remembered)

    def init(self) -> State:
        """No prompt has a history."""
        return {"length": {}, "count": {}}

    def update(self, batch: RolloutBatch, state: State) -> tuple[RewardN, State]:
        """The term against the history so far; then this batch's correct responses join it."""
        keys, key_N = prompts_of(batch)
        known = state["length"]
        history_K = batch.length.new_tensor([known.get(key, math.nan) for key in keys])
        length_N, correct_N, history_N = batch.length, batch.correct == 1, history_K[key_N]
        if self.shape == "linear":
            term_N = linear_history_length(length_N, correct_N, history_N, self.floor, self.tolerance)
        else:
            term_N = history_length(length_N, correct_N, history_N, self.floor)

        length_N = length_N.clamp(min=1)
        shortest_K = group_min(length_N, key_N, correct_N).tolist()
        total_K = group_sum(length_N, key_N, correct_N).tolist()
        count_K = [int(count) for count in group_count(key_N, correct_N).tolist()]
        length: dict[str, float] = {}
        count: dict[str, int] = {}
        for code, key in enumerate(keys):
            if not count_K[code]:
                continue
            if self.mode == "min":
                length[key] = min(known.get(key, math.inf), shortest_K[code])
            else:
                before = state["count"].get(key, 0)
                count[key] = before + count_K[code]
                length[key] = (before * known.get(key, 0.0) + total_K[code]) / count[key]
        return term_N, {
            "length": updated(known, length, self.remembered),
            "count": updated(state["count"], count, self.remembered),
        }

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """How many prompts have a history."""
        return {"prompts": len(state["length"])}

    def wrong_state(self, state: State) -> str | None:
        """A length below one token, or a mean without the count that it is of."""
        length, count = state["length"], state["count"]
        for key, tokens in length.items():
            if tokens < 1:
                return f"length.{key} is {tokens}; give 1 token or more"
        if self.mode == "min":
            return None
        if alone := sorted(length.keys() ^ count.keys()):
            return f"{alone[0]!r} is in one of length and count only; give both, or neither"
        return wrong_count({f"count.{key}": number for key, number in count.items()}, least=1)

    def taken_over(self, before: HistoryLength, saved: State) -> State | None:
        """Nothing from another mode: the shortest length is no mean, and a mean no shortest length."""
        return saved if before.mode == self.mode else None
