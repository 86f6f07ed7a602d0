"""Each number of a report against one worked out by hand, on inputs on which no two ways of being wrong agree."""

import math
import re

import pytest

from leanthink import metrics
from leanthink.reporting.build import report_of
from leanthink.reporting.figures import (
    aes,
    compared,
    dominated,
    efficiency_figures,
    figures,
    last_samples,
    vote_figures,
)
from leanthink.reporting.sources import Sample, Source
from leanthink.reporting.variants import curve, over_seeds, smoothed


def sample(question, correct, length, **more):
    given = {"truncated": False, "difficulty": "", "answer": None, "text": "", "gold": "", "overthinking": None, **more}
    return Sample(question=question, correct=correct, length=length, **given)


BASE = [sample("a", 1.0, 100), sample("b", 0.0, 300), sample("c", 1.0, 200), sample("only base", 1.0, 9000)]
SHORT = [sample("a", 1.0, 50), sample("b", 1.0, 60), sample("c", 1.0, 70), sample("only short", 0.0, 1)]
"""On the three questions that both have: accuracy 2/3 and 1, 200 and 60 tokens."""


def source(name, evaluations, metrics=(), **more):
    return Source(name=name, label=name, metrics=list(metrics), evaluations=evaluations, **more)


def test_a_comparison_is_second_minus_first_by_question():
    told = compared("base", BASE, "short", SHORT)
    assert (told.first, told.second, told.accuracy.questions) == ("base", "short", 3)
    assert told.accuracy.difference.value == pytest.approx(1 / 3)
    assert told.tokens.difference.value == pytest.approx(-140)
    back = compared("short", SHORT, "base", BASE)
    assert back.accuracy.difference.value == pytest.approx(-1 / 3)
    assert back.tokens.difference.value == pytest.approx(140)


def test_several_samples_of_a_question_count_as_one_question():
    many = [sample("a", right, length) for right, length in ((1.0, 10), (1.0, 20), (0.0, 60))]
    told = compared("one", [sample("a", 0.0, 5), sample("b", 1.0, 7)], "many", [*many, sample("b", 1.0, 7)])
    assert told.accuracy.difference.value == pytest.approx((2 / 3 + 0) / 2)
    assert told.tokens.difference.value == pytest.approx((25 + 0) / 2)


def test_the_score_of_efficiency_is_against_the_base():
    """dL = (200 - 60) / 200, dA = (1 - 2/3) / (2/3), weights 1, 3 and, where accuracy falls, 5."""
    assert aes(BASE, SHORT).value == pytest.approx(0.7 + 3 * 0.5)
    assert aes(SHORT, BASE).value == pytest.approx((60 - 200) / 60 - 5 / 3)


def test_the_report_compares_with_the_policy_before_training():
    report = report_of([source("run", {0: BASE, 9: SHORT}, [{"step": 9}])])
    (row,) = report.efficiency.rows
    assert float(row[1].split()[0]) == pytest.approx(2.2)
    assert float(row[2]) == pytest.approx(100 * (2400 - 45.25) / 2400, abs=0.06)  # all questions of each
    (row,) = report.comparisons.rows
    assert row[:2] == ["run", "3"]
    assert [float(cell.split()[0]) for cell in (row[2], row[4])] == pytest.approx([33.3, -140.0])


def test_the_report_compares_with_the_run_that_is_named():
    report = report_of([source("long", {9: BASE}), source("short", {9: SHORT})], "short")
    (row,) = report.comparisons.rows
    assert row[0] == "long"
    assert [float(cell.split()[0]) for cell in (row[2], row[4])] == pytest.approx([-33.3, 140.0])


def test_each_difficulty_has_its_own_samples():
    samples = [
        sample("a", 1.0, 10, difficulty="2"),
        sample("b", 0.0, 30, difficulty="10"),
        sample("c", 1.0, 50, difficulty="10", truncated=True),
        sample("d", None, 7, difficulty="10"),
        sample("e", 0.0, 500),
    ]
    own = figures(3, samples)
    assert list(own.by_difficulty) == ["2", "10"]  # as numbers
    easy, hard = own.by_difficulty["2"], own.by_difficulty["10"]
    assert (easy.questions, easy.accuracy.value, easy.tokens.value, easy.unknown) == (1, 1.0, 10.0, 0)
    assert (hard.questions, hard.accuracy.value, hard.tokens.value, hard.unknown) == (2, 0.5, 40.0, 1)
    assert (hard.tokens_right.value, hard.tokens_wrong.value, hard.truncated.value) == (50.0, 30.0, 0.5)
    assert (own.questions, own.samples, own.unknown) == (4, 4, 1)
    assert own.accuracy.value == 0.5 and own.tokens.value == 147.5
    assert hard.by_difficulty == {}


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(10, 0.5), (10, 0.4)], [False, True]),  # as many tokens, less accurate
        ([(10, 0.5), (20, 0.5)], [False, True]),  # as accurate, more tokens
        ([(10, 0.5), (20, 0.6)], [False, False]),
        ([(10, 0.5), (10, 0.5), (11, 0.5)], [False, False, True]),
        ([(10, 0.6), (20, 0.5), (5, 0.1)], [False, True, False]),
    ],
)
def test_a_point_is_dominated_where_another_is_no_worse_and_somewhere_better(points, expected):
    assert dominated(points) == expected
    assert dominated(points[::-1]) == expected[::-1]


