"""The metrics: the papers' worked examples to 1e-6, slow twins on random samples, corners and wrong arguments."""

from __future__ import annotations

import math
import random
from itertools import combinations

import numpy
import pytest

from leanthink import metrics
from leanthink.core.errors import ConfigError
from leanthink.metrics import Solution
from leanthink.metrics.intervals import sign_flip_p_value
from leanthink.metrics.solutions import PERSPECTIVES, split_solutions

TRIPLES = ((1, 3, 5), (1, 5, 10), (0.1, 0.1, 1.0))
AES = [
    (2000, 0.63, (0.650000, 0.750000, 0.055000)),
    (2000, 0.57, (0.250000, 0.000000, 0.000000)),
    (2000, 0.60, (0.500000, 0.500000, 0.050000)),
    (5000, 0.66, (0.050000, 0.250000, -0.015000)),
    (1000, 0.48, (-0.250000, -1.250000, -0.125000)),
]
RESPONSES = [
    [(100, 1, "a"), (60, 1, "a"), (40, 1, "b")],
    [(120, 0, "a"), (80, 1, "b"), (50, 0, "a")],
    [(90, 0, "a"), (70, 0, "b")],
    [(150, 1, "a")],
]
THINKING = [5200, 1800, 2500, 2500, 9000, 1500, 32768, 4100]
ANSWERS = [42, 17, 42, 17, 42, 8, None, 42]
FINISHED = [True] * 6 + [False, True]
LFV_LENGTHS = [1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 8, 9, 9, 12]
LFV_ANSWERS = list("ABACCCCDABADAA")


def solutions(responses):
    return [[Solution(tokens=t, correct=bool(c), perspective=p) for t, c, p in response] for response in responses]


@pytest.mark.parametrize(("length", "accuracy", "expected"), AES)
def test_accuracy_efficiency_score(length, accuracy, expected):
    for (alpha, beta, gamma), value in zip(TRIPLES, expected, strict=True):
        score = metrics.accuracy_efficiency_score(0.6, 4000, accuracy, length, alpha=alpha, beta=beta, gamma=gamma)
        assert score == pytest.approx(value, abs=1e-6)


def test_scores_without_a_baseline_are_nan():
    assert math.isnan(metrics.accuracy_efficiency_score(0.0, 4000, 0.5, 100))
    assert math.isnan(metrics.accuracy_efficiency_score(0.5, 0, 0.5, 100))
    assert math.isnan(metrics.length_reduction(0, 1))


def test_efficiency_of_solutions():
    responses = solutions(RESPONSES)
    assert metrics.outcome_efficiency(responses) == pytest.approx(0.575, abs=1e-6)
    assert metrics.process_efficiency(responses) == pytest.approx(0.875, abs=1e-6)
    assert [metrics.distinctness(responses, m) for m in (1, 2, 3)] == pytest.approx([1, 2 / 3, 0.5], abs=1e-6)
    assert math.isnan(metrics.distinctness(responses, 4))
    assert metrics.outcome_efficiency([*responses, [], [Solution(tokens=0, correct=True)]]) == pytest.approx(0.575)
    assert math.isnan(metrics.process_efficiency([]))


def test_the_papers_response_to_two_plus_three():
    first = Solution(tokens=39, correct=True, perspective="a")
    rest = [Solution(tokens=284, correct=True, perspective="b"), Solution(tokens=578, correct=True, perspective="a")]
    assert metrics.outcome_efficiency([[first, *rest]]) == pytest.approx(0.043285, abs=1e-6)
    assert metrics.process_efficiency([[first, *rest]]) == pytest.approx(0.358491, abs=1e-6)


@pytest.mark.parametrize(
    ("m", "answer", "compute", "time"),
    [(1, 8, 12000, 1500), (2, 8, 14100, 1800), (3, 8, 18300, 2500), (5, 17, 24700, 4100)],
)
def test_short_m(m, answer, compute, time):
    vote = metrics.short_m_vote(THINKING, ANSWERS, FINISHED, m)
    assert (vote.answer, vote.compute, vote.time) == (answer, compute, time)


