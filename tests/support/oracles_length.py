"""Slow second implementations of the response-level length rewards: plain Python loops, written from the papers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from oracles import Flags, Numbers


def cosfn(length: float, limit: float, at_0: float, at_limit: float) -> float:
    """arXiv 2502.03373, Sec. 4.2: half a cosine from ``at_0`` to ``at_limit``, and no further."""
    share = min(length, limit) / limit
    return at_limit + 0.5 * (at_0 - at_limit) * (1 + math.cos(math.pi * share))


def cosine_length(
    length: Numbers,
    correct: Flags,
    truncated: Flags,
    limit: float,
    correct_ends: tuple[float, float] = (2.0, 1.0),
    wrong_ends: tuple[float, float] = (-10.0, 0.0),
    exceed: float | None = -10.0,
    margin: float = 0.0,
) -> list[float]:
    """The cosine reward: ``exceed`` first, then by verdict; ``margin`` as in the released code."""
    result = []
    for tokens, right, cut in zip(length, correct, truncated, strict=True):
        if exceed is not None and (cut or (margin and tokens + margin >= limit)):
            result.append(exceed)
        else:
            result.append(cosfn(tokens, limit, *(correct_ends if right else wrong_ends)))
    return result


def dense_repetition(tokens: Sequence[int], size: int, penalty: float) -> list[float]:
    """arXiv 2502.03373, Appendix C.2, Algorithm 1, on token ids."""
    reward = [0.0] * len(tokens)
    for j in range(len(tokens) - size + 1):
        for earlier in range(j):  # was the n-gram at j seen before?
            if all(tokens[earlier + k] == tokens[j + k] for k in range(size)):
                for t in range(j, j + size):
                    reward[t] = penalty
                break
    return reward


def word_repetition(text: str, size: int, max_penalty: float) -> float:
    """The released code's ``(1 - unique / total) * max_penalty``; too short a text gets 0 instead of an error."""
    words = text.lower().split()
    total, unique = 0, []
    for start in range(len(words)):
        if start + size <= len(words):
            total += 1
            if words[start : start + size] not in unique:
                unique.append(words[start : start + size])
    return (1 - len(unique) / total) * max_penalty if total else 0.0


def lcpo_exact(length: Numbers, correct: Flags, budget: Numbers, alpha: float) -> list[float]:
    """arXiv 2503.04697, Eq. 1: ``r = c - alpha |n_gold - n_y|``."""
    result = []
    for tokens, right, gold in zip(length, correct, budget, strict=True):
        miss = gold - tokens if gold > tokens else tokens - gold
        result.append((1.0 if right else 0.0) - alpha * miss)
    return result


def lcpo_max(length: Numbers, correct: Flags, budget: Numbers, alpha: float, delta: float = 0.5) -> list[float]:
    """arXiv 2503.04697, Eq. 2: ``r = c clip(alpha (n_gold - n_y) + delta, 0, 1)``."""
    result = []
    for tokens, right, gold in zip(length, correct, budget, strict=True):
        step = alpha * (gold - tokens) + delta
        result.append((1.0 if right else 0.0) * min(max(step, 0.0), 1.0))
    return result


def two_discounts(outcome: float, dense: list[float], discount: float) -> list[float]:
    """The return from each token on: the outcome at the last token, undiscounted, and discounted dense rewards."""
    count = len(dense)
    return [
        outcome + sum(discount ** (later - token) * dense[later] for later in range(token, count))
        for token in range(count)
    ]
