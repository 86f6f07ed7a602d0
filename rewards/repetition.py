"""Demystifying Long Chain-of-Thought: penalties for repeated n-grams, by token and by response."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.measured import TextReward, TokenReward
from leanthink.core.placement import Placement
from leanthink.core.reward import PlacedReward, RewardN


def repeated(tokens: Sequence[Hashable], size: int) -> list[bool]:
    """Which tokens belong to an n-gram of ``size`` tokens that stood there before.

    >>> repeated([5, 6, 7, 5, 6, 7, 8], size=3)
    [False, False, False, True, True, True, False]
    """
    seen: set[int] = set()
    flags, end = [], 0
    for start, ngram in enumerate(numbered(tokens, size)):
        if ngram in seen:
            end = start + size
        seen.add(ngram)
        flags.append(start < end)
    return flags + [place < end for place in range(len(flags), len(tokens))]


def numbered(tokens: Sequence[Hashable], size: int) -> list[int]:
    """A number for each n-gram of ``size`` tokens, the same for two n-grams where they are equal.

    An n-gram of twice as many tokens is a pair of n-grams, so that a long one costs hardly more than a short one.

    >>> numbered([5, 6, 7, 5, 6, 7, 8], size=3)
    [0, 1, 2, 0, 3]
    """
    if size > len(tokens):
        return []
    numbers, width = _numbers(tokens), 1
    while width < size:
        step = min(width, size - width)  # the last pair may overlap
        numbers, width = _numbers(zip(numbers, numbers[step:], strict=False)), width + step
    return numbers


def _numbers(values: Iterable[Hashable]) -> list[int]:
    seen: dict[Hashable, int] = {}
    return [seen.setdefault(value, len(seen)) for value in values]


@final
@dataclass(frozen=True, kw_only=True)
class Repetition(TokenReward):
    """The n-gram penalty of Demystifying Long Chain-of-Thought (arXiv 2502.03373, App. C.2, Alg. 1); a term to add.

    ``penalty`` for each token of an n-gram that the response has had before, once for each token however many such
    n-grams hold it. The paper pays it token by token, with a discount of 0.99 of its own in PPO (``token_repetition``);
    here it is the sum over the response, as an advantage with one number per response needs it. That sum has no floor:
    a response that loops for 10,000 tokens gets -500. Under 0.99 no token's return is below ``penalty / (1 - 0.99)`` =
    -5: put it under a ``clip`` with ``low: -5``.

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


def discounted_return(
    spans: Sequence[tuple[int, int]], length: int, penalty: float, discount: float
) -> Float[Tensor, " T+1"]:
    """``G_t``, the discounted sum of ``penalty`` over the tokens of ``spans`` from token ``t`` on; 0 behind the last.

    >>> discounted_return([(2, 4)], 5, -0.05, 0.99)
    tensor([-0.0975, -0.0985, -0.0995, -0.0500,  0.0000,  0.0000],
           dtype=torch.float64)
    """
    left_T = torch.arange(length, -1, -1, dtype=torch.float64)
    power_T = discount**left_T
    sum_T = left_T if discount == 1 else (1 - power_T) / (1 - discount)
    return_T = torch.zeros(length + 1, dtype=torch.float64)
    for start, end in spans:
        if end > length:
            first = max(start, length)
            count = max(end - first, 0)
            total = count if discount == 1 else (1 - discount**count) / (1 - discount)
            return_T[length] += penalty * discount ** (first - length) * total
    for begin, end, depth in reversed(_covered(spans, length)):
        part = slice(length - (end - begin), length)
        return_T[begin:end] = penalty * depth * sum_T[part] + power_T[part] * return_T[end]
    return return_T


def _covered(spans: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int, int]]:
    """The stretches of a response in order, from 0 to ``length``, and how many spans lie over each."""
    changes: Counter[int] = Counter()
    for start, end in spans:
        if start < end:
            changes.update({start: 1})
            changes.update({end: -1})
    stretches, begin, depth = [], 0, 0
    for place, change in [*sorted(changes.items()), (length, 0)]:
        end = min(max(place, 0), length)
        if end > begin:
            stretches.append((begin, end, depth))
            begin = end
        depth += change
    return stretches