def test_majority_and_sequential_compute():
    vote = metrics.majority_vote(THINKING, ANSWERS)
    assert (vote.answer, vote.compute, vote.time) == (42, 59368, 32768)
    assert metrics.sequential_short_compute(THINKING, FINISHED, 1) == 16900
    assert metrics.sequential_short_compute(THINKING, FINISHED, 3) == 21000


def test_a_wrong_answer_as_long_as_the_chosen_one_makes_no_second_pair():
    assert metrics.preference_pairs([5, 5, 9], [1, 0, 0]) == [(0, 2)]


def test_perspectives_are_alike_by_the_share_of_their_words_that_both_have():
    """Seven of ten words are in both: `a b \\ boxed { 1 }` of these and `c`, `d`, `e`."""
    text = r"a b c \boxed{1} a b d e \boxed{1}"
    for overlap, expected in ((0.7, [0, 0]), (0.71, [0, 1])):
        assert [one.perspective for one in split_solutions(text, "1", overlap=overlap)] == expected


def test_a_solution_ends_with_its_answer_and_the_last_has_what_follows():
    told = [(one.tokens, one.correct) for one in split_solutions(r"The answer is 4. \boxed{ $5$ } so it is", "5")]
    assert told == [(5, False), (10, True)]  # The answer is 4 . | \ boxed { $ 5 $ } so it is
    assert [(one.tokens, one.correct) for one in split_solutions("no answer", "5")] == [(2, False)]
    with pytest.raises(ConfigError, match=r"overlap is 1\.5; give a share from 0 to 1"):
        split_solutions("", "5", overlap=1.5)


def test_perspectives_beyond_the_most_that_are_told_apart_are_one():
    text = " ".join(rf"w{number} x{number} y{number} \boxed{{{number}}}" for number in range(PERSPECTIVES + 3))
    given = [one.perspective for one in split_solutions(text, "0", overlap=1.0)]
    assert given == [*range(PERSPECTIVES), *[PERSPECTIVES] * 3]


def test_of_too_many_subsets_two_thousand_are_drawn():
    drawn = []
    metrics.mean_over_subsets(lambda rows: drawn.append(tuple(rows)) or 0.0, n=40, k=10)
    assert len(drawn) == 2000 and len(set(drawn)) > 1990 and all(list(rows) == sorted(set(rows)) for rows in drawn)


def test_chains_without_an_answer_have_no_vote_however_many_they_are():
    assert metrics.majority_vote([1, 2, 3, 4], [None, None, "7", None]).answer == "7"
    assert metrics.short_m_vote([1, 2, 3, 4], [None, None, "7", None], [True] * 4, 4).answer == "7"
    assert metrics.length_filtered_vote([0, 1, 0, 1], [None, None, "7", None], count_invalid=True) == "7"


def test_one_chain_after_another_is_aborted_by_those_that_ended_only():
    """10 never ends, so 20 is the first to end; 30 is aborted there, and 15, which ends sooner, aborts 40."""
    assert metrics.sequential_short_compute([10, 20, 30, 15, 40], [False, True, True, True, True], 1) == 80
    assert metrics.sequential_short_compute([10, 20, 30, 15, 40], [True] * 5, 2) == 10 + 20 + 20 + 15 + 15


def test_short_m_where_too_few_or_none_finish():
    vote = metrics.short_m_vote([9, 4, 9], ["a", "b", "c"], [False, True, False], 2)
    assert (vote.answer, vote.compute, vote.time) == ("b", 22, 9)
    assert metrics.short_m_vote([9, 9], ["a", "b"], [False, False], 1).answer is None


def test_length_filtered_vote():
    assert metrics.length_filtered_vote(LFV_LENGTHS, LFV_ANSWERS) == "C"
    assert metrics.length_filtered_vote(LFV_LENGTHS, LFV_ANSWERS, min_bucket_size=2) == "C"
    assert metrics.length_filtered_vote(LFV_LENGTHS, LFV_ANSWERS, kept=99) == "A"  # plain voting
    assert metrics.length_filtered_vote([1, 2], [None, None]) is None
    assert metrics.length_filtered_vote([0, 0, 3], [None, "B", "A"], kept=1, count_invalid=True) == "A"


