"""Slow second implementations of the methods that filter, cut and switch: loops from the papers, without torch."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

Numbers = Sequence[float]
Groups = Sequence[Hashable]
Flags = Sequence[bool]


def members(group: Groups) -> dict[Hashable, list[int]]:
    rows: dict[Hashable, list[int]] = {}
    for row, name in enumerate(group):
        rows.setdefault(name, []).append(row)
    return rows


def gfpo(reward: Numbers, length: Numbers, group: Groups, k: int, metric: str) -> list[float]:
    """arXiv 2508.09726, Eq. 2: population deviation over the kept k, ties by index, 0 for the rest."""
    result = [0.0] * len(reward)
    for of in members(group).values():
        if metric == "shortest":
            ranked = sorted(of, key=lambda i: (length[i], i))
        else:
            ranked = sorted(of, key=lambda i: (-reward[i] / max(length[i], 1.0), i))
        kept = [i for i in ranked if length[i] > 0][:k]
        if not kept:
            continue
        mean = sum(reward[i] for i in kept) / len(kept)
        deviation = math.sqrt(sum((reward[i] - mean) ** 2 for i in kept) / len(kept))
        for i in kept:
            if len({reward[j] for j in kept}) > 1:
                result[i] = (reward[i] - mean) / (deviation + 1e-8)
    return result


def longest_correct_length(length: Numbers, correct: Flags, group: Groups, pay_wrong: bool = False) -> list[float]:
    """arXiv 2506.14755, Eq. 3; with ``pay_wrong`` the released trainer's."""
    result = [0.0] * len(length)
    for of in members(group).values():
        right = [length[i] for i in of if correct[i]]
        for i in of:
            if right and (correct[i] or pay_wrong):
                result[i] = 1 - length[i] / max(*right, 1.0)
    return result


def compress_reward(before: float, after: float, correct: bool, answer_kept: bool) -> float:
    """arXiv 2506.14755, Eq. 11; a response that could not be cut has nothing removed."""
    if not correct or before == 0:
        return 0.0
    return 1 - after / before if answer_kept else -1.0


def outcome_and_steps(reward: Sequence[Numbers], length: Sequence[int], group: Groups) -> list[list[float]]:
    """arXiv 2506.14755: the outcome less the group's mean on every token, what falls on a token there alone."""
    result = [[0.0] * len(row) for row in reward]
    for of in members(group).values():
        alive = [i for i in of if length[i]]
        for i in alive:
            mean = sum(reward[j][length[j] - 1] for j in alive) / len(alive)
            for t in range(length[i]):
                step = reward[i][t] if t < length[i] - 1 else 0.0
                result[i][t] = reward[i][length[i] - 1] - mean + step
    return result


def mastered(
    probability: Sequence[Numbers], entropy: Sequence[Numbers], correct: Flags, tau: float, target: float
) -> list[list[bool]]:
    """arXiv 2507.19766, Eqs. 9-10: which tokens of each response are masked."""
    result = []
    for p, h, right in zip(probability, entropy, correct, strict=True):
        low = bool(h) and sum(h) / len(h) < target
        result.append([right and low and one >= tau for one in p])
    return result
