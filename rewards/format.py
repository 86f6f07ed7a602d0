"""Whether a response keeps the think/answer structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from leanthink.errors import ConfigError
from leanthink.measured import TextReward


def format_ok(response: str, open_tag: str, close_tag: str, opened_by_prompt: bool = False) -> bool:
    """Whether ``response`` is one block of thinking, opened at its start and closed once, then a non-empty answer.

    >>> format_ok("<think> 2+2 </think> 4", "<think>", "</think>")
    True
    >>> format_ok("2+2 </think> 4", "<think>", "</think>", opened_by_prompt=True)
    True
    >>> format_ok("<think> 2+2 </think> ", "<think>", "</think>")
    False
    """
    text = response.lstrip()
    if not opened_by_prompt:
        if not text.startswith(open_tag):
            return False
        text = text.removeprefix(open_tag)
    if open_tag in text or text.count(close_tag) != 1:
        return False
    return bool(text.partition(close_tag)[2].strip())


@final
@dataclass(frozen=True, kw_only=True)
class Format(TextReward):
    """``kept`` for a response in think/answer structure (see :func:`format_ok`), ``broken`` for any other.

    Set ``opened_by_prompt`` where the chat template itself ends in the opening tag, as DeepSeek-R1's does.

    >>> Format().measure("<think> 2+2 </think> 4")
    1.0
    """

    open_tag: str = "<think>"
    close_tag: str = "</think>"
    opened_by_prompt: bool = False
    kept: float = 1.0
    broken: float = 0.0

    def __post_init__(self) -> None:
        if not self.open_tag or not self.close_tag:
            raise ConfigError("format: open_tag and close_tag may not be empty")

    def measure(self, response: str) -> float:
        """``kept`` or ``broken``."""
        return self.kept if format_ok(response, self.open_tag, self.close_tag, self.opened_by_prompt) else self.broken
