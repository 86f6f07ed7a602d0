"""Slow second implementations of every formula: plain Python loops, written from the papers, without torch.

Each takes the responses of one batch as parallel lists, ``group`` holding any hashable ids, and returns a list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

Numbers = Sequence[float]
Groups = Sequence[Hashable]
Flags = Sequence[bool]


def per_group(
    reduce: Callable[[list[float]], float], values: Numbers, group: Groups, where: Flags | None = None
) -> list[float]:
    """``reduce`` over the (selected) values of each response's group, for each response."""
    result = []
    for mine in group:
        chosen = []
        for row, theirs in enumerate(group):
            if theirs == mine and (where is None or where[row]):
                chosen.append(values[row])
        result.append(reduce(chosen))
    return result


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def std(values: list[float], ddof: int = 0) -> float:
    if len(values) <= ddof:
        return math.nan
    centre = mean(values)
    return math.sqrt(sum((value - centre) ** 2 for value in values) / (len(values) - ddof))


def smallest(values: list[float]) -> float:
    return min(values) if values else math.nan


def largest(values: list[float]) -> float:
    return max(values) if values else math.nan


def sigmoid_length(
    length: Numbers, correct: Flags, group: Groups, alpha: float, eps: float = 1e-7, ddof: int = 0
) -> list[float]:
    """arXiv 2502.04463: ``r_i = c_i (1 - alpha sigmoid((len_i - MEAN) / (STD + eps)))``, over the correct ones."""
    result = []
    for i in range(len(length)):
        if not correct[i]:
            result.append(0.0)
            continue
        lengths = [length[j] for j in range(len(length)) if group[j] == group[i] and correct[j]]
        centre = sum(lengths) / len(lengths)
        deviation = 0.0
        if len(lengths) > ddof:
            deviation = math.sqrt(sum((one - centre) ** 2 for one in lengths) / (len(lengths) - ddof))
        z = (length[i] - centre) / (deviation + eps)
        result.append(1 - alpha / (1 + math.exp(-z)))
    return result


def kimi_length(length: Numbers, correct: Flags, group: Groups) -> list[float]:
    """arXiv 2501.12599, Sec. 2.3.3: min-max over the whole group; the wrong keep the negative part."""
    result = []
    for i in range(len(length)):
        lengths = [length[j] for j in range(len(length)) if group[j] == group[i]]
        low, high = min(lengths), max(lengths)
        if low == high:
            result.append(0.0)
            continue
        lam = 0.5 - (length[i] - low) / (high - low)
        result.append(lam if correct[i] else min(0.0, lam))
    return result


def soft_overlong(length: Numbers, limit: float, buffer: float, factor: float = 1.0, clamp: bool = True) -> list[float]:
    """arXiv 2503.14476, Eq. 13, times ``factor``; without ``clamp`` it goes on falling beyond the limit."""
    result = []
    for tokens in length:
        if tokens <= limit - buffer:
            result.append(0.0)
        elif tokens <= limit or not clamp:
            result.append(factor * ((limit - buffer) - tokens) / buffer)
        else:
            result.append(-factor)
    return result


def grpo(reward: Numbers, group: Groups, scale: str = "std", eps: float = 1e-6, ddof: int = 1) -> list[float]:
    """arXiv 2402.03300: ``(r_i - mean) / (std + eps)``; not divided for any other ``scale`` than "std"."""
    result = []
    for i in range(len(reward)):
        rewards = [reward[j] for j in range(len(reward)) if group[j] == group[i]]
        if len(set(rewards)) == 1:  # nothing to tell them apart
            result.append(0.0)
            continue
        centred = reward[i] - sum(rewards) / len(rewards)
        result.append(centred / (std(rewards, ddof) + eps) if scale == "std" else centred)
    return result


def rloo(reward: Numbers, group: Groups) -> list[float]:
    """arXiv 2402.14740: ``r_i`` minus the mean of the others; nothing to compare with gives 0."""
    result = []
    for i in range(len(reward)):
        others = [reward[j] for j in range(len(reward)) if group[j] == group[i] and j != i]
        result.append(reward[i] - sum(others) / len(others) if others else 0.0)
    return result
