"""Votes are for answers, not for spellings: grouped as they are judged, ties by a stated rule, conflicts counted."""

import json
import random
from fractions import Fraction
from itertools import combinations

import pytest

import made_runs as made
from leanthink import metrics
from leanthink.cli import main
from leanthink.metrics import as_judged
from leanthink.verify.same import same_answers

HALF = (r"\frac{1}{2}", "0.5", r"\dfrac12", "1/2", ".5", "50/100")


def spelled(value, generator):
    """A fraction in one of its spellings."""
    factor = generator.randint(1, 4)
    top, bottom = value.numerator * factor, value.denominator * factor
    forms = [f"{top}/{bottom}", rf"\frac{{{top}}}{{{bottom}}}", rf"\dfrac{{{top}}}{{{bottom}}}", f"${top}/{bottom}$"]
    if value.denominator in (1, 2, 4):
        forms.append(f"{float(value):.4f}")
    return generator.choice(forms)


def voted(values, correct, k):
    """The accuracy of the majority of values over all subsets: ties to the first seen, written from the rule alone."""
    total, subsets = 0.0, list(combinations(range(len(values)), k))
    for rows in subsets:
        own = [values[row] for row in rows if values[row] is not None]
        best = max(own, key=lambda value: (own.count(value), -own.index(value)), default=None)
        total += 0.0 if best is None else correct[values.index(best)]
    return total / len(subsets)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_spellings_vote_as_their_values_do(k):
    generator = random.Random(7)
    for _ in range(40):
        values = [
            generator.choice([Fraction(1, 2), Fraction(1, 4), Fraction(2, 3), Fraction(3), None]) for _ in range(5)
        ]
        gold = generator.choice([Fraction(1, 2), Fraction(3), Fraction(7)])
        correct = [float(value == gold) for value in values]
        answers = [None if value is None else spelled(value, generator) for value in values]
        assert metrics.maj_at_k(answers, correct, k) == pytest.approx(voted(values, correct, k))


def test_wrong_spellings_outvote_a_right_answer():
    """Three of five say one half, and are wrong; the other way round they are right."""
    answers = [*HALF[:3], "3", "3"]
    assert metrics.maj_at_k(answers, [0, 0, 0, 1, 1], 5) == 0
    assert metrics.maj_at_k(answers, [1, 1, 1, 0, 0], 5) == 1
    assert metrics.majority_vote([1] * 5, answers).answer == HALF[0]
    assert metrics.short_m_vote([5, 4, 3, 2, 1], answers, [True] * 5, 5).answer in HALF[:3]
    assert metrics.short_m_at_k([5, 4, 3, 2, 1], answers, [1, 1, 1, 0, 0], [True] * 5, m=5, k=5) == 1
    assert metrics.length_filtered_vote([5, 4, 3, 2, 1], answers, kept=99) in HALF[:3]


def test_what_was_judged_right_is_one_answer_whatever_the_equality_says():
    """Alternatives of a gold answer need not equal each other."""
    judged = as_judged(["x = 2", "two", "5", "5"], [1, 1, 0, 0], same=lambda one, other: False)
    assert judged.answers == ("x = 2", "x = 2", "5", "5")
    assert metrics.maj_at_k(["two", "x = 2", "5", "5"], [1, 1, 0, 0], 4, same=lambda one, other: False) == 1


@pytest.mark.parametrize(
    ("answers", "groups"),
    [
        (HALF, 1),
        (("A", "(A)", r"\text{A}", "B", "(B)"), 2),
        (("x^2-1", "(x-1)(x+1)", "x^2+1"), 2),
        (("1,000", "1000", "1000.0", "100"), 2),
        (("0.5", "0.500001"), 2),
        (("", "   ", None, "7", " 7"), 1),
        ((7, 7.0, "7", 8), 3),  # values that are no text are not read
        (("{", "}", r"\frac{", "{"), 3),  # what no judge understands is itself only
        (("a" * 400, "a" * 400, "b" * 400), 2),
    ],
)
def test_answers_are_one_as_they_are_judged(answers, groups):
    for _ in range(3):
        judged = as_judged(answers)
        assert len(set(judged.answers) - {None}) == groups
        answers = answers[1:] + answers[:1]


def test_tasks_have_an_equality_of_their_own():
    choice, exact, own = same_answers("choice"), same_answers("exact"), same_answers("my_module:judge")
    assert choice("(b)", "B. Paris") and not choice("A", "B")
    assert exact("New  York", r"\text{New York}") and not exact("New York", "new york")
    assert not exact("0.5", "1/2")
    assert not own("0.5", "1/2") and own("x ", " x")
    near = same_answers("numeric", relative_tolerance=0.1)
    assert near("100", "105") and not near("100", "150")


def test_blank_text_and_none_have_no_vote():
    assert metrics.maj_at_k([None, None, None, "4"], [0, 0, 0, 1], 4) == 1
    assert metrics.maj_at_k(["", " ", "", "4"], [0, 0, 0, 1], 4) == 1
    assert metrics.maj_at_k([None, "3", None], [1, 0, 1], 3) == 0
    assert metrics.majority_vote([1, 2], ["", None]).answer is None


def test_a_tie_goes_to_the_answer_seen_first():
    assert metrics.maj_at_k(["5", "0.5", r"\frac12", "5.0"], [0, 1, 1, 0], 4) == 0
    assert metrics.maj_at_k(["0.5", "5", r"\frac12", "5.0"], [1, 0, 1, 0], 4) == 1
    assert metrics.short_m_vote([9, 1, 9, 9], ["5", "0.5", r"\frac12", "5.0"], [True] * 4, 4).answer == "0.5"


@pytest.mark.parametrize(
    ("verdicts", "right"), [((1, 0, 0), 0), ((1, 1, 0), 1), ((1, 0), 0), ((0, 1), 0), ((0, 1, 1), 1)]
)
def test_an_answer_with_two_verdicts_is_one_with_that_of_most(verdicts, right):
    answers = HALF[: len(verdicts)]
    judged = as_judged(answers, verdicts)
    assert judged.conflicts == (answers[0],)
    assert judged.correct == (float(right),) * len(answers)
    assert metrics.maj_at_k(answers, verdicts, len(answers)) == right
    assert metrics.short_m_at_k(range(len(answers)), answers, verdicts, [True] * len(answers), 1, 1) == right
    assert as_judged(answers, [1] * len(answers)).conflicts == ()


def test_a_conflict_is_shown_in_the_report(tmp_path, capsys):
    run = made.write_run(tmp_path / "run", "short", 1, quality=1.0, tokens=20, samples=3, questions=4)
    path = run / "validation" / "12.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row, pred, acc in zip(rows, ("0.5", r"\frac12", "1/2"), (1.0, 1.0, 0.0), strict=False):
        row |= {"pred": pred, "acc": acc}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["report", str(run), "--out", str(tmp_path / "out")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "answers with two verdicts: 1, as '0.5' to '0 + 1 ='" in out
