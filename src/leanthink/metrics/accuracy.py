"""Accuracy from several samples of one question: pass@k, avg@n, maj@k."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Final

import numpy

from leanthink.core.errors import ConfigError
from leanthink.metrics.answers import Answer, as_judged
from leanthink.verify.same import Same

ALL_SUBSETS: Final = 20_000
"""Up to so many subsets are enumerated; of more, ``ALL_SUBSETS // 10`` are drawn at random."""


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The unbiased probability that one of ``k`` samples is right: ``1 - C(n - c, k) / C(n, k)``; 1 if ``n - c < k``.

    Evaluating Large Language Models Trained on Code, arXiv 2107.03374, Eq. 1. With ``k = 1`` it is avg@n.

    >>> round(pass_at_k(n=4, correct=1, k=2), 6)
    0.5
    """
    check_k(k, n)
    if not 0 <= correct <= n:
        raise ConfigError(f"pass_at_k: {correct} of {n} samples correct; give 0 to {n}")
    return 1 - math.comb(n - correct, k) / math.comb(n, k)


def avg_at_n(correct: Sequence[float]) -> float:
    """The share ``c / n`` of right samples, the "pass@1 averaged over n" of most papers; NaN without samples.

    >>> avg_at_n([1, 0, 1, 1])
    0.75
    """
    return math.fsum(correct) / len(correct) if correct else math.nan


def maj_at_k(answers: Sequence[Answer], correct: Sequence[float], k: int, *, same: Same | None = None) -> float:
    r"""The accuracy of the majority answer among ``k`` of the n samples, over all k-subsets.

    Spellings of one answer vote together, as :func:`~leanthink.metrics.answers.as_judged` groups them; an answer with
    two verdicts has that of most of its samples. Ties go to the answer seen first. A sample without an answer (None)
    has no vote; without any vote the question is wrong. The subsets are enumerated, or drawn where they are many: see
    :func:`mean_over_subsets`.

    >>> maj_at_k(["0.5", "3", r"\frac{1}{2}", "3", ".50"], [1, 0, 1, 0, 1], k=5)
    1.0
    """
    judged = as_judged(answers, correct, same)

    def voted(rows: Sequence[int]) -> float:
        votes: dict[Answer, list[int]] = {}
        for row in rows:
            if judged.answers[row] is not None:
                votes.setdefault(judged.answers[row], []).append(row)
        most = max(votes.values(), key=len, default=None)  # the first of equals
        return 0.0 if most is None else judged.correct[most[0]]

    return mean_over_subsets(voted, len(answers), k)


def mean_over_subsets(value: Callable[[Sequence[int]], float], n: int, k: int, seed: int = 0) -> float:
    """The mean of ``value(rows)`` over the k-subsets of n samples, rows in ascending order.

    Exact up to ``ALL_SUBSETS`` subsets; beyond that the mean over 2,000 subsets drawn with ``seed``.

    >>> mean_over_subsets(min, n=3, k=2)
    0.3333333333333333
    """
    check_k(k, n)
    if (count := math.comb(n, k)) <= ALL_SUBSETS:
        return math.fsum(value(rows) for rows in combinations(range(n), k)) / count
    generator = numpy.random.default_rng(seed)
    drawn = ALL_SUBSETS // 10
    return math.fsum(value(sorted(generator.permutation(n)[:k].tolist())) for _ in range(drawn)) / drawn


def check_k(k: int, n: int) -> None:
    """Raise unless k samples can be taken of n.

    Raises:
        ConfigError: they cannot.
    """
    if not 1 <= k <= n:
        raise ConfigError(f"k is {k} with {n} samples a question; give 1 to {n}, or draw more samples")
