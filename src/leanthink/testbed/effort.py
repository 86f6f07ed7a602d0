"""The effort task: the search task, asked for at a level of effort, which the chat template is told of.

The level stands before the question, as in ``low 21 42 13 times 91 is 119 ?``. The shipped policy has read all three
words, and thinks alike at each: what a level means is for training to teach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from leanthink.data.efforts import Efforts
from leanthink.testbed.search import Search

LEVELS: Final = Efforts(levels=("low", "medium", "high"), argument="reasoning_effort")
"""How a prompt states its level, as current models have it."""


@dataclass(frozen=True, kw_only=True)
class Effort(Search):
    """The constants of the task: those of the search task, and words for the levels."""

    @property
    def words(self) -> tuple[str, ...]:
        """Every word of a question, a level or a trace."""
        return (*super().words, *LEVELS.levels)
