"""Slow second implementations of the methods that compare groups, or a group with its past: loops, without torch."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from fractions import Fraction

Numbers = Sequence[float]
Groups = Sequence[Hashable]
Flags = Sequence[bool]


def members(group: Groups) -> dict[Hashable, list[int]]:
    """The rows of each group, groups in the order in which they first appear."""
    rows: dict[Hashable, list[int]] = {}
    for row, name in enumerate(group):
        rows.setdefault(name, []).append(row)
    return rows


def top_pass_rate(
    correct: Flags, group: Groups, top_fraction: str, rounding: str = "floor", ties: str = "first", min_groups: int = 0
) -> list[bool]:
    """arXiv 2505.18086, Sec. 3: a group of rank r (1 is best) is chosen while ``r / B <= lambda``; exact fractions."""
    rows = members(group)
    rate = {name: Fraction(sum(correct[i] for i in of), len(of)) for name, of in rows.items()}
    ranked: list[Hashable] = []
    for value in sorted(set(rate.values()), reverse=True):
        ranked += [name for name in rows if rate[name] == value]
    chosen: set[Hashable] = set()
    for rank, name in enumerate(ranked, start=1):
        within = Fraction(rank, len(ranked)) <= Fraction(top_fraction)
        if rounding == "ceil":
            within = Fraction(rank - 1, len(ranked)) < Fraction(top_fraction)
        if within or rank <= min_groups:
            chosen.add(name)
    if ties == "all" and chosen:
        last = min(rate[name] for name in chosen)
        chosen = {name for name in rows if rate[name] >= last}
    return [name in chosen for name in group]


def lambda_switch(
    length: Numbers, correct: Flags, group: Groups, top_fraction: str, alpha: float, eps: float = 1e-7
) -> list[float]:
    """arXiv 2505.18086, Eqs. 1-2."""
    chosen = top_pass_rate(correct, group, top_fraction)
    result = []
    for i in range(len(length)):
        if not correct[i]:
            result.append(0.0)
        elif not chosen[i]:
            result.append(1.0)
        else:
            lengths = [length[j] for j in range(len(length)) if group[j] == group[i] and correct[j]]
            mean = sum(lengths) / len(lengths)
            deviation = math.sqrt(sum((one - mean) ** 2 for one in lengths) / len(lengths))
            result.append(1 - alpha / (1 + math.exp(-(length[i] - mean) / (deviation + eps))))
    return result


def harmonizing_length(
    length: Numbers, correct: Flags, reference_length: Numbers, reference_accuracy: Numbers, accuracy_weight: float
) -> list[float]:
    """arXiv 2501.12570, Eq. 8; a response without tokens counts as one token."""
    result = []
    for i in range(len(length)):
        right = 1.0 if correct[i] else 0.0
        result.append(reference_length[i] / max(length[i], 1) - 1 + accuracy_weight * (right - reference_accuracy[i]))
    return result


def current_reference(length: Numbers, correct: Flags, group: Groups) -> tuple[list[float], list[float]]:
    """The mean length and accuracy of each response's own group."""
    rows = members(group)
    lengths = {name: sum(max(length[i], 1) for i in of) / len(of) for name, of in rows.items()}
    accuracies = {name: sum(correct[i] for i in of) / len(of) for name, of in rows.items()}
    return [lengths[name] for name in group], [accuracies[name] for name in group]


def standardized(values: Numbers, group: Groups) -> list[float]:
    """The released code of O1-Pruner: minus the mean, over the population deviation; 0 where all are equal."""
    result = []
    for i in range(len(values)):
        others = [values[j] for j in range(len(values)) if group[j] == group[i]]
        mean = sum(others) / len(others)
        deviation = math.sqrt(sum((one - mean) ** 2 for one in others) / len(others))
        equal = max(others) - min(others) <= 1e-12 * max(1.0, *(abs(one) for one in others))
        result.append(0.0 if equal else (values[i] - mean) / deviation)
    return result


def pass_rate_length(
    length: Numbers, correct: Flags, group: Groups, beta: float, length_norm: float = 1.0
) -> list[float]:
    """arXiv 2506.05256: ``-(beta / N) max(p, 1 / K) |y|``."""
    result = []
    for i in range(len(length)):
        solved = [1 if correct[j] else 0 for j in range(len(length)) if group[j] == group[i]]
        result.append(-(beta / length_norm) * max(sum(solved) / len(solved), 1 / len(solved)) * length[i])
    return result


def shortest_correct_length(
    length: Numbers, correct: Flags, group: Groups, beta: float, max_distance: float = math.inf
) -> list[float]:
    """arXiv 2504.21370: ``-beta |L - SOL|``."""
    result = []
    for i in range(len(length)):
        mine = [j for j in range(len(length)) if group[j] == group[i]]
        right = [length[j] for j in mine if correct[j]]
        optimal = min(right) if right else sum(length[j] for j in mine) / len(mine)
        result.append(-beta * min(abs(length[i] - optimal), max_distance))
    return result


class History:
    """arXiv 2505.11225: the length term, and what is remembered of each prompt."""

    def __init__(self, mode: str = "min", shape: str = "cosine", floor: float = -0.7, tolerance: float = 0.1) -> None:
        self.mode, self.shape, self.floor, self.tolerance = mode, shape, floor, tolerance
        self.seen: dict[Hashable, list[float]] = {}

    def h(self, prompt: Hashable) -> float | None:
        lengths = self.seen.get(prompt)
        if not lengths:
            return None
        return min(lengths) if self.mode == "min" else sum(lengths) / len(lengths)

    def term(self, length: float, correct: bool, h: float | None) -> float:
        if h is None:
            return 0.0
        if self.shape == "cosine":
            f = math.cos(min(math.pi / 2 * length / h, math.pi))
            return max(f, self.floor) if correct else min(f, 0.0)
        if correct and length < h:
            return 1 - length / h
        if length <= (1 + self.tolerance) * h:
            return 0.0
        return max(-(length - (1 + self.tolerance) * h) / h, self.floor if correct else -1.0)

    def step(self, length: Numbers, correct: Flags, prompt: Groups) -> list[float]:
        terms = [self.term(length[i], correct[i], self.h(prompt[i])) for i in range(len(length))]
        for i in range(len(length)):
            if correct[i]:
                self.seen.setdefault(prompt[i], []).append(max(length[i], 1))
        return terms
