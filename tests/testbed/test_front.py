from __future__ import annotations

import itertools
import random
from dataclasses import replace
from fractions import Fraction

import pytest

from leanthink.core.errors import ConfigError
from leanthink.testbed.front import (
    front,
    plan_points,
    searches,
    step_gain,
    trace_point,
    upper_hull,
    waste_dropped,
)
from leanthink.testbed.search import Search, right_candidate, sample_question, sample_trace

LENGTHS = (6, 9, 13, 17, 21, 25, 29, 33)
"""Words of a response with 0, 1, ... tries, end token included: counted by hand on written-out traces."""


def all_plans(candidates: int) -> list[tuple[Fraction, Fraction]]:
    """Tokens and accuracy of every deterministic policy of one K, by trying each on every place of the right one.

    A policy is an order-free plan: after each failure it stops or goes on, and stopping it names any candidate. After a
    success it stops and names it, or does what it would have done; both are tried. A policy may also try a candidate
    again. Tries are limited to K + 1, more only cost.
    """
    points = set()
    most = candidates + 1
    for asked in range(most + 1):
        for tried in itertools.product(range(candidates), repeat=asked):
            for guess in range(candidates):
                for heeds in (True, False):
                    tokens = right = 0
                    for place in range(candidates):
                        found = tried.index(place) + 1 if heeds and place in tried else None
                        tokens += LENGTHS[found or asked]
                        right += found is not None or guess == place
                    points.add((Fraction(tokens, candidates), Fraction(right, candidates)))
    return sorted(points)


def best_accuracy(points: list[tuple[Fraction, Fraction]], tokens: Fraction) -> Fraction:
    """Over all pairs of policies, mixed so that expected tokens do not exceed what is given."""
    best = Fraction(0)
    for (x, y), (further, higher) in itertools.product(points, repeat=2):
        if x <= tokens <= further:
            share = Fraction(0) if further == x else (tokens - x) / (further - x)
            best = max(best, y + share * (higher - y))
        if x <= tokens:
            best = max(best, y)
    return best


@pytest.mark.parametrize("candidates", [1, 2, 3])
def test_no_policy_of_small_k_passes_the_front_and_one_reaches_it(candidates: int) -> None:
    points = all_plans(candidates)
    own = front(candidates)
    for tokens in [Fraction(n, 4) for n in range(24, 70)]:
        assert own.accuracy_at(float(tokens)) == pytest.approx(float(best_accuracy(points, tokens)), abs=1e-12)


def test_over_a_mix_no_split_of_the_tokens_is_better_than_the_greedy_one() -> None:
    """Every way to share tokens between K = 2, 3 and 5 in small portions, against the front."""
    parts = {2: 0.5, 3: 0.3, 5: 0.2}
    mixed = front(parts)
    grid = [index / 8 for index in range(9)]
    for tokens in (6.5, 8.0, 9.0, 10.0, 12.0):
        best = 0.0
        for shares in itertools.product(grid, repeat=2):
            each, left = {}, tokens
            for k, share in zip((2, 3), shares, strict=True):
                each[k] = 6 + share * (front(k).corners[-1][0] - 6)
                left -= parts[k] * each[k]
            each[5] = left / parts[5]
            values = {k: front(k).accuracy_at(x) for k, x in each.items()}
            if all(value is not None for value in values.values()):
                best = max(best, sum(parts[k] * (value or 0.0) for k, value in values.items()))
        reached = mixed.accuracy_at(tokens)
        assert reached is not None and best <= reached + 1e-12
        assert reached - best < 0.05


def test_the_greedy_gain_of_a_token_falls_from_piece_to_piece() -> None:
    corners = front(dict.fromkeys(range(2, 9), 1.0)).corners
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(corners)]
    assert slopes == sorted(slopes, reverse=True)
    assert corners[0] == pytest.approx((6.0, sum(1 / k for k in range(2, 9)) / 7))
    assert corners[-1][1] == pytest.approx(1.0)


@pytest.mark.parametrize("candidates", range(2, 9))
def test_plans_are_what_simulated_searches_do(candidates: int) -> None:
    """Each plan on every place of the right candidate, counted."""
    for gives_up, (tokens, accuracy) in enumerate(plan_points(candidates)):
        spent = right = 0
        for place in range(candidates):
            found = place < gives_up
            spent += LENGTHS[place + 1 if found else gives_up]
            right += found or place == gives_up
        assert (tokens, accuracy) == pytest.approx((spent / candidates, right / candidates))


