"""Demystifying Long Chain-of-Thought: penalties for repeated n-grams, by token and by response."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import final

from leanthink.errors import ConfigError
from leanthink.measured import TextReward, TokenReward


def repeated(tokens: Sequence[Hashable], size: int) -> list[bool]:
    """Which tokens belong to an n-gram of ``size`` tokens that stood there before.

    >>> repeated([5, 6, 7, 5, 6, 7, 8], size=3)
    [False, False, False, True, True, True, False]
    """
    flags = [False] * len(tokens)
    seen = set()
    for start in range(len(tokens) - size + 1):
        ngram = tuple(tokens[start : start + size])
        if ngram in seen:
            flags[start : start + size] = [True] * size
        seen.add(ngram)
    return flags


@final
@dataclass(frozen=True, kw_only=True)
class Repetition(TokenReward):
    """The n-gram penalty of Demystifying Long Chain-of-Thought (arXiv 2502.03373, App. C.2, Alg. 1); a term to add.

    ``penalty`` for each token of an n-gram that the response has had before, once for each token however many such
    n-grams hold it. The paper pays it token by token, with a discount of 0.99 of its own in PPO; here it is the sum
    over the response, as an advantage with one number per response needs it. That sum has no floor: a response that
    loops for 10,000 tokens gets -500. Under 0.99 no token's return is below ``penalty / (1 - 0.99)`` = -5: put it
    under a ``clip`` with ``low: -5``.

    Args:
        size: tokens of an n-gram, ``N``; a shorter response gets 0. The paper uses 40, its code's default is 20.
        penalty: ``P``, 0 or less.

    >>> round(Repetition(size=3).measure([5, 6, 7, 5, 6, 7, 8, 5, 6]), 6)
    -0.15
    """

    size: int = 40
    penalty: float = -0.05

    def __post_init__(self) -> None:
        _check("repetition", self.size, "penalty", self.penalty)

    def measure(self, tokens: Sequence[Hashable]) -> float:
        """The penalty summed over the response's tokens."""
        return self.penalty * sum(repeated(tokens, self.size))


@final
@dataclass(frozen=True, kw_only=True)
class WordRepetition(TextReward):
    """The share of repeated word n-grams, times ``max_penalty``: a term that the code of arXiv 2502.03373 has besides.

    ``max_penalty (1 - different / all)`` over the n-grams of lower-cased words between blanks; a text of fewer than
    ``size`` words gets 0, where the code divides by zero. The code pays it to wrong responses only, which is
    ``gate: {column: correct, negate: true, of: {word_repetition: ...}}``.

    Args:
        max_penalty: for a response in which all is repeated, 0 or less. The paper has none, and the code's default is
            0, which is off: there is no value to take over.
        size: words of an n-gram; the code's default is 20.

    >>> WordRepetition(max_penalty=-1.0, size=2).measure("wait so Wait so wait so")
    -0.6
    """

    max_penalty: float
    size: int = 20

    def __post_init__(self) -> None:
        _check("word_repetition", self.size, "max_penalty", self.max_penalty)

    def measure(self, response: str) -> float:
        """The penalty of one response's text."""
        words = response.lower().split()
        ngrams = [tuple(words[start : start + self.size]) for start in range(len(words) - self.size + 1)]
        return self.max_penalty * (len(ngrams) - len(set(ngrams))) / len(ngrams) if ngrams else 0.0


def _check(name: str, size: int, argument: str, penalty: float) -> None:
    if size < 1:
        raise ConfigError(f"{name}: size is {size}; give the length of an n-gram, 1 or more")
    if penalty > 0:
        raise ConfigError(f"{name}: {argument} is {penalty}; it is added to the reward: give 0 or less")
