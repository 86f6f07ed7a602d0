"""The search testbed's figures and the budgets, each against one worked out by hand."""

from __future__ import annotations

import json
import math
import random

import pytest

from leanthink.cli import main
from leanthink.reporting.budgets import accuracy_by_budget, budgets_of, cut_texts, right_within
from leanthink.reporting.build import report_of
from leanthink.reporting.fronts import is_search, lines_of, mix_of, question_of, search_figures
from leanthink.reporting.sources import Sample, Source
from leanthink.testbed.search import Search, right_candidate, sample_question, sample_trace
from leanthink.verify.same import same_answers

TWO, THREE = "21 42 times 91 is 139 ?\n42", "21 42 13 times 91 is 119 ?\n13"


def sample(question, correct, text="", **more):
    given = {"truncated": False, "difficulty": "", "answer": None, "gold": "33", "overthinking": None, **more}
    return Sample(question=question, correct=correct, text=text, **{"length": len(text.split()) + 1.0, **given})


GUESS = sample(TWO, 0.0, r"<think> </think> \boxed{ 21 }")
FOUND = sample(TWO, 1.0, r"<think> 21 168 no </think> \boxed{ 42 }")
REPEATED = sample(THREE, 1.0, r"<think> 13 119 yes wait 13 119 yes </think> \boxed{ 13 }")
BROKEN = sample(THREE, 0.0, r"<think> 42 139 no </think> 13")
END = [GUESS, FOUND, REPEATED, BROKEN, sample(THREE, None, "<think> 13 119 yes")]
"""Six, nine, thirteen and seven tokens; the last has no verdict."""


def test_the_figures_of_an_evaluation_by_hand():
    own = search_figures(END)
    assert own.waste.value == pytest.approx(4 / 35)
    assert own.repetitions.value == pytest.approx(1 / 4)
    assert own.first_right.value == pytest.approx(1 / 3)
    assert own.chance == pytest.approx((1 / 2 + 1 / 3 + 1 / 3) / 3)
    assert own.malformed.value == pytest.approx(1 / 4)
    assert own.slope == pytest.approx(10 - 7.5)
    # A whole search takes 9 tokens of two candidates, and 6 + 3 + 4 * 2 / 3 of three.
    assert own.slope_needed == pytest.approx(6 + 3 + 8 / 3 - 9)


def test_the_distance_is_to_the_front_of_the_evaluations_own_mix():
    """Half right at 8.75 tokens. At 6 tokens the mix is right 5 / 12; the front rises by 1 / 6 a token of K = 2, and
    K = 2, for half of the questions, takes 1.5 more tokens in the mean."""
    own = search_figures(END)
    assert own.tokens_above.value == pytest.approx(8.75 - (6 + 6 * (1 / 2 - 5 / 12)))
    behind = (8.75 - 7.5) * (1 / 3) / (17 / 3 / 2)
    assert own.accuracy_below.value == pytest.approx(5 / 12 + 1 / 4 + behind - 1 / 2)
    assert own.tokens_above.low <= own.tokens_above.value <= own.tokens_above.high


def test_which_task_it_is_stands_in_the_questions():
    assert is_search(END) and not is_search([*END, sample("30 + 12 =\n42", 1.0)]) and not is_search([])
    assert question_of("30 + 12 =\n42") is None
    assert mix_of(END) == {2: 2, 3: 2}
    best, dropped = lines_of(END)
    assert best.corners[0][0] == pytest.approx(6.0) and dropped[0][0] > dropped[-1][0]


def made(count=40, **constants):
    rng, task = random.Random(0), Search(**constants)
    samples = []
    for index in range(count):
        question = sample_question(rng, 2 + index % 3, task)
        trace = sample_trace(rng, question, task)
        right = right_candidate(question, task)
        samples.append(sample(f"{question.text}\n{right}", float(trace.answer == right), trace.text, gold=str(right)))
    return samples


def source(name, evaluations):
    return Source(name=name, label=name, metrics=[{"step": 9}], evaluations=evaluations)