def test_failed_step_fraction():
    values = [
        metrics.failed_step_fraction([True] * failed + [False] * (n - failed))
        for failed, n in ((0, 12), (3, 12), (9, 20), (20, 20))
    ]
    assert values == pytest.approx([0, 0.25, 0.45, 1], abs=1e-6)
    assert math.isnan(metrics.failed_step_fraction([]))
    assert metrics.lowest_failed_step_fraction([math.nan, 0.5], [1, 9]) == 1


def test_shortest_correct_and_pairs():
    assert metrics.shortest_correct([3, 3], [1, 1]) == 0
    assert metrics.shortest_correct([3, 3], [0, 0]) is None
    assert metrics.preference_pairs([3, 9, 5], [1, 0, 0]) == [(0, 1)]
    assert metrics.preference_pairs([3, 9], [1, 1]) == []


def slow_pass_at_k(correct, k):
    """The share of k-subsets with a right sample."""
    subsets = list(combinations(correct, k))
    return sum(any(subset) for subset in subsets) / len(subsets)


def slow_short_m(lengths, answers, finished, m):
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


def slow_short_m_at_k(lengths, answers, correct, finished, m, k):
    """The mean over all k-subsets."""
    total, count = 0.0, 0
    for rows in combinations(range(len(lengths)), k):
        answer, _, _ = slow_short_m(*([values[row] for row in rows] for values in (lengths, answers, finished)), m)
        total += 0 if answer is None else max(correct[row] for row in rows if answers[row] == answer)
        count += 1
    return total / count


def slow_efficiency(responses):
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


def slow_filtered_vote(lengths, answers, width, kept):
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


def test_against_slow_twins():
    generator = random.Random(7)
    for _ in range(1000):
        n = generator.randint(1, 6)
        lengths = [generator.randint(1, 9) for _ in range(n)]
        answers = [generator.choice([None, "a", "b", "c"]) for _ in range(n)]
        finished = [generator.random() < 0.8 for _ in range(n)]
        correct = [float(answer == "a") for answer in answers]
        k = generator.randint(1, n)
        m = generator.randint(1, k)
        assert metrics.pass_at_k(n, int(sum(correct)), k) == pytest.approx(slow_pass_at_k(correct, k), abs=1e-9)
        vote = metrics.short_m_vote(lengths, answers, finished, m)
        assert (vote.answer, vote.compute, vote.time) == slow_short_m(lengths, answers, finished, m)
        given = (lengths, answers, correct, finished, m, k)
        if m > 1 or None not in answers:  # without votes, rank and vote differ: a chain without an answer is wrong
            assert metrics.short_m_at_k(*given) == pytest.approx(slow_short_m_at_k(*given), abs=1e-9)
        said = [answer or "d" for answer in answers]
        width, kept = generator.choice([1, 2, 3]), generator.randint(1, 4)
        filtered = metrics.length_filtered_vote(lengths, said, width=width, kept=kept)
        assert filtered in slow_filtered_vote(lengths, said, width, kept)
        responses = [
            [
                (generator.randint(1, 50), generator.random() < 0.5, generator.choice("abc"))
                for _ in range(generator.randint(1, 4))
            ]
            for _ in range(n)
        ]
        outcome, process = slow_efficiency(responses)
        assert metrics.outcome_efficiency(solutions(responses)) == pytest.approx(outcome, abs=1e-9)
        assert metrics.process_efficiency(solutions(responses)) == pytest.approx(process, abs=1e-9)


def test_a_response_without_tokens_hides_none_behind_it():
    """Both are means over the others, wherever the empty one stands."""
    empty, half = [], [metrics.Solution(tokens=50, correct=True, perspective="a") for _ in range(2)]
    whole = [metrics.Solution(tokens=10, correct=True, perspective="a")]
    for responses in ([half, empty, whole], [empty, half, whole], [half, whole, empty]):
        assert metrics.outcome_efficiency(responses) == metrics.process_efficiency(responses) == 0.75


