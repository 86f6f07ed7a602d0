"""Adaptive deep reasoning: the mode that a prompt needs, long or short, earns a bonus.

``_N`` responses, ``_G`` groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch, check_values
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_mean
from leanthink.core.reward import RewardN, Scope, State
from leanthink.core.schedules import Number, at, bounds
from leanthink.rewards.opened import MODE, OpenedReward, Opening


def preferred_modes(
    correct_N: Bool[Tensor, " N"],
    long_N: Bool[Tensor, " N"],
    group_N: Int[Tensor, " N"],
    threshold: float,
    margin: float | None = None,
) -> Int[Tensor, " G"]:
    """Of each group, 1 where long is preferred, -1 where short is, 0 where neither.

    Short, where its accuracy is at least ``threshold``, or, with a ``margin``, that of long less this, or where it is
    right at times and long never. No preference where nothing is right, or where one mode has no response.
    """
    long_G = group_mean(correct_N.double(), group_N, long_N)
    short_G = group_mean(correct_N.double(), group_N, ~long_N)
    known_G = ~(long_G.isnan() | short_G.isnan()) & ((long_G > 0) | (short_G > 0))
    enough_G = torch.full_like(short_G, threshold) if margin is None else long_G - margin - 1e-9
    easy_G = (short_G >= enough_G) | ((long_G == 0) & (short_G > 0))
    return torch.where(known_G, torch.where(easy_G, -1, 1), 0)


def mode_switch_reward(
    correct_N: Bool[Tensor, " N"],
    long_N: Bool[Tensor, " N"],
    group_N: Int[Tensor, " N"],
    threshold: float = 0.75,
    base: float = 1.0,
    bonus: float = 0.5,
    wrong: float = 0.0,
    margin: float | None = None,
) -> Float[Tensor, " N"]:
    """``base`` for a correct response, ``bonus`` more in the preferred mode, ``wrong`` for a wrong one."""
    preferred_N = preferred_modes(correct_N, long_N, group_N, threshold, margin)[group_N]
    matches_N = preferred_N == torch.where(long_N, 1, -1)
    return torch.where(correct_N, base + bonus * matches_N, torch.full_like(matches_N, wrong, dtype=torch.float64))


@final
@dataclass(frozen=True, kw_only=True)
class ModeSwitchReward(OpenedReward):
    """The reward by mode of Adaptive Deep Reasoning (arXiv 2505.20101), as far as it is known.

    Half of a group is sampled in each mode. Where short answers are accurate enough, the prompt is easy: a correct
    short response earns ``base + bonus``, a correct long one ``base``; on other prompts the other way round. The reward
    on easy prompts and a warm-up are confirmed at second hand; the test of easiness, its threshold, the reward on hard
    prompts and of wrong answers, and the warm-up's form are this library's. Where short is right at times and long
    never, the prompt is easy whatever the threshold; where nothing is right, or one mode has no response, nobody earns
    the bonus. Truncated: wrong, even if the answer stood before the cut, also for the test of easiness.

    Training samples in this way where this part is in the reward: the first half of ``actor_rollout_ref.rollout.n``
    responses (one more, of an odd number) answers the prompt with the instruction for long thinking in front of it, the
    others with that for short, and each begins with its mode's opening, which is given, not sampled, and masked out of
    the loss. What is trained on is the prompt without the instruction, so verl must compute old log-probabilities anew
    (no ``bypass_mode``). For a length penalty on long answers only, add ``gate: {column: mode, of: ...}``.

    Args:
        threshold: the accuracy of short answers from which a prompt is easy, in (0, 1].
        margin: instead of the threshold, the prompt is easy where the accuracy of short answers is at most this below
            that of long ones, in [0, 1); None: by the threshold. The paper's test is not known.
        base: for a correct response.
        bonus: for one in the preferred mode, in addition.
        wrong: for a wrong one.
        warm_up: what counts of the bonus, in [0, 1]; a schedule from 0 to 1 begins with plain correctness.
        long_opening: the token that long thinking begins with; one token of the model's.
        short_opening: the token that short thinking begins with.
        long_instruction: put in front of the question where long thinking is sampled; may be empty.
        short_instruction: and where short thinking is.

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[90, 80, 9, 8], correct=[1, 0, 1, 1], mode=[1, 1, 0, 0])
    >>> ModeSwitchReward()(batch)[0]
    tensor([1.0000, 0.0000, 1.5000, 1.5000], dtype=torch.float64)
    """

    threshold: float = 0.75
    margin: float | None = None
    base: float = 1.0
    bonus: float = 0.5
    wrong: float = 0.0
    warm_up: Number = 1.0
    long_opening: str = "<think>"
    short_opening: str = "</think>"
    long_instruction: str = "[Please answer with Long CoT]"
    short_instruction: str = "[Please answer with Short CoT]"
    scope = Scope.GROUP
    requires = frozenset({MODE})

    def __post_init__(self) -> None:
        low, high = bounds(self.warm_up)
        for name, fine, allowed in (
            ("threshold", 0 < self.threshold <= 1, "above 0 and up to 1"),
            ("margin", self.margin is None or 0 <= self.margin < 1, "0 or more, below 1, or nothing"),
            ("base", self.base > self.wrong, f"more than a wrong response earns, {self.wrong}"),
            ("bonus", self.bonus >= 0, "0 or more"),
            ("warm_up", not (low < 0 or high > 1), "0 to 1"),
            ("long_opening", bool(self.long_opening), "the token that long thinking begins with"),
            ("short_opening", self.short_opening not in ("", self.long_opening), "another token than long_opening"),
        ):
            if not fine:
                raise ConfigError(f"mode_switch_reward: {name} is {getattr(self, name)!r}; give {allowed}")

    def opening(self, session: int, rollouts: int) -> Opening:
        """Long for the first half of a group, and one more of an odd number; short for the others."""
        long = session < (rollouts + 1) // 2
        text, instruction = (
            (self.long_opening, self.long_instruction) if long else (self.short_opening, self.short_instruction)
        )
        return Opening(text=text, instruction=instruction, one_token=True, columns={MODE: float(long)})

    def score(self, batch: RolloutBatch) -> RewardN:
        """The reward of each response."""
        bonus = self.bonus * at(self.warm_up, batch.step)
        mode_N = batch.column(MODE)
        check_values(MODE, (mode_N == 0) | (mode_N == 1), mode_N, "give 1 for long thinking and 0 for short")
        right_N = (batch.correct == 1) & ~batch.truncated
        return mode_switch_reward(
            right_N, mode_N == 1, batch.group, self.threshold, self.base, bonus, self.wrong, self.margin
        )

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """What counts of the bonus at the step."""
        return {"warm_up": at(self.warm_up, step)}