def test_a_report_draws_the_front_where_all_runs_are_of_one_mix():
    start, short = made(), made(repeat_success=0.0, repeat_failure=0.0)
    report = report_of([source("short", {0: start, 9: short})])
    assert [row[0] for row in report.search.rows] == ["before training", "short"]
    above = [float(row[1].split()[0]) for row in report.search.rows]
    assert above[0] > above[1] > 0
    assert [len(line.points) > 2 for line in report.known] == [True, True]
    other = [sample("30 + 12 =\n42", 1.0, "42")]
    mixed = report_of([source("short", {9: short}), source("chains", {9: other})])
    assert [row[0] for row in mixed.search.rows] == ["short"] and mixed.known == []
    assert report_of([source("short", {9: short}), source("few", {9: short[:7]})]).known == []
    assert report_of([source("chains", {9: other})]).search.rows == []


def test_the_command_says_and_writes_it(tmp_path, capsys):
    for step, samples in ((0, made()), (9, made(repeat_success=0.0))):
        lines = [
            json.dumps(
                {"input": one.question.partition("\n")[0], "gts": one.gold, "output": one.text, "acc": one.correct,
                 "length": one.length}
            )
            for one in samples
        ]  # fmt: skip
        (tmp_path / "dumps").mkdir(exist_ok=True)
        (tmp_path / "dumps" / f"{step}.jsonl").write_text("\n".join(lines))
    assert main(["report", str(tmp_path / "dumps"), "--out", str(tmp_path / "out")]) == 0
    assert "Distance from the best possible" in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "tokens above the front" in page and "Accuracy over token budgets" in page
    assert (tmp_path / "out" / "budgets.png").read_bytes().startswith(b"\x89PNG")


TEXT = r"<think> 9 </think> \boxed{ 4 } or rather \boxed{ 5 }"


@pytest.mark.parametrize(
    ("budget", "right"), [(4, 0.0), (5, 0.0), (6, 0.0), (7, 0.0), (10, 0.0), (11, 1.0), (12, 1.0), (100, 1.0)]
)
def test_a_response_is_right_once_its_right_answer_stands(budget, right):
    last = sample("q", 1.0, TEXT, gold="5", answer="5")
    assert last.length == 12.0
    assert right_within(last, [budget], same_answers()) == [right]


def test_an_answer_that_was_right_before_more_was_written_counts_where_it_stands():
    wrong = sample("q", 0.0, TEXT, gold="4", answer="5")
    assert right_within(wrong, [4, 8, 12], same_answers()) == [0.0, 1.0, 0.0]


def test_the_answer_that_was_judged_keeps_its_verdict_wherever_it_stands():
    """What judged it may know better than an equality, as a function of one's own does."""
    text = r"<think> 9 </think> \boxed{ 4 } and some more words behind it"
    for verdict in (1.0, 0.0):
        for gold in ("5", "4"):
            judged = sample("q", verdict, text, gold=gold, answer="4")
            assert right_within(judged, [4, 9], same_answers()) == [0.0, verdict]


def test_budgets_go_from_the_first_that_holds_one_to_the_first_that_holds_all():
    assert budgets_of([sample("q", 1.0, length=5.0), sample("q", 0.0, length=40.0)]) == [8, 16, 32, 64]
    assert budgets_of([sample("q", 1.0, length=2.0)]) == [4]
    assert budgets_of([sample("q", None, length=9.0)]) == []


def test_accuracy_by_budget_is_over_questions():
    samples = [
        sample("a", 1.0, r"\boxed{1}", length=6.0),
        sample("a", 0.0, r"\boxed{2}", length=6.0),
        sample("b", 1.0, "x " * 20 + r"\boxed{1}", length=30.0),
    ]
    found = accuracy_by_budget(samples, same_answers(), [4, 8, 32])
    assert [found[budget].value for budget in (4, 8, 32)] == pytest.approx([0.0, 1 / 3, 2 / 3])
    assert not math.isnan(found[8].low)


def test_a_text_is_cut_where_its_tokens_are():
    assert cut_texts("a b c d", 5, [1, 3]) == {1: "a", 3: "a b c"}  # four words and the end token
    # Seven words and commas in sixteen tokens: three of them in eight.
    assert cut_texts("one, two, three, four", 16, [8]) == {8: "one, two"}
    assert cut_texts("", 5, [3]) == {3: ""} and cut_texts("a", 1, []) == {}


@pytest.mark.parametrize("asked", ["3 times 4 is 12 ?", "21 42 times 91 is 140 ?", "1 + 1 = ?"])
def test_a_question_that_only_looks_like_one_is_of_another_task(asked):
    assert question_of(f"{asked}\n12") is None
    assert not is_search([sample(f"{asked}\n12", 1.0, "12")])