@final
@dataclass(frozen=True, kw_only=True)
class TokenRepetition(PlacedReward, TokenReward):
    """As ``repetition``, but paid at the tokens, with a discount of its own (arXiv 2502.03373, Sec. 4.6); a term.

    The paper's PPO has one discount for correctness and one for repetition: ``G_t`` is the sum of two discounted sums.
    An advantage by token has one discount for all. So each token here is paid ``G_t - G_{t+1}`` of the repetition's own
    discounted sum: under an advantage with ``gamma: 1`` (``gae``, ``reinforce_pp``) the return from each token on is
    the paper's. The total of a response is ``G_0``; an advantage by response sees that alone.

    Args:
        size: tokens of an n-gram, ``N``; a shorter response gets 0. The paper uses 40, its code's default is 20.
        penalty: ``P``, 0 or less.
        discount: of the repetition's returns, in (0, 1].

    >>> reward = TokenRepetition(size=3, discount=1.0)
    >>> batch = RolloutBatch.of(group=[0], length=[9], correct=[0], **{reward.column: ["3:6"]})
    >>> reward.place(batch)[1].token, reward.place(batch)[1].amount
    (tensor([3, 4, 5]), tensor([-0.0500, -0.0500, -0.0500], dtype=torch.float64))
    """

    size: int = 40
    penalty: float = -0.05
    discount: float = 0.99

    def __post_init__(self) -> None:
        _check("token_repetition", self.size, "penalty", self.penalty)
        if not 0 < self.discount <= 1:
            raise ConfigError(f"token_repetition: discount is {self.discount}; give a number above 0 and up to 1")

    def measure(self, tokens: Sequence[Hashable]) -> str:
        """The repeated tokens as ``start:end`` ranges, counted from 0.

        >>> TokenRepetition(size=3).measure([5, 6, 7, 5, 6, 7, 8, 5, 6])
        '3:6'
        """
        ranges, at = [], 0
        for flag, run in groupby(repeated(tokens, self.size)):
            end = at + len(list(run))
            if flag:
                ranges.append(f"{at}:{end}")
            at = end
        return " ".join(ranges)

    def place(self, batch: RolloutBatch) -> tuple[RewardN, Placement]:
        """The discounted sum of each response, and what of it each token is paid."""
        total_N = torch.zeros(len(batch), dtype=torch.float64)
        rows, tokens, amounts = [], [], []
        for row, (text, length) in enumerate(zip(batch.values(self.column), batch.length.tolist(), strict=True)):
            if not text:
                continue
            return_T = discounted_return(_spans(text, row), int(length), self.penalty, self.discount)
            paid_T = return_T[:-1] - return_T[1:]
            at_K = paid_T.nonzero().squeeze(-1)
            total_N[row] = return_T[0]
            rows.append(torch.full_like(at_K, row))
            tokens.append(at_K)
            amounts.append(paid_T[at_K])
        device = batch.group.device
        none = torch.zeros(0, dtype=torch.int64)
        placement = Placement(
            row=torch.cat([none, *rows]).to(device),
            token=torch.cat([none, *tokens]).to(device),
            amount=torch.cat([none.double(), *amounts]).to(device),
        )
        return total_N.to(device), placement


def _spans(text: str, row: int) -> list[tuple[int, int]]:
    try:
        pairs = [tuple(map(int, span.split(":"))) for span in text.split()]
        return [(start, end) for start, end in pairs]
    except (AttributeError, ValueError):
        raise BatchError(
            f"token_repetition, row {row}: {text!r:.80} tells no ranges of tokens; give '3:6 20:31', or nothing"
        ) from None


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
        ngrams = numbered(words, self.size)
        return self.max_penalty * (len(ngrams) - len(set(ngrams))) / len(ngrams) if ngrams else 0.0


def _check(name: str, size: int, argument: str, penalty: float) -> None:
    if size < 1:
        raise ConfigError(f"{name}: size is {size}; give the length of an n-gram, 1 or more")
    if penalty > 0:
        raise ConfigError(f"{name}: {argument} is {penalty}; it is added to the reward: give 0 or less")
