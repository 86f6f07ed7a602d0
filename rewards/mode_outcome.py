"""Thinkless: a right short answer earns more than a right long one; the policy chooses by its first token."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final, final

import torch

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.measured import TextReward
from leanthink.core.reward import Breakdown, RewardN, State
from leanthink.rewards.think_outcome import has_box

MALFORMED: Final = 0.0
SHORT: Final = 1.0
LONG: Final = 2.0


def mode_of(text: str, short_tag: str, long_tag: str, close_tag: str) -> float:
    r"""1 for a short and 2 for a long response in form, 0 for any other.

    The mode is what stands first. A short response has a box behind it, a long one behind the tag that ends its
    thinking.

    >>> mode_of(r"<short> \boxed{4}", "<short>", "<think>", "</think>")
    1.0
    >>> mode_of(r"<think> <short> </think> \boxed{4}", "<short>", "<think>", "</think>")
    2.0
    >>> mode_of(r"<think> \boxed{4}", "<short>", "<think>", "</think>")
    0.0
    """
    text = text.lstrip()
    if text.startswith(short_tag):
        return SHORT if has_box(text.removeprefix(short_tag)) else MALFORMED
    if text.startswith(long_tag):
        _, closed, answer = text.removeprefix(long_tag).partition(close_tag)
        return LONG if closed and has_box(answer) else MALFORMED
    return MALFORMED


@final
@dataclass(frozen=True, kw_only=True)
class ModeOutcome(TextReward):
    r"""The reward of Thinkless (arXiv 2505.13379): 1 for a right short, 0.5 for a right long answer, -1 for all else.

    The first token of a response is its mode: nothing is given or forced, the policy chooses. So the model must know
    both tokens, from fine-tuning on both styles, and each must be one token of its tokenizer. Form: one of the tokens
    first, the thinking closed where there is one, and a box behind. Truncated thinking has none. The released code
    searches prompt and response for the short token; here the response's first counts. The breakdown has the three
    cases as parts, which add up: ``short``, ``long``, ``malformed``.

    For the loss that averages the mode's token apart: `degrpo`. Use ``grpo: {scale: none}``.

    Args:
        short_right: for a right short answer.
        long_right: for a right long one, ``1 - gamma`` in the paper; at most ``short_right``.
        wrong: for a wrong one.
        malformed: for a response out of form, right or wrong; not above ``wrong``.
        short_tag: the token that a short answer begins with.
        long_tag: the token that thinking begins with.
        close_tag: what ends the thinking.

    >>> reward = ModeOutcome()
    >>> columns = {reward.column: [1, 2, 2, 0]}
    >>> reward(RolloutBatch.of(group=[0] * 4, length=[9, 90, 80, 99], correct=[1, 1, 0, 1]).replace(**columns))[0]
    tensor([ 1.0000,  0.5000, -1.0000, -1.0000], dtype=torch.float64)
    """

    short_right: float = 1.0
    long_right: float = 0.5
    wrong: float = -1.0
    malformed: float = -1.0
    short_tag: str = "<short>"
    long_tag: str = "<think>"
    close_tag: str = "</think>"
    is_term = False

    def __post_init__(self) -> None:
        if not self.short_right >= self.long_right > self.wrong >= self.malformed:
            raise ConfigError(
                f"mode_outcome: short_right is {self.short_right}, long_right {self.long_right}, wrong {self.wrong} "
                f"and malformed {self.malformed}; give none above the one before it, and long_right above wrong"
            )
        if not all((self.short_tag, self.long_tag, self.close_tag)) or self.short_tag == self.long_tag:
            raise ConfigError("mode_outcome: short_tag, long_tag and close_tag may not be empty; give two that differ")

    @property
    def single_tokens(self) -> tuple[str, ...]:
        """What has to be one token of the model's."""
        return self.short_tag, self.long_tag

    def measure(self, response: str) -> float:
        """The mode of one response's text (see :func:`mode_of`)."""
        return mode_of(response, self.short_tag, self.long_tag, self.close_tag)

    def score(self, batch: RolloutBatch) -> RewardN:
        """The outcome of each response."""
        return torch.stack(list(self._cases(batch).values())).sum(0)

    def breakdown(self, batch: RolloutBatch, state: State | None = None) -> Breakdown:
        """The outcome with its three cases."""
        return dataclasses.replace(super().breakdown(batch, state), parts=self._cases(batch))

    def _cases(self, batch: RolloutBatch) -> dict[str, RewardN]:
        mode_N = batch.column(self.column)
        zero_N = torch.zeros_like(mode_N)
        cases = {}
        for name, mode, right in (("short", SHORT, self.short_right), ("long", LONG, self.long_right)):
            paid_N = torch.where(batch.correct == 1, right, torch.full_like(mode_N, self.wrong))
            cases[name] = torch.where(mode_N == mode, paid_N, zero_N)
        return {**cases, "malformed": torch.where(mode_N == MALFORMED, torch.full_like(mode_N, self.malformed), zero_N)}
