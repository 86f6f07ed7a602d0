"""Selection by length or structure instead of a reward model: short-m@k, shortest correct, filtered vote, failed steps.

A sample without an answer (None) has no vote. Spellings of one answer vote together, as they are judged
(`leanthink.metrics.answers`); where it is left out, ``same`` is the verifier's equality of mathematics.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from leanthink.core.errors import ConfigError
from leanthink.metrics.accuracy import check_k, mean_over_subsets
from leanthink.metrics.answers import Answer, as_judged
from leanthink.verify.same import Same


@dataclass(frozen=True, kw_only=True)
class Vote:
    """What a rule chose, the tokens of thinking that it cost over all chains, and the time until it was known."""

    answer: Answer
    compute: float
    time: float


def short_m_vote(
    thinking: Sequence[float],
    answers: Sequence[Answer],
    finished: Sequence[bool],
    m: int,
    *,
    same: Same | None = None,
) -> Vote:
    """short-m@k: stop all chains when the first ``m`` have finished thinking, and vote among those.

    Don't Overthink it, arXiv 2505.17813. ``compute = Σ_i min(T_i, T_(m))``, ``time = T_(m)``, in tokens of thinking.
    Ties in the vote go to the answer that owns the shortest chain, equal lengths by index. A chain that hit the cap
    never finishes; where fewer than ``m`` do, all run to their end and those that finished vote; where none does, there
    is no answer.

    >>> short_m_vote([30, 10, 20], ["7", "8", "7"], [True, True, True], m=2)
    Vote(answer='8', compute=50.0, time=20.0)
    """
    return _short_m(thinking, as_judged(answers, same=same).answers, finished, m)


def _short_m(thinking: Sequence[float], answers: Sequence[Answer], finished: Sequence[bool], m: int) -> Vote:
    """The same of answers in one spelling each."""
    check_k(m, len(thinking))
    order = sorted((row for row in range(len(thinking)) if finished[row]), key=lambda row: thinking[row])
    first = order[:m]
    stop = thinking[first[-1]] if len(first) == m else max(thinking)
    return Vote(
        answer=_voted(first, thinking, answers),
        compute=math.fsum(min(length, stop) for length in thinking),
        time=float(stop),
    )


def majority_vote(thinking: Sequence[float], answers: Sequence[Answer], *, same: Same | None = None) -> Vote:
    """majority@k: all chains run to their end; ties go to the answer seen first.

    >>> majority_vote([30, 10, 20], ["7", "8", "7"])
    Vote(answer='7', compute=60.0, time=30.0)
    """
    votes = Counter(answer for answer in as_judged(answers, same=same).answers if answer is not None)
    return Vote(
        answer=votes.most_common(1)[0][0] if votes else None,
        compute=math.fsum(thinking),
        time=float(max(thinking, default=0.0)),
    )


def sequential_short_compute(thinking: Sequence[float], finished: Sequence[bool], m: int) -> float:
    """What short-m@k costs one chain after another, each aborted at the m-th shortest length completed so far.

    >>> sequential_short_compute([30, 10, 20], [True, True, True], m=1)
    50.0
    """
    check_k(m, len(thinking))
    done: list[float] = []
    spent = []
    for length, ends in zip(thinking, finished, strict=True):
        bound = sorted(done)[m - 1] if len(done) >= m else math.inf
        spent.append(min(length, bound))
        if ends and length <= bound:
            done.append(length)
    return math.fsum(spent)


def short_m_at_k(
    thinking: Sequence[float],
    answers: Sequence[Answer],
    correct: Sequence[float],
    finished: Sequence[bool],
    m: int,
    k: int,
    *,
    same: Same | None = None,
) -> float:
    """The accuracy of short-m@k over the k-subsets of n samples (all, or drawn: ``mean_over_subsets``).

    >>> short_m_at_k([30, 10, 20], ["7", "8", "7"], [1, 0, 1], [True] * 3, m=1, k=2)
    0.3333333333333333
    """
    if m > k:
        raise ConfigError(f"short_m_at_k: m is {m}, k is {k}; give m of 1 to k")
    judged = as_judged(answers, correct, same)
    if m == 1:
        return short_1_at_k(thinking, judged.correct, finished, k)
    right = dict(zip(judged.answers, judged.correct, strict=True))

    def voted(rows: Sequence[int]) -> float:
        own = [judged.answers[row] for row in rows]
        one = _short_m([thinking[row] for row in rows], own, [finished[row] for row in rows], m)
        return 0.0 if one.answer is None else right[one.answer]

    return mean_over_subsets(voted, len(thinking), k)


def short_1_at_k(thinking: Sequence[float], correct: Sequence[float], finished: Sequence[bool], k: int) -> float:
    """The accuracy of the shortest of k chains, exactly: ``Σ_r c_(r) C(n - r, k - 1) / C(n, k)`` by rank r of length.

    >>> short_1_at_k([30, 10, 20], [1, 0, 1], [True] * 3, k=1)
    0.6666666666666666
    """
    n = len(thinking)
    check_k(k, n)
    order = sorted((row for row in range(n) if finished[row]), key=lambda row: thinking[row])
    chances = (math.comb(n - rank, k - 1) for rank in range(1, n + 1))
    return math.fsum(correct[row] * chance for row, chance in zip(order, chances, strict=False)) / math.comb(n, k)


def shortest_correct(lengths: Sequence[float], correct: Sequence[float]) -> int | None:
    """The index of the shortest right response, ``argmin over correct of tokens``; None where none is right.

    Towards Thinking-Optimal Scaling of Test-Time Compute for LLM Reasoning (TOPS), arXiv 2502.18080. Ties go to the
    lower index: give lower efforts first.

    >>> shortest_correct([5, 9, 7], [0, 1, 1])
    2
    """
    right = [row for row, is_right in enumerate(correct) if is_right]
    return min(right, key=lambda row: lengths[row], default=None)


def preference_pairs(lengths: Sequence[float], correct: Sequence[float]) -> list[tuple[int, int]]:
    """TOPS's pairs (chosen, rejected) of one question for DPO, arXiv 2502.18080; empty where all or none are right.

    Chosen is the shortest right response, rejected the longest wrong one; in a second pair the shortest wrong one, if
    it is shorter than the chosen, which guards against answers that are too short.

    >>> preference_pairs([5, 9, 7, 12], [0, 1, 1, 0])
    [(2, 3), (2, 0)]
    """
    chosen = shortest_correct(lengths, correct)
    wrong = [row for row, is_right in enumerate(correct) if not is_right]
    if chosen is None or not wrong:
        return []
    longest = max(wrong, key=lambda row: lengths[row])
    shortest = min(wrong, key=lambda row: lengths[row])
    return [(chosen, longest)] + [(chosen, shortest)] * (lengths[shortest] < lengths[chosen])


def length_filtered_vote(
    lengths: Sequence[float],
    answers: Sequence[Answer],
    *,
    width: float = 2,
    kept: int = 3,
    min_bucket_size: int = 1,
    count_invalid: bool = False,
    same: Same | None = None,
) -> Answer:
    """Vote among the samples of the ``kept`` length buckets whose answers agree most (lowest entropy).

    When More is Less, arXiv 2502.07266. Bucket j holds ``j width <= l < (j + 1) width``; its entropy is
    ``H_j = -Σ_a p_j(a) log p_j(a)``. The half-open buckets and ties (lower j first) are not settled by the paper; ties
    in the vote go to the answer with the shortest chain. A bucket of one sample has entropy 0 and is kept;
    ``min_bucket_size=2`` leaves those out. ``count_invalid`` lets "no answer" be an answer of its own in the entropies;
    it never wins.

    >>> length_filtered_vote([0, 1, 2, 3, 3], ["A", "B", "A", "C", "C"], kept=1)
    'C'
    """
    for name, value in (("width", width), ("kept", kept), ("min_bucket_size", min_bucket_size)):
        if not value > 0:
            raise ConfigError(f"length_filtered_vote: {name} is {value}; give more than 0")
    answers = as_judged(answers, same=same).answers
    buckets: dict[int, list[int]] = defaultdict(list)
    for row, (length, answer) in enumerate(zip(lengths, answers, strict=True)):
        if answer is not None or count_invalid:
            buckets[int(length // width)].append(row)
    sized = {j: rows for j, rows in buckets.items() if len(rows) >= min_bucket_size}
    order = sorted(sized, key=lambda j: (_entropy([answers[row] for row in sized[j]]), j))
    return _voted([row for j in order[:kept] for row in sized[j]], lengths, answers)


def failed_step_fraction(failed: Sequence[bool]) -> float:
    """FSF: the share of the steps of a reasoning graph that lie in abandoned branches, ``|V_f| / |V|``.

    What Characterizes Effective Reasoning?, arXiv 2509.19284. ``failed`` comes from an annotator; values of different
    annotators cannot be compared. NaN without steps.

    >>> failed_step_fraction([True, False, False, False])
    0.25
    """
    return sum(map(bool, failed)) / len(failed) if failed else math.nan


def lowest_failed_step_fraction(fractions: Sequence[float], thinking: Sequence[float]) -> int:
    """The index of the candidate with the lowest FSF; ties to shorter thinking, then the lower index; NaN last.

    >>> lowest_failed_step_fraction([0.25, float("nan"), 0.25], [90, 10, 80])
    2
    """
    if not fractions:
        raise ConfigError("lowest_failed_step_fraction: no candidates; give at least one")
    ranks = [math.inf if math.isnan(fraction) else fraction for fraction in fractions]
    return min(range(len(ranks)), key=lambda row: (ranks[row], thinking[row]))


def _voted(rows: Sequence[int], lengths: Sequence[float], answers: Sequence[Answer]) -> Answer:
    """The majority answer of some samples, ties to the answer that owns the shortest chain."""
    votes = Counter(answers[row] for row in rows if answers[row] is not None)
    if not votes:
        return None
    most = max(votes.values())
    return answers[min((row for row in rows if votes[answers[row]] == most), key=lambda row: (lengths[row], row))]


def _entropy(answers: Sequence[Answer]) -> float:
    """Entropy of the answers; equal counts give exactly equal values, whatever their order."""
    counts = sorted(Counter(answers).values())
    return -math.fsum(count / len(answers) * math.log(count / len(answers)) for count in counts)
