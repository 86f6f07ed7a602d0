r"""VSRM's outcome: right or wrong where the thinking is closed and an answer boxed, else a penalty for the form."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Final, final

import torch

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.measured import TextReward
from leanthink.core.reward import Breakdown, RewardN, State
from leanthink.rewards.segmentation import find_thinking

NO_BLOCK: Final = 0.0
NO_BOX: Final = 1.0
ANSWERED: Final = 2.0

_BOXES: Final = ("\\boxed", "\\fbox")
_BRACE: Final = re.compile(r"\\[{}]|[{}]")  # an escaped one is no brace


def has_box(text: str) -> bool:
    r"""Whether the last box of a text closes, braces inside it in balance; ``\boxed 5`` needs none.

    >>> has_box(r"\boxed{\frac{1}{2}}"), has_box(r"\boxed{1} or \boxed{2"), has_box("2")
    (True, False, False)
    """
    start = max(text.rfind(name) + len(name) if name in text else -1 for name in _BOXES)
    if start < 0:
        return False
    content = text[start:].lstrip()
    if not content.startswith("{"):
        return text[start : start + 1].isspace() and bool(content)  # \boxed 5
    depth = 0
    for brace in _BRACE.finditer(content):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return True
    return False


def form_of(text: str, open_tag: str, close_tag: str, opened_by_prompt: bool = False) -> float:
    r"""2 for a closed block of thinking and a boxed answer anywhere, 1 without a box, 0 without such a block.

    >>> form_of(r"<think> 4 </think> \boxed{4}", "<think>", "</think>"), form_of("4", "<think>", "</think>")
    (2.0, 0.0)
    """
    thinking = find_thinking(text, open_tag, close_tag, opened_by_prompt)
    if thinking is None or thinking.closed is None:
        return NO_BLOCK
    return ANSWERED if has_box(text) else NO_BOX


@final
@dataclass(frozen=True, kw_only=True)
class ThinkOutcome(TextReward):
    r"""``right`` or ``wrong`` for a closed block of thinking with a boxed answer, else ``no_box`` or ``no_block``.

    The outcome of VSRM's code (arXiv 2508.10293): 1, 0, -9.5 and -10, which the paper does not confirm. Without a
    closed block the verdict plays no part, so that a right answer may earn less than a wrong one. The last box of the
    response counts, also in the thinking; it must close. The verdict itself is the verifier's, which reads the answer
    part only. The breakdown has the three cases as parts, which add up: ``answered``, ``no_box``, ``no_block``.

    One verifier judges outcomes and probes. VSRM's code compares the outcome more loosely, and probes as strings: to it
    an answer is right within a ten-thousandth of the gold one, and where it is 100 times that or a hundredth. Here
    ``50`` is not ``0.5``; only a written percentage, ``50\%``, equals both.

    Args:
        right: for a right answer.
        wrong: for a wrong one.
        no_box: for a closed block and no box that closes.
        no_block: for no opening tag, or none that closes it after.
        open_tag: what opens the thinking.
        close_tag: what closes it.
        opened_by_prompt: the chat template ends in the opening tag, as DeepSeek-R1's does.

    >>> ThinkOutcome().measure("<think> 4 </think> It is 4.")
    1.0
    """

    right: float = 1.0
    wrong: float = 0.0
    no_box: float = -9.5
    no_block: float = -10.0
    open_tag: str = "<think>"
    close_tag: str = "</think>"
    opened_by_prompt: bool = False
    is_term = False

    def __post_init__(self) -> None:
        if not self.open_tag or not self.close_tag:
            raise ConfigError("think_outcome: open_tag and close_tag may not be empty")
        if not self.right > self.wrong >= max(self.no_box, self.no_block):
            raise ConfigError(
                f"think_outcome: right is {self.right}, wrong {self.wrong}, no_box {self.no_box} and no_block "
                f"{self.no_block}; give right above wrong, and wrong not below the other two"
            )

    def measure(self, response: str) -> float:
        """The form of one response's text, 0 to 2 (see :func:`form_of`)."""
        return form_of(response, self.open_tag, self.close_tag, self.opened_by_prompt)

    def score(self, batch: RolloutBatch) -> RewardN:
        """The outcome of each response."""
        return torch.stack(list(self._cases(batch).values())).sum(0)

    def breakdown(self, batch: RolloutBatch, state: State | None = None) -> Breakdown:
        """The outcome with its three cases."""
        return dataclasses.replace(super().breakdown(batch, state), parts=self._cases(batch))

    def _cases(self, batch: RolloutBatch) -> dict[str, RewardN]:
        form_N = batch.column(self.column)
        verdict_N = torch.where(batch.correct == 1, self.right, torch.full_like(form_N, self.wrong))
        zero_N = torch.zeros_like(form_N)
        return {
            "answered": torch.where(form_N == ANSWERED, verdict_N, zero_N),
            "no_box": torch.where(form_N == NO_BOX, torch.full_like(form_N, self.no_box), zero_N),
            "no_block": torch.where(form_N == NO_BLOCK, torch.full_like(form_N, self.no_block), zero_N),
        }