@pytest.mark.parametrize("candidates", range(2, 9))
def test_the_optimal_policy_of_one_k_lands_on_its_front(candidates: int) -> None:
    own, plans = front(candidates), plan_points(candidates)
    for tokens in (6.0, 7.0, 8.5, own.corners[-1][0], 99.0):
        shares = searches(candidates, tokens)
        assert sum(shares.values()) == pytest.approx(1.0)
        assert sum(share * plans[t][0] for t, share in shares.items()) == pytest.approx(min(tokens, own.corners[-1][0]))
        assert sum(share * plans[t][1] for t, share in shares.items()) == pytest.approx(own.accuracy_at(tokens))


def test_distance_is_measured_along_both_axes() -> None:
    own = front(2)  # from (6, 0.5) to (9, 1)
    found = own.distance(10.5, 0.75)
    assert (found.tokens_above, found.accuracy_below) == pytest.approx((3.0, 0.25))
    beyond = own.distance(7.0, 0.9)
    assert beyond.tokens_above < 0 and beyond.accuracy_below is not None and beyond.accuracy_below < 0
    assert own.distance(5.0, 0.1).accuracy_below is None
    assert own.tokens_at(0.2) == 6.0 and own.tokens_at(1.0) == 9.0


def test_gains_are_differences_of_guesses() -> None:
    for candidates in range(2, 9):
        for failed in range(candidates - 1):
            guess, later = Fraction(1, candidates - failed), Fraction(1, candidates - failed - 1)
            assert step_gain(candidates, failed, success=False) == pytest.approx(float(later - guess))
            assert step_gain(candidates, failed, success=True) == pytest.approx(float(1 - guess))
        # Over the place of the right one a try gains what its chance of success and of failure say.
        assert step_gain(candidates, candidates - 1, success=True) == 0.0


@pytest.mark.parametrize("candidates", [2, 3, 5, 8])
@pytest.mark.parametrize("task", [Search(), Search(misread=0.2, repeat_success=0.5), Search(no_try=0.3, early=0.0)])
def test_the_traces_point_is_that_of_sampled_traces(candidates: int, task: Search) -> None:
    rng = random.Random(candidates)
    count, tokens, squares, right = 8000, 0, 0, 0
    for _ in range(count):
        question = sample_question(rng, candidates, task)
        trace = sample_trace(rng, question, task)
        words = len(trace.text.split()) + 1
        tokens, squares = tokens + words, squares + words**2
        right += trace.answer == right_candidate(question, task)
    wanted_tokens, wanted_accuracy = trace_point(candidates, task)
    error = ((squares / count - (tokens / count) ** 2) / count) ** 0.5
    assert tokens / count == pytest.approx(wanted_tokens, abs=4.5 * error)
    assert right / count == pytest.approx(wanted_accuracy, abs=4.5 * (0.25 / count) ** 0.5)


def test_dropping_waste_ends_where_traces_without_waste_are_and_below_the_front() -> None:
    mix = dict.fromkeys(range(2, 9), 1.0)
    curve = waste_dropped(mix)
    assert curve[0] == pytest.approx(tuple(sum(trace_point(k)[axis] for k in mix) / 7 for axis in (0, 1)))
    clean = replace(Search(), repeat_failure=0.0, repeat_success=0.0, try_last=0.0, misread=0.5)
    assert curve[-1] == pytest.approx(tuple(sum(trace_point(k, clean)[axis] for k in mix) / 7 for axis in (0, 1)))
    assert [x for x, _ in curve] == sorted((x for x, _ in curve), reverse=True)
    for tokens, accuracy in curve:
        below = front(mix).distance(tokens, accuracy).accuracy_below
        assert below is not None and below > 0


def test_a_hull_leaves_out_what_lies_under_it() -> None:
    assert upper_hull([(0.0, 0.0), (1.0, 0.9), (2.0, 1.0), (3.0, 1.9)]) == [(0.0, 0.0), (1.0, 0.9), (3.0, 1.9)]


def test_bad_input_is_refused_by_place_and_cure() -> None:
    with pytest.raises(ConfigError, match=r"front: mix=\{\}; give numbers of candidates"):
        front({})
    with pytest.raises(ConfigError, match=r"accuracy=1\.5; give a share"):
        front(2).tokens_at(1.5)
    with pytest.raises(ConfigError, match="failed=1 among 2"):
        step_gain(2, 1, success=False)
    with pytest.raises(ConfigError, match="an answer takes 6"):
        searches(3, 5.0)
