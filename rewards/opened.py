"""Rewards that have each response of a prompt begin in a given way, as an agent loop then samples it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, final

from leanthink.core.reward import Reward

MODE: Final = "mode"
"""The column of a response's mode: 1 for long, 0 for short thinking."""

MANY: Final = 840
"""Rollouts that most numbers of modes divide: to ask how responses begin, before it is known how many there are."""


@final
@dataclass(frozen=True, kw_only=True)
class Opening:
    """How one response begins.

    Attributes:
        text: what it begins with: given, not sampled.
        instruction: put in front of the question where it is sampled, and not where it is trained on.
        one_token: whether the text has to be one token of the model's.
        is_trained: whether the loss sees the text's tokens.
        limit: the most tokens that the response may have, the text included; None for the run's.
        columns: what the response brings along.
    """

    text: str
    instruction: str = ""
    one_token: bool = False
    is_trained: bool = False
    limit: int | None = None
    columns: Mapping[str, float] = field(default_factory=dict)


class OpenedReward(Reward):
    """A reward that says how the responses to a prompt begin. Write :meth:`opening`.

    Log-probabilities at sampling do not hold for what was given, so verl has to compute them anew (no ``bypass_mode``).
    """

    @abstractmethod
    def opening(self, session: int, rollouts: int) -> Opening:
        """How the response number ``session`` (from 0) of ``rollouts`` to a prompt begins.

        Raises:
            ConfigError: a prompt has not as many rollouts as it takes.
        """
