"""Levels of effort: what length is right goes by the level that the prompt states. ``_N`` responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch, check_values
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.groups import group_max, group_mean, group_min
from leanthink.core.reward import Composite, Part, Reward, RewardN, Scope
from leanthink.rewards.correct import Correct

EFFORT: Final = "effort"
"""The column of a prompt's level of effort: 0 for the least, counting up."""
EFFORT_NAME: Final = "effort_name"
"""The column of the level's name."""

OUTCOME: Final = Correct()
Mean = Literal["group", "right"]


def effort_length(
    reward_N: Float[Tensor, " N"],
    length_N: Float[Tensor, " N"],
    weight_N: Float[Tensor, " N"],
    penalty_N: Float[Tensor, " N"],
    upper_N: Float[Tensor, " N"],
    scales_negative: bool = False,
) -> Float[Tensor, " N"]:
    """``r + r max(x, 0) + p min(x, 0)`` with ``x = min(1, w (1 - L / u))``; a negative ``r`` is scaled if asked."""
    x_N = (weight_N * (1 - length_N / upper_N)).clamp(max=1.0)
    scaled_N = reward_N if scales_negative else reward_N.clamp(min=0.0)
    return reward_N + scaled_N * x_N.clamp(min=0.0) + penalty_N * x_N.clamp(max=0.0)


def levels_of(batch: RolloutBatch, count: int) -> Int[Tensor, " N"]:
    """The level of each response's prompt, the same for a whole group.

    Raises:
        BatchError: a level that is none of ``count``, or two in one group.
    """
    level_N = batch.column(EFFORT)
    cure = f"give a whole number from 0 to {count - 1} (`leanthink prepare --efforts`)"
    check_values(EFFORT, (level_N >= 0) & (level_N < count) & (level_N == level_N.floor()), level_N, cure)
    mixed_G = group_max(level_N, batch.group) != group_min(level_N, batch.group)
    if bool(mixed_G.any()):
        row = int((batch.group == int(mixed_G.nonzero()[0])).nonzero()[0])
        raise BatchError(f"column {EFFORT!r} differs within the group of row {row}; a prompt states one level")
    return level_N.long()


@final
@dataclass(frozen=True, kw_only=True)
class EffortLength(Composite):
    """Effort shaping by levels, as NeMo-RL has it for one (its pull requests 2770 to 4099; no paper).

    ``r + r max(x, 0) + p min(x, 0)`` with ``x = min(1, w (1 - L / u))``: below ``u`` tokens a reward is up to ``w``
    larger, above them it pays ``p w`` for each ``u`` tokens more, right or wrong, without a floor. A level with the
    weight 0 is left alone. NeMo-RL also scales negative rewards, which makes a short wrong response worse than a long
    one; here only if asked. It measures the last message of a conversation; ``counts`` says what is measured here.

    Args:
        of: the reward that is shaped.
        weights: ``w`` by level, the least effort first, each 0 or more; 0.1 for low in the published recipes.
        uppers: ``u`` by level, tokens; choose them near the lengths in use.
        penalty: ``p``, 0 or more; 1.
        scales_negative: scale negative rewards, too.

    The column ``effort`` is the prompt's: 0, 1, ... ``leanthink prepare --efforts`` writes it.

    >>> batch = RolloutBatch.of(group=[0] * 3, length=[500, 8000, 8000], correct=[1, 1, 0], effort=[0] * 3)
    >>> EffortLength(uppers=(4000.0, 8000.0, 16000.0))(batch)[0]
    tensor([ 1.0875,  0.9000, -0.1000], dtype=torch.float64)
    """

    uppers: tuple[float, ...]
    weights: tuple[float, ...] = (0.1, 0.1, 0.0)
    penalty: float = 1.0
    scales_negative: bool = False
    of: Reward = OUTCOME
    own_scope = Scope.GROUP

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.weights) != len(self.uppers) or not self.uppers:
            raise ConfigError(
                f"effort_length: {len(self.weights)} weights and {len(self.uppers)} uppers; give one of each for each "
                "level, the least effort first"
            )
        if min(self.weights) < 0 or min(self.uppers) < 1 or self.penalty < 0:
            raise ConfigError(
                f"effort_length: weights are {self.weights}, uppers {self.uppers} and penalty {self.penalty}; give "
                "weights and penalty 0 or more, and uppers in tokens"
            )

    @property
    def requires(self) -> frozenset[str]:
        """The level, and what the reward reads."""
        return super().requires | {EFFORT}

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The reward, shaped by its level."""
        level_N = levels_of(batch, len(self.uppers))
        weight_N, upper_N = (batch.length.new_tensor(values)[level_N] for values in (self.weights, self.uppers))
        penalty_N = torch.full_like(weight_N, self.penalty)
        return effort_length(part("of", batch), batch.length, weight_N, penalty_N, upper_N, self.scales_negative)


def relative_effort(
    length_N: Float[Tensor, " N"],
    right_N: Bool[Tensor, " N"],
    group_N: Int[Tensor, " N"],
    ratio_N: Float[Tensor, " N"],
    mean: Mean = "group",
) -> Float[Tensor, " N"]:
    """1 for a right response of at most ``ratio`` times its group's mean length, else 0."""
    mean_G = group_mean(length_N, group_N, right_N if mean == "right" else None)
    return (right_N & (length_N <= ratio_N * mean_G[group_N] * (1 + 1e-12))).double()


@final
@dataclass(frozen=True, kw_only=True)
class RelativeEffort(Reward):
    """Adaptive effort control (e1, arXiv 2510.27042): right, and at most ``r`` times as long as its prompt's mean.

    ``c 1[l <= r T]``, ``r`` by the level of effort that the prompt states, ``T`` the current mean length of the
    prompt's responses at this level. As responses become shorter, so does the limit: below 1 the pressure never ends.
    The paper counts the thinking, ``counts: thinking``.

    Its text could not be read beyond the rule in words: over which rollouts ``T`` runs, whether wrong ones count, what
    happens at equality and what a right but longer response earns are ours: the group, yes, within, 0.

    Args:
        ratios: ``r`` by level, the least effort first, rising, each above 0; a continuous range in the paper.
        mean: over the whole "group", or over its "right" responses.

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[800, 1200, 2000, 4000], correct=[1, 1, 0, 1], effort=[1] * 4)
    >>> RelativeEffort(ratios=(0.25, 0.5, 1.0))(batch)[0]
    tensor([1., 0., 0., 0.], dtype=torch.float64)
    """

    ratios: tuple[float, ...] = (0.25, 0.5, 1.0)
    mean: Mean = "group"
    scope = Scope.GROUP
    requires = frozenset({EFFORT})

    def __post_init__(self) -> None:
        if not self.ratios or min(self.ratios) <= 0 or list(self.ratios) != sorted(set(self.ratios)):
            raise ConfigError(
                f"relative_effort: ratios are {self.ratios}; give one for each level, above 0 and rising, the least "
                "effort first"
            )
        if self.mean not in ("group", "right"):
            raise ConfigError(f"relative_effort: mean is {self.mean!r}; give group or right")

    def score(self, batch: RolloutBatch) -> RewardN:
        """The reward of each response."""
        ratio_N = batch.length.new_tensor(self.ratios)[levels_of(batch, len(self.ratios))]
        return relative_effort(batch.length, batch.correct == 1, batch.group, ratio_N, self.mean)
