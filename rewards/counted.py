"""Length of what? One wrapper for every length term: of the response, its thinking, its answer, or its calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, final, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch, check_values
from leanthink.core.control import BudgetReward
from leanthink.core.errors import ConfigError
from leanthink.core.measured import MeasuredReward
from leanthink.core.placement import Placement
from leanthink.core.reward import Breakdown, Composite, Part, Reward, RewardN, State

Counts: TypeAlias = Literal[
    "response", "thinking", "answer", "tool_tokens", "context", "turns", "calls", "failed_calls", "seconds"
]

THINKING_LENGTH: Final = "thinking_length"
"""The column of the tokens up to the tag that ends the thinking, with it; all where the thinking never ends."""

TOOL_TOKENS: Final = "tool_tokens"
"""The column of the tokens of a response that the policy did not write: what tools returned, and what stood between."""
CONTEXT_TOKENS: Final = "context_tokens"
"""The column of all tokens of a conversation: the prompt, what the policy wrote, what tools returned."""
TURNS: Final = "assistant_turns"
"""The column of how many times the policy wrote."""
CALLS: Final = "tool_calls"
"""The column of tool calls, failed ones included."""
FAILED_CALLS: Final = "failed_calls"
"""The column of calls that no tool could answer."""
SECONDS: Final = "wall_seconds"
"""The column of how long a response took."""

COLUMN_OF: Final[Mapping[str, str]] = {
    "thinking": THINKING_LENGTH,
    "answer": THINKING_LENGTH,
    "tool_tokens": TOOL_TOKENS,
    "context": CONTEXT_TOKENS,
    "turns": TURNS,
    "calls": CALLS,
    "failed_calls": FAILED_CALLS,
    "seconds": SECONDS,
}
"""What each but the response's own length is read from."""


WITHIN: Final = ("thinking", "answer")
"""What is a stretch of the response's own tokens."""


def tokens_of(batch: RolloutBatch, counts: Counts) -> Float[Tensor, " N"]:
    """What counts, in tokens, or turns, calls or seconds. The answer is what stands behind the thinking's end.

    >>> batch = RolloutBatch.of(group=[0, 0], length=[9, 5], correct=[1, 0], thinking_length=[6, 5])
    >>> tokens_of(batch, "answer")
    tensor([3., 0.], dtype=torch.float64)
    """
    if counts == "response":
        return batch.length
    value_N = batch.column(COLUMN_OF[counts])
    check_values(COLUMN_OF[counts], value_N >= 0, value_N, "give 0 or more")
    if counts not in WITHIN:
        return value_N
    thinking_N = torch.minimum(value_N, batch.length)
    return thinking_N if counts == "thinking" else batch.length - thinking_N


@final
@dataclass(frozen=True, kw_only=True)
class Counted(Composite):
    """Another reward, to which a response is as long as its thinking, its answer, or whatever else it costs.

    Everything in it sees that length in place of the response's: means, extremes and budgets are of the same. In YAML
    any reward takes it as an argument: ``kimi_length: {counts: thinking}`` is ``counted: {counts: thinking, of:
    kimi_length}``. The thinking ends with the verifier's ``thinking_end``; one that never ends is all there is, and its
    answer has no token. What is truncated, and right, stays what it is.

    Of what falls on single tokens, only that within the counted ones remains; the rest is neither paid nor charged. A
    part that is measured on the whole response, or one whose budgets become the rollout's limits, is refused.

    Args:
        of: the reward.
        counts: "response", "thinking" or "answer"; or, of responses with tools, "tool_tokens", "context" (the whole
            conversation), "turns", "calls", "failed_calls" or "seconds".

    >>> from leanthink.rewards import KimiLength
    >>> batch = RolloutBatch.of(group=[0] * 2, length=[90, 90], correct=[1, 1], thinking_length=[80, 40])
    >>> Counted(of=KimiLength(), counts="thinking")(batch)[0]
    tensor([-0.5000,  0.5000], dtype=torch.float64)
    """

    of: Reward
    counts: Counts
    carries = frozenset({"of"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.counts not in get_args(Counts):
            raise ConfigError(f"counts is {self.counts!r}; give {', '.join(get_args(Counts))}")
        if self.counts == "response":
            return
        if isinstance(self.of, MeasuredReward) and not self.of.is_placed:
            name = type(self.of).__name__
            raise ConfigError(f"counts is {self.counts!r}, but {name} is measured on the whole response; leave it out")
        if self.of.is_placed and self.of.children():
            raise ConfigError(
                f"counts is {self.counts!r}, but a part of {type(self.of).__name__} pays single tokens, and others may "
                "read lengths; give counts to each part by itself"
            )
        if self.of.is_placed and self.counts not in WITHIN:
            raise ConfigError(
                f"counts is {self.counts!r}, but {type(self.of).__name__} pays single tokens of the response; count "
                f"{' or '.join(WITHIN)}"
            )
        if (part := next((part for part in self.of.walk() if isinstance(part, BudgetReward)), None)) is not None:
            raise ConfigError(
                f"counts is {self.counts!r}, but the budgets of {type(part).__name__} become limits of whole "
                "responses; leave it out"
            )

    @property
    def requires(self) -> frozenset[str]:
        """What the part reads, and what counts."""
        return super().requires | (frozenset() if self.counts == "response" else {COLUMN_OF[self.counts]})

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The part under the length that counts; one that names tokens, those of the whole response, has that."""
        return part("of", batch if self.is_placed else batch.replace(length=tokens_of(batch, self.counts)))

    def breakdown(self, batch: RolloutBatch, state: State | None = None) -> Breakdown:
        """The part, without what falls on tokens that do not count."""
        result = super().breakdown(batch, state)
        if result.placement is None or self.counts == "response":
            return result
        kept_K = self._counted(batch, result.placement)
        lost = result.placement
        reward_N = result.reward.index_add(0, lost.row, -torch.where(kept_K, 0.0, lost.amount.double()))
        placement = Placement(row=lost.row[kept_K], token=lost.token[kept_K], amount=lost.amount[kept_K])
        return dataclasses.replace(result, reward=reward_N, placement=placement)

    def _counted(self, batch: RolloutBatch, placement: Placement) -> Bool[Tensor, " K"]:
        inside_K = placement.token < tokens_of(batch, "thinking")[placement.row]
        return inside_K if self.counts == "thinking" else ~inside_K
