"""The effort task: the search task, asked for at a level of effort, which the chat template is told of.

The level stands before the question, as in ``low 21 42 13 times 91 is 119 ?``. The traces that the shipped policy has
learnt from repeat less at low and more at high, and it does, too, as models that were taught levels by supervision do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from leanthink.data.efforts import Efforts
from leanthink.testbed.search import Search

LEVELS: Final = Efforts(levels=("low", "medium", "high"), argument="reasoning_effort")
"""How a prompt states its level, as current models have it."""


@dataclass(frozen=True, kw_only=True)
class Effort(Search):
    """The constants of the task: those of the search task, and words for the levels.

    Attributes:
        spread: how much seldomer a try is done again at low than at medium, and how much oftener at high.
    """

    spread: float = 0.15

    def at(self, level: str | None) -> Effort:
        """The task as traces of a level have it; without one, as at medium.

        >>> [round(Effort().at(level).repeat_success, 2) for level in ("low", None, "high")]
        [0.6, 0.75, 0.9]
        """
        more = 0.0 if level is None else (LEVELS.levels.index(level) - 1) * self.spread
        return replace(self, repeat_failure=self.repeat_failure + more, repeat_success=self.repeat_success + more)

    @property
    def words(self) -> tuple[str, ...]:
        """Every word of a question, a level or a trace."""
        return (*super().words, *LEVELS.levels)
