"""Slow second implementations of the metrics, in plain loops, from the papers alone."""

from __future__ import annotations

import math
from itertools import combinations


def pass_at_k(correct, k):
    """The share of k-subsets with a right sample."""
    subsets = list(combinations(correct, k))
    return sum(any(subset) for subset in subsets) / len(subsets)


def short_m(lengths, answers, finished, m):
    """Runs all chains token by token until m have ended; (answer, compute, time)."""
    ended, clock, compute = [], 0, 0
    while len(ended) < m and clock < max(lengths):
        clock += 1
        compute += sum(length >= clock for length in lengths)
        for row, length in enumerate(lengths):
            if length == clock and finished[row] and len(ended) < m:
                ended.append(row)
    best, best_count = None, 0
    for row in ended:  # in the order in which they ended: the shortest chain comes first
        count = sum(answers[other] == answers[row] for other in ended)
        if answers[row] is not None and count > best_count:
            best, best_count = answers[row], count
    return best, compute, clock


def short_m_at_k(lengths, answers, correct, finished, m, k):
    """The mean over all k-subsets."""
    total, count = 0.0, 0
    for rows in combinations(range(len(lengths)), k):
        answer, _, _ = short_m(*([values[row] for row in rows] for values in (lengths, answers, finished)), m)
        total += 0 if answer is None else max(correct[row] for row in rows if answers[row] == answer)
        count += 1
    return total / count


def efficiency(responses):
    """(outcome efficiency, process efficiency) of lists of (tokens, correct, perspective)."""
    outcome = process = 0.0
    for solutions in responses:
        total = until = distinct = 0
        solved, seen = False, []
        for tokens, correct, perspective in solutions:
            total += tokens
            if not solved:
                until += tokens
            solved = solved or bool(correct)
            if perspective not in seen:
                seen.append(perspective)
                distinct += tokens
        outcome += solved * until / total
        process += distinct / total
    return outcome / len(responses), process / len(responses)


def filtered_vote(lengths, answers, width, kept):
    """The length-filtered vote."""
    buckets = {}
    for length, answer in zip(lengths, answers, strict=True):
        buckets.setdefault(math.floor(length / width), []).append((length, answer))
    entropies = []
    for j in sorted(buckets):
        given = [answer for _, answer in buckets[j]]
        shares = sorted(given.count(answer) / len(given) for answer in set(given))
        entropies.append((round(-sum(share * math.log(share) for share in shares), 12), j))
    members = [pair for _, j in sorted(entropies)[:kept] for pair in buckets[j]]
    given = [answer for _, answer in members]
    most = max(given.count(answer) for answer in given)
    tied = {answer for answer in given if given.count(answer) == most}
    shortest = min(length for length, answer in members if answer in tied)
    return {answer for length, answer in members if answer in tied and length == shortest}


def sign_flip_p_value(differences):
    """Exact, one pattern at a time."""
    observed = abs(sum(differences))
    as_large = 0
    for pattern in range(2 ** len(differences)):
        flipped = sum(value if pattern >> bit & 1 else -value for bit, value in enumerate(differences))
        as_large += abs(flipped) >= observed - 1e-9
    return as_large / 2 ** len(differences)
