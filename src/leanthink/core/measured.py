"""Rewards measured on each response where it is: in the reward worker, which has its text and its tokens."""

from __future__ import annotations

import asyncio
import dataclasses
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import ClassVar

from leanthink.core.batch import RolloutBatch
from leanthink.core.reward import Reward, RewardN


class MeasuredReward(Reward):
    """A reward measured on each response where it is: in the reward worker, not on the driver.

    Its value travels as the column :attr:`column`. Subclass :class:`TextReward`,
    :class:`TokenReward` or :class:`PromptReward`.
    """

    is_term = True
    of_tokens: ClassVar[bool] = False  # measured on tokens, not on the text

    @property
    def column(self) -> str:
        """The column the measured values travel in: the reward and its settings, so that two of them never clash.

        ``1`` and ``1.0`` give the same name, as they make equal rewards.
        """
        if not dataclasses.is_dataclass(self):
            return repr(self)
        settings = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        whole = {name: float(value) for name, value in settings.items() if type(value) is int}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in (settings | whole).items())})"

    @property
    def requires(self) -> frozenset[str]:
        """The column of measured values."""
        return frozenset({self.column})

    @abstractmethod
    def value_of(self, text: str, tokens: Sequence[Hashable]) -> float | str:
        """The value of one response, given as text (without its end token) and as tokens (with it).

        A text where one number does not tell enough; :meth:`score` then makes numbers of it.
        """

    def score(self, batch: RolloutBatch) -> RewardN:
        """The values measured where the response was."""
        return batch.column(self.column)


class TextReward(MeasuredReward):
    """A reward measured on each response's text. Write :meth:`measure`."""

    @abstractmethod
    def measure(self, response: str) -> float:
        """The value of one response's text."""

    def value_of(self, text: str, tokens: Sequence[Hashable]) -> float:
        """The value of the text."""
        return self.measure(text)


class TokenReward(MeasuredReward):
    """A reward measured on each response's token ids. Write :meth:`measure`.

    Tokens are told apart, and nothing else: a replay of stored texts may give words in their place.
    """

    of_tokens = True

    @abstractmethod
    def measure(self, tokens: Sequence[Hashable]) -> float:
        """The value of one response's tokens, its end token included."""

    def value_of(self, text: str, tokens: Sequence[Hashable]) -> float:
        """The value of the tokens."""
        return self.measure(tokens)


class PromptReward(MeasuredReward):
    """A reward measured on a correct response and its prompt, by what may take its time. Write :meth:`ask`.

    A response that is not correct, or that was truncated, is not asked about: its value is NaN, which :meth:`score` has
    to bear.
    """

    @abstractmethod
    async def ask(self, prompt: str, response: str) -> float:
        """The value of one response, given as text, to a prompt; NaN where there is none."""

    def value_of(self, text: str, tokens: Sequence[Hashable]) -> float:
        """The value of the text, to a prompt that is not known."""
        return asyncio.run(self.ask("", text))
