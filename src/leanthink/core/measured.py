"""Rewards measured on each response where it is: in the reward worker, which has its text and its tokens."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import re
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

from leanthink.core.batch import RolloutBatch
from leanthink.core.functions import short_name
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
        """The column the measured values travel in: the reward's short name, with the settings that are not at default.

        Two rewards of different settings never share a column; ``1`` and ``1.0`` name the same one. A class of one's
        own that is no dataclass, and so has no settings that can be told, goes by its name alone. Data in which
        ``format`` means something else do not clash with ``measured/format``.

        >>> from leanthink.rewards import Repetition
        >>> Repetition().column, Repetition(size=20, penalty=-1).column
        ('measured/repetition', 'measured/repetition(size=20, penalty=-1)')
        """
        names: list[str] = [f.name for f in dataclasses.fields(self)] if dataclasses.is_dataclass(self) else []
        changed = [name for name in names if getattr(self, name) != getattr(type(self), name, dataclasses.MISSING)]
        settings = [f"{name}={_written(getattr(self, name))}" for name in changed]
        name = f"measured/{short_name(type(self))}"
        return f"{name}({', '.join(settings)})" if settings else name

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


def _written(value: Any) -> str:
    """A setting as it stands in a column's name."""
    return repr(int(value)) if isinstance(value, float) and value.is_integer() else repr(value)


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

    One that pays single tokens measures which, as text, and makes numbers of it in ``place``.

    Tokens are told apart, and nothing else: a replay of stored texts may give words in their place.
    """

    of_tokens = True

    @abstractmethod
    def measure(self, tokens: Sequence[Hashable]) -> float | str:
        """The value of one response's tokens, its end token included."""

    def value_of(self, text: str, tokens: Sequence[Hashable]) -> float | str:
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


class PieceReward(MeasuredReward):
    """A reward measured on a correct, complete response by the pieces of its text, one a token. Write :meth:`find`.

    Of any other response the value is "". A replay that has no tokens of its own takes words for them.
    """

    @abstractmethod
    def find(self, prompt: str, pieces: Sequence[str]) -> str:
        """What is found in one response, given as the text that each of its tokens adds; may take its time."""

    def value_of(self, text: str, tokens: Sequence[Hashable]) -> str:
        """What is found in the text, to a prompt that is not known, in as many pieces of like size as tokens."""
        return self.find("", even_pieces(text, len(tokens)))


def even_pieces(text: str, count: int) -> list[str]:
    """A text in ``count`` pieces: its words, if there are as many, else pieces of like size.

    >>> even_pieces("so 4", 2), even_pieces("abcde", 2)
    (['so', ' 4'], ['ab', 'cde'])
    """
    words = re.findall(r"\s*\S+|\s+$", text)
    if len(words) == count:
        return words
    marks = [len(text) * number // count for number in range(count + 1)] if count else []
    return [text[begin:end] for begin, end in itertools.pairwise(marks)]