def test_pass_at_k_is_over_what_every_question_has():
    samples = [sample("a", right, 1) for right in (1.0, 0.0, 0.0, 0.0, 0.0)]
    samples += [sample("b", right, 1) for right in (1.0, 1.0, 0.0, None)]
    own = figures(0, samples)
    assert set(own.pass_at_k) == {1, 2, 3}
    assert own.pass_at_k[2].value == pytest.approx((2 / 5 + 1) / 2)
    assert own.pass_at_k[3].value == pytest.approx((3 / 5 + 1) / 2)


def test_the_last_evaluation_counts_and_the_start_only_before_training():
    assert last_samples(source("x", {0: BASE, 20: SHORT, 9: BASE})) == (20, SHORT)
    assert last_samples(source("x", {0: BASE})) == (0, BASE)
    assert last_samples(source("x", {0: BASE}, [{"step": 0}])) == (0, BASE)
    assert last_samples(source("x", {0: BASE}, [{"step": 0}, {"step": 1}])) is None
    assert last_samples(source("x", {})) is None


def test_over_seeds_is_a_mean_with_the_least_and_the_greatest_value():
    def interval(value, low=0.0, high=9.0):
        return metrics.Interval(value=value, low=low, high=high)

    several = over_seeds([interval(1.0), interval(5.0), interval(3.0), interval(math.nan)])
    assert (several.value, several.low, several.high) == (3.0, 1.0, 5.0)
    assert over_seeds([interval(1.0, 0.5, 2.5)]) == interval(1.0, 0.5, 2.5)


def test_curves_are_means_over_seeds_at_each_step():
    one = source("a", {}, [{"step": 1, "x": 1.0}, {"step": 2, "x": 3.0}])
    two = source("b", {}, [{"step": 1, "x": 5.0}, {"step": 2, "x": math.nan}])
    assert curve([one, two], "x") == [(1, 3.5, 2.0, 5.0), (2, 2.0, 2.0, 2.0)]  # a's two points smooth to 2 each
    assert smoothed([(1, 0.0), (2, 6.0), (3, 0.0), (4, 0.0)], width=3) == [(1, 3.0), (2, 2.0), (3, 2.0), (4, 0.0)]


def test_efficiency_of_responses_with_a_verdict_only():
    text = "So the answer is 7.\n\nWait, let me check. The answer is 7.\n\nAgain: the answer is 8."
    told = efficiency_figures([sample("a", 1.0, 9, text=text, gold="7", overthinking=True)])
    alone = efficiency_figures(
        [
            sample("a", 1.0, 9, text=text, gold="7", overthinking=True),
            sample("b", None, 9, text=text * 3, gold="8", overthinking=False),
        ]
    )
    assert told["overthinking frequency"] == 1.0
    assert alone["overthinking frequency"] == 0.5
    assert {name: value for name, value in told.items() if "efficiency" in name} == {
        name: value for name, value in alone.items() if "efficiency" in name
    }


def test_notes_name_the_direction():
    report = report_of([source("run", {0: BASE, 9: SHORT}, [{"step": 9}])])
    assert re.search(r"Difference to: before training", report.comparisons.note)


@pytest.mark.parametrize(("most", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_pass_at_k_is_told_for_powers_of_two_and_all_samples(most, expected):
    assert list(figures(0, [sample("a", 1.0, 1)] * most).pass_at_k) == expected


def test_votes_by_hand():
    """Two samples a question, as the second question has no more; its shortest is wrong and its first seen, too."""
    samples = [
        sample("a", 1.0, 30, answer="1/2"),
        sample("a", 1.0, 10, answer="0.5"),
        sample("a", 0.0, 90, answer="7"),
        sample("b", 0.0, 20, answer="3"),
        sample("b", 1.0, 50, answer="4"),
    ]
    votes = vote_figures(samples)
    told = {name: (accuracy.value, spent) for name, (accuracy, spent) in votes.rules.items()}
    assert told == {"majority@2": (0.5, (40 + 70) / 2), "short-1@2": (0.5, (20 + 40) / 2)}
    assert votes.conflicts == []
    (grid,) = [report_of([source("run", {9: samples})]).votes]
    assert [row[:2] for row in grid.rows] == [["run", "majority@2"], ["run", "short-1@2"]]


def test_a_truncated_sample_never_finishes():
    samples = [
        sample("a", 0.0, 10, answer="7", truncated=True),
        sample("a", 1.0, 20, answer="8"),
        sample("a", 1.0, 30, answer="8"),
    ]
    rules = vote_figures(samples).rules
    assert rules["short-1@3"][0].value == 1.0
    assert rules["short-1@3"][1] == 10 + 20 + 20


def test_no_votes_without_several_samples_or_without_answers():
    assert vote_figures([sample("a", 1.0, 9, answer="7"), sample("b", 1.0, 9, answer="7")]).rules == {}
    assert vote_figures([sample("a", 1.0, 9), sample("a", 1.0, 9)]).rules == {}
    assert vote_figures([]).rules == {}
    assert vote_figures([sample("a", 1.0, 9, answer="7"), sample("a", 0.0, 9)]).rules["majority@2"][0].value == 1.0


def test_an_answer_with_two_verdicts_is_told_with_its_question():
    samples = [sample("a", right, 9, answer=answer) for right, answer in ((1.0, "0.5"), (0.0, "1/2"), (1.0, "0.50"))]
    votes = vote_figures(samples)
    assert votes.conflicts == [("0.5", "a")]
    assert votes.rules["majority@3"][0].value == 1.0


def test_tokens_saved_are_of_responses_with_a_verdict():
    base, short = [sample("a", 1.0, 100), sample("b", None, 900)], [sample("a", 1.0, 60), sample("b", None, 1)]
    (row,) = report_of([source("run", {0: base, 9: short}, [{"step": 9}])]).efficiency.rows
    assert row[2] == "40.0"
