"""Slow second implementations that several tests share: plain Python loops, written from the papers, without torch.

Each takes the responses of one batch as parallel lists, ``group`` holding any hashable ids. The slow twin of a method
stands in its test file, as ``slow_...``.
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


def members(group: Groups) -> dict[Hashable, list[int]]:
    """The rows of each group, groups in the order in which they first appear."""
    rows: dict[Hashable, list[int]] = {}
    for row, name in enumerate(group):
        rows.setdefault(name, []).append(row)
    return rows


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


def gfpo(
    reward: Numbers, length: Numbers, group: Groups, k: int, metric: str, shift_negative: bool = False
) -> list[float]:
    """arXiv 2508.09726, Eq. 2: population deviation over the kept k, ties by index, 0 for the rest.

    With ``shift_negative`` ranked by rewards that are lifted until none of the group is below 0.
    """
    result = [0.0] * len(reward)
    for of in members(group).values():
        if metric == "shortest":
            ranked = sorted(of, key=lambda i: (length[i], i))
        else:
            lowest = min(reward[i] for i in of)
            lift = -lowest if shift_negative and lowest < 0 else 0.0
            efficiency = {i: (reward[i] + lift) / max(length[i], 1.0) for i in of}
            ranked = sorted(of, key=lambda i: (-efficiency[i], i))
        kept = [i for i in ranked if length[i] > 0][:k]
        if not kept:
            continue
        mean = sum(reward[i] for i in kept) / len(kept)
        deviation = math.sqrt(sum((reward[i] - mean) ** 2 for i in kept) / len(kept))
        for i in kept:
            if len({reward[j] for j in kept}) > 1:
                result[i] = (reward[i] - mean) / (deviation + 1e-8)
    return result


def returns(rewards: Sequence[float], gamma: float = 1.0) -> list[float]:
    """``G_t = R_t + gamma G_{t+1}``."""
    result = [0.0] * len(rewards)
    running = 0.0
    for t in range(len(rewards) - 1, -1, -1):
        running = rewards[t] + gamma * running
        result[t] = running
    return result
