"""Whether a response keeps the think/answer structure: as a whole, or one pair of its tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

from leanthink.core.errors import ConfigError
from leanthink.core.measured import TextReward

Tags: TypeAlias = tuple[str, str]
"""What opens a block, and what closes it."""


def format_ok(
    response: str,
    open_tag: str,
    close_tag: str,
    opened_by_prompt: bool = False,
    answer_tags: Tags | None = None,
    strict: bool = False,
) -> bool:
    """Whether ``response`` is one block of thinking, opened at its start and closed once, then a non-empty answer.

    With ``answer_tags`` the answer is one block between them, white space around it. ``strict`` allows no sign ``<``
    within either block, nothing before the first, no thinking of white space, and behind the block of an answer one
    line end at most.

    >>> format_ok("<think> 2+2 </think> 4", "<think>", "</think>")
    True
    >>> format_ok("2+2 </think> 4", "<think>", "</think>", opened_by_prompt=True)
    True
    >>> format_ok("<think> 2+2 </think> ", "<think>", "</think>")
    False
    >>> format_ok("<think> 2+2 </think> <a> 4 </a>", "<think>", "</think>", answer_tags=("<a>", "</a>"))
    True
    """
    text = response if strict else response.lstrip()
    if not opened_by_prompt:
        if not text.startswith(open_tag):
            return False
        text = text.removeprefix(open_tag)
    if open_tag in text or text.count(close_tag) != 1:
        return False
    thinking, _, answer = text.partition(close_tag)
    if answer_tags is not None:
        begin, end = answer_tags
        answer = answer.lstrip().removesuffix("\n") if strict else answer.strip()
        if not (answer.startswith(begin) and answer.endswith(end) and text.count(begin) == text.count(end) == 1):
            return False
        answer = answer.removeprefix(begin).removesuffix(end)
    if strict and ("<" in thinking + answer or not thinking.strip()):
        return False
    return bool(answer.strip())


@final
@dataclass(frozen=True, kw_only=True)
class Format(TextReward):
    """``kept`` for a response in think/answer structure (see :func:`format_ok`), ``broken`` for any other.

    Args:
        open_tag: what opens the thinking.
        close_tag: what closes it.
        opened_by_prompt: the chat template itself ends in the opening tag, as DeepSeek-R1's does.
        answer_tags: what opens and closes the answer; None for an answer without tags. VL-Cogito (arXiv 2507.22607) has
            `<answer>` and `</answer>`.
        strict: refuse any further `<`, as Long⊗Short's released code does (arXiv 2505.11827): ``a < b`` breaks the
            format.
        kept: for the structure.
        broken: for any other.

    >>> Format().measure("<think> 2+2 </think> 4")
    1.0
    """

    open_tag: str = "<think>"
    close_tag: str = "</think>"
    opened_by_prompt: bool = False
    answer_tags: Tags | None = None
    strict: bool = False
    kept: float = 1.0
    broken: float = 0.0

    def __post_init__(self) -> None:
        if not all((self.open_tag, self.close_tag, *(self.answer_tags or ()))):
            raise ConfigError("format: open_tag, close_tag and answer_tags may not be empty; give the model's own")

    def measure(self, response: str) -> float:
        """``kept`` or ``broken``."""
        whole = format_ok(response, self.open_tag, self.close_tag, self.opened_by_prompt, self.answer_tags, self.strict)
        return self.kept if whole else self.broken


@final
@dataclass(frozen=True, kw_only=True)
class TagPair(TextReward):
    """1 where a response has each of two tags once, in order, and the pair lies apart from another pair; else 0.

    ``I_think`` or ``I_answer`` of Train Long, Think Short (arXiv 2508.08940, Sec. 3), whose format reward is
    ``a_think I_think + a_answer I_answer``: a `sum` of two of these. What stands between the tags plays no part.

    Args:
        open_tag: what opens the block.
        close_tag: what closes it.
        apart_from: the tags of the other pair; where both pairs are there, their blocks may not overlap.
        opened_by_prompt: the chat template ends in ``open_tag``.

    >>> TagPair().measure("2+2 <answer> 4 </answer>"), TagPair().measure("</answer> 4 <answer>")
    (1.0, 0.0)
    """

    open_tag: str = "<answer>"
    close_tag: str = "</answer>"
    apart_from: Tags | None = None
    opened_by_prompt: bool = False

    def __post_init__(self) -> None:
        if not all((self.open_tag, self.close_tag, *(self.apart_from or ()))):
            raise ConfigError("tag_pair: open_tag, close_tag and apart_from may not be empty; give the model's own")

    def measure(self, response: str) -> float:
        """1 or 0."""
        text = self.open_tag + response if self.opened_by_prompt else response
        mine = _block(text, (self.open_tag, self.close_tag))
        other = None if self.apart_from is None else _block(text, self.apart_from)
        if mine is None:
            return 0.0
        return float(other is None or mine[1] <= other[0] or other[1] <= mine[0])


def _block(text: str, tags: Tags) -> tuple[int, int] | None:
    """Where the block between two tags stands, tags included; None unless each is there once, in order."""
    begin, end = (text.find(tag) for tag in tags)
    if not 0 <= begin < end or any(text.count(tag) != 1 for tag in tags):
        return None
    return begin, end + len(tags[1])
