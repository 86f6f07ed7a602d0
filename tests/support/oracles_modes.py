"""Slow second implementations of the methods that filter, cut and switch: loops from the papers, without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from oracles_groups import Flags, Groups, Numbers, members


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


def adaptive_gfpo(
    reward: Numbers, length: Numbers, group: Groups, past: list[float], k: list[int], metric: str, ready: int
) -> list[float]:
    """arXiv 2508.09726, Algorithm 2: ``k`` by the quantile that a group's mean lies in; ``past`` grows."""
    means = {code: sum(reward[i] for i in of) / len(of) for code, of in members(group).items()}
    past.extend(means[code] for code in sorted(means))
    ranked, cuts = sorted(past), []
    for j in range(1, len(k)):
        place = j / len(k) * (len(ranked) - 1)
        low = int(place)
        high = min(low + 1, len(ranked) - 1)
        cuts.append(ranked[low] + (ranked[high] - ranked[low]) * (place - low) if ranked else 0.0)
    result = [0.0] * len(reward)
    for code, of in members(group).items():
        kept = k[0] if len(past) < ready else k[sum(means[code] >= cut for cut in cuts)]
        own = gfpo([reward[i] for i in of], [length[i] for i in of], [0] * len(of), kept, metric)
        for i, value in zip(of, own, strict=True):
            result[i] = value
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


def outcome_and_steps(
    reward: Sequence[Numbers], length: Sequence[int], group: Groups, eps: float | None = None
) -> list[list[float]]:
    """arXiv 2506.14755: the outcome less the group's mean on every token, what falls on a token there alone.

    With ``eps`` the outcome's part is divided by the group's sample deviation plus it; equal outcomes give 0.
    """
    result = [[0.0] * len(row) for row in reward]
    for of in members(group).values():
        alive = [i for i in of if length[i]]
        for i in alive:
            outcomes = [reward[j][length[j] - 1] for j in alive]
            mean = sum(outcomes) / len(alive)
            whole = reward[i][length[i] - 1] - mean
            if eps is not None and len(set(outcomes)) > 1:
                whole /= math.sqrt(sum((one - mean) ** 2 for one in outcomes) / (len(outcomes) - 1)) + eps
            for t in range(length[i]):
                result[i][t] = whole + (reward[i][t] if t < length[i] - 1 else 0.0)
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


def conciseness(
    outcome: Numbers, score: Numbers, group: Groups, alpha: float, annealing: float, difficulty: str
) -> list[float]:
    """arXiv 2511.09158: the factor on positive outcomes; d is the group's share of them, or of the others."""
    result = []
    for i in range(len(outcome)):
        siblings = [outcome[j] for j in range(len(outcome)) if group[j] == group[i]]
        rate = sum(one > 0 for one in siblings) / len(siblings)
        d = rate if difficulty == "pass_rate" else 1 - rate
        result.append(outcome[i] * (1 + alpha * score[i] * (annealing + d)) if outcome[i] > 0 else outcome[i])
    return result


def serial_rewards(correct: Flags, order: Numbers, group: Groups, decay: float) -> list[float]:
    """arXiv 2505.07686, Algorithm 1: walk each group in the order of its exits, equal ones in that of the rows."""
    result = [0.0] * len(correct)
    for of in members(group).values():
        right = 0
        for i in sorted(of, key=lambda i: order[i]):
            if correct[i]:
                right += 1
                result[i] = 1 / decay ** (right - 1)
    return result


def mode_rewards(
    correct: Flags,
    long: Flags,
    group: Groups,
    theta: float,
    base: float,
    bonus: float,
    wrong: float,
    margin: float | None = None,
) -> tuple[list[float], list[int]]:
    """arXiv 2505.20101: the table of rewards, prompt by prompt, and each response's prompt's preference (1 long)."""
    rewards, preferences = [0.0] * len(correct), [0] * len(correct)
    for of in members(group).values():
        longs, shorts = [i for i in of if long[i]], [i for i in of if not long[i]]
        preferred = 0
        if longs and shorts and any(correct[i] for i in of):
            a_long = Fraction(sum(correct[i] for i in longs), len(longs))
            a_short = Fraction(sum(correct[i] for i in shorts), len(shorts))
            easy = a_short >= theta if margin is None else a_short >= a_long - Fraction(str(margin))
            preferred = -1 if easy or a_long == 0 else 1
        for i in of:
            preferences[i] = preferred
            if not correct[i]:
                rewards[i] = wrong
            elif preferred == (1 if long[i] else -1):
                rewards[i] = base + bonus
            else:
                rewards[i] = base
    return rewards, preferences