def slow_sign_flip_p_value(differences):
    """Exact, one pattern at a time."""
    observed = abs(sum(differences))
    as_large = 0
    for pattern in range(2 ** len(differences)):
        flipped = sum(value if pattern >> bit & 1 else -value for bit, value in enumerate(differences))
        as_large += abs(flipped) >= observed - 1e-9
    return as_large / 2 ** len(differences)


def test_sign_flips_against_the_slow_twin():
    generator = random.Random(3)
    for _ in range(50):
        differences = [generator.choice([-1, -0.5, 0, 0, 0.3, 1]) for _ in range(generator.randint(1, 9))]
        slow = slow_sign_flip_p_value(differences)
        assert sign_flip_p_value(numpy.array(differences, dtype=float)) == pytest.approx(slow)


def test_drawn_sign_flips_come_close_to_all_of_them():
    differences = numpy.array([1.0, -1.0] * 4 + [1.0] * 6)
    assert sign_flip_p_value(differences) == pytest.approx(slow_sign_flip_p_value(differences), abs=0.02)


def test_drawn_sign_flips_count_the_observed_pattern_once():
    """Of fourteen that all go one way hardly any drawn pattern is as extreme; where they cancel, every one is."""
    assert sign_flip_p_value(numpy.ones(14), flips=10) == 1 / 11
    assert sign_flip_p_value(numpy.array([1.0, -1.0] * 7), flips=300) == 1.0


def test_maj_at_k_and_subsets():
    assert metrics.maj_at_k(["a", "b"], [1, 0], 2) == 1  # a tie goes to the first seen
    assert metrics.maj_at_k([None, None], [0, 0], 1) == 0
    drawn = metrics.mean_over_subsets(lambda rows: float(0 in rows), n=30, k=15)  # too many to try them all
    assert drawn == pytest.approx(0.5, abs=0.05)


def test_bootstrap_covers_as_often_as_it_says():
    generator = numpy.random.default_rng(5)
    covered = 0
    for trial in range(100):
        right = generator.random(100) < 0.6
        sums = {"right": right.astype(float), "count": numpy.ones(100)}
        interval = metrics.bootstrap(sums, lambda s: s["right"] / s["count"], draws=300, seed=trial)
        covered += interval.low <= 0.6 <= interval.high
    assert 88 <= covered <= 100


def test_bootstrap_of_nothing_and_of_one_question():
    assert math.isnan(metrics.bootstrap({"x": []}, lambda s: s["x"]).value)
    one = metrics.bootstrap({"x": [2.0]}, lambda s: s["x"])
    assert one.value == 2 and math.isnan(one.low)


def test_paired_comparison_takes_shared_questions_only():
    result = metrics.paired_comparison({1: 0.0, 2: 1.0, 3: 1.0}, {2: 1.0, 3: 1.0, 4: 0.0})
    assert (result.questions, result.difference.value, result.p_value) == (2, 0, 1)
    assert math.isnan(metrics.paired_comparison({1: 0.0}, {2: 1.0}).p_value)


def test_a_paired_difference_is_the_second_minus_the_first():
    difference = metrics.paired_comparison(dict.fromkeys(range(9), 1.0), dict.fromkeys(range(9), 3.5)).difference
    assert (difference.value, difference.low, difference.high) == (2.5, 2.5, 2.5)


@pytest.mark.parametrize(
    ("call", "cure"),
    [
        (lambda: metrics.pass_at_k(4, 2, 5), "draw more samples"),
        (lambda: metrics.pass_at_k(4, 5, 1), "give 0 to 4"),
        (lambda: metrics.short_m_at_k([1], ["a"], [1], [True], 2, 1), "give m of 1 to k"),
        (lambda: metrics.length_filtered_vote([1], ["a"], width=0), "width is 0"),
        (lambda: metrics.accuracy_efficiency_score(1, 1, 1, 1, gamma=-1), "gamma is -1"),
        (lambda: metrics.distinctness([], 0), "count from 1"),
        (lambda: metrics.bootstrap({"x": [1]}, lambda s: s["x"], level=95), "level is 95"),
        (lambda: metrics.lowest_failed_step_fraction([], []), "at least one"),
    ],
)
def test_wrong_arguments(call, cure):
    with pytest.raises(ConfigError, match=cure):
        call()
