"""Metrics of efficiency: one number for accuracy against length, and what of a response was needed."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from leanthink.core.errors import ConfigError


def length_reduction(base_length: float, length: float) -> float:
    """The share of tokens saved, ``(L_base - L) / L_base``; positive is shorter, NaN where ``L_base`` is 0.

    >>> length_reduction(4000, 1000)
    0.75
    """
    return (base_length - length) / base_length if base_length else math.nan


def accuracy_efficiency_score(
    base_accuracy: float,
    base_length: float,
    accuracy: float,
    length: float,
    *,
    alpha: float = 1.0,
    beta: float = 3.0,
    gamma: float = 5.0,
) -> float:
    """AES: ``alpha dL + beta |dA|`` where accuracy holds or rises, ``alpha dL - gamma |dA|`` where it falls.

    O1-Pruner, arXiv 2501.12570, Section 5.1. ``dL`` is :func:`length_reduction`, ``dA = (A - A_base) / A_base`` the
    *relative* change of accuracy, not points. NaN where ``A_base`` or ``L_base`` is 0. Always report the three weights
    and the baseline; other works use (1, 5, 10) or (0.1, 0.1, 1). Over several benchmarks: one score each, then the
    mean.

    >>> round(accuracy_efficiency_score(0.60, 4000, 0.57, 2000), 6)
    0.25
    """
    for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"accuracy_efficiency_score: {name} is {value}; give a finite number, 0 or more")
    if not base_accuracy:
        return math.nan
    change = (accuracy - base_accuracy) / base_accuracy
    return alpha * length_reduction(base_length, length) + (beta * change if change >= 0 else gamma * change)


@dataclass(frozen=True, kw_only=True)
class Solution:
    """One of the solutions in a response: its tokens, whether its answer is right, the perspective it takes.

    How a response is split into solutions, and solutions into perspectives, is the caller's: the paper asks large
    models for both.
    """

    tokens: float
    correct: bool
    perspective: Hashable = None


def outcome_efficiency(responses: Sequence[Sequence[Solution]]) -> float:
    """The mean over responses of ``sigma_i That_i / T_i``: what share of the tokens led to the first right solution.

    Do NOT Think That Much for 2+3=?, arXiv 2412.21187, Eq. 1. ``T_i`` all tokens, ``That_i`` those up to and with the
    first right solution, ``sigma_i`` 1 if *any* solution is right, else 0. Report accuracy next to it. Responses of no
    tokens are left out; NaN where none is left.

    >>> outcome_efficiency([[Solution(tokens=100, correct=True), Solution(tokens=100, correct=True)]])
    0.5
    """
    terms = []
    for solutions in responses:
        total = math.fsum(one.tokens for one in solutions)
        if total == 0:
            continue
        first = next((place for place, one in enumerate(solutions) if one.correct), None)
        terms.append(0.0 if first is None else math.fsum(one.tokens for one in solutions[: first + 1]) / total)
    return _mean(terms)


def process_efficiency(responses: Sequence[Sequence[Solution]]) -> float:
    """The mean over responses of ``D_i / T_i``: what share of the tokens went into perspectives not taken before.

    arXiv 2412.21187, Eq. 2; correctness plays no role. Responses of no tokens are left out; NaN where none is left.

    >>> one, again = (Solution(tokens=50, correct=True, perspective="a") for _ in range(2))
    >>> process_efficiency([[one, again]])
    0.5
    """
    terms = []
    for solutions in responses:
        total = math.fsum(one.tokens for one in solutions)
        if total:
            new = zip(solutions, _is_new(solutions), strict=True)
            terms.append(math.fsum(one.tokens for one, is_new in new if is_new) / total)
    return _mean(terms)


def distinctness(responses: Sequence[Sequence[Solution]], m: int) -> float:
    """The share of m-th solutions (from 1) that take a new perspective, among responses of at least m; NaN without any.

    >>> distinctness([[Solution(tokens=9, correct=True, perspective="a")]], 1)
    1.0
    """
    if m < 1:
        raise ConfigError(f"distinctness: m is {m}; solutions count from 1")
    return _mean([float(_is_new(solutions)[m - 1]) for solutions in responses if len(solutions) >= m])


def overthinking_frequency(flagged: Sequence[bool | None]) -> float:
    """The share of judged responses in which a judge found ineffective or redundant steps; None was not judged.

    Promoting Efficient Reasoning with Verifiable Stepwise Reward, arXiv 2508.10293. Report the judge and its prompt.

    >>> overthinking_frequency([True, False, None])
    0.5
    """
    return _mean([float(flag) for flag in flagged if flag is not None])


def _is_new(solutions: Sequence[Solution]) -> list[bool]:
    """Whether each solution's perspective has not come up before it."""
    seen: set[Hashable] = set()
    new = []
    for one in solutions:
        new.append(one.perspective not in seen)
        seen.add(one.perspective)
    return new


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
