r"""Tasks beside mathematics, and the errors of a wrong one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from leanthink.core.errors import ConfigError, DependencyError
from leanthink.verify import Verdict, Verifier
from leanthink.verify.extract import Found
from leanthink.verify.tasks import decide_choice
from timing import is_within

# responses without a mark, by the choice B; all but the ones in a sentence are taken by task math, too
BARE = ["B", "B.", "(B)", "**(B)**", "(b)", "B. Paris", "(B) Paris", "Option B", "<think>A</think>B"]
BARE += ["</think>\n(B)\n", "The correct option is (B).", "The best choice is **B**"]
HEDGES = [
    "The answer is B or C.",
    "The answer is B and C.",
    "The answer is B, C, D, or E.",
    "The answer is B/C.",
    "The answer is (B) or maybe (C).",
    "The answer is (B) (C).",
    "The answer is **B** or **C**.",
    "The answer is B. Or C.",
    "The answer is B, but it could be C.",
    "The answer is B, as well as C.",
    "The answer is (B) Paris or (C) London.",
    "The answer is (B) 24 (C) 25.",
    r"The answer is $\textbf{(B)}$ or $\textbf{(C)}$.",
    "The correct option is (B) or (C).",
    "Final answer: (B) or (C)",
    "(B) or (C)",
    r"\boxed{\text{(B) or (C)}}",
    r"\boxed{(B) (C)}",
    r"\boxed{(b) or (c)}",
    r"\boxed{(B) \text{ or } (C)}",
    r"\boxed{(B) 24 (C) 25}",
    r"\boxed{(B) Paris (C) London}",
    r"\boxed{B. Paris or C. London}",
    r"\boxed{B. C. D.}",
]
SURE = [
    "The answer is B, not C.",
    "The answer is B, I think.",
    "The answer is B because (C) is too small.",
    "The answer is B; A and C are wrong.",
    "The answer is B and C is wrong.",
    "The answer is B: it follows from (A).",
    "The answer is (B). Options (A) and (C) fail.",
    "The answer is (D). No: the answer is (B) rather than (D).",
    r"\boxed{(B) Both A and C}",
    r"\boxed{B. Both (A) and (C)}",
    r"\boxed{B. John F. Kennedy}",
    r"\boxed{(B) Boron (B)}",
    r"\boxed{(B) Carbon (C)}",
    r"\boxed{(B) A cat}",
]
BOTH = ["A, C", "A and C", "(A) and (C)", "The answer is A and C.", "The answer is A, C.", r"\boxed{(A), (C)}"]
BOTH += [r"\boxed{(A) and (C)}", r"\boxed{A} and \boxed{C}"]


@pytest.mark.parametrize(
    ("gold", "response", "code"),
    [
        ("B", r"\boxed{B}", "correct/equal"),
        ("(B)", r"\boxed{\text{(b)}}", "correct/equal"),
        ("b", r"\boxed{B. Paris}", "correct/equal"),
        (r"So $\boxed{\textbf{(B)}}$", r"**Final Answer:** (B) Paris", "correct/equal"),
        ("B", "<answer>B</answer>", "correct/equal"),
        ("B", r"\boxed{C}", "wrong/not_equal"),
        ("B", r"\boxed{B, C}", "wrong/not_equal"),
        ("A, C", r"\boxed{C and A}", "correct/equal"),
        ("A, C", r"\boxed{A}", "wrong/not_equal"),
        ("B", r"\boxed{Paris}", "wrong/unparsable"),
        ("B", "A or B? The answer is (B).", "correct/equal"),
        ("B", "Answer: A. No, wait.\nAnswer: **B**", "correct/equal"),
        ("B", "<answer>The answer is B</answer>", "correct/equal"),
        ("B", "The answer is Berlin.", "wrong/unmarked"),
        ("B", "I do not know.", "wrong/unmarked"),
        ("B", "<think>Answer: B", "wrong/unfinished_thinking"),
        ("Paris", r"\boxed{B}", "unknown/gold_unparsable"),
        ("B", r"So it is (B) $\boxed{24}$.", "correct/equal"),
        ("B", r"\textbf{(B)} \boxed{\frac{1}{2}}", "correct/equal"),
        ("B", r"B. \boxed{24}", "correct/equal"),
        ("B", r"(C) $\boxed{24}$", "wrong/not_equal"),
        ("B", r"(B) or (C): $\boxed{24}$", "wrong/unparsable"),
        ("B", "(B)\nso \\boxed{24}", "wrong/unparsable"),
        ("B", r"(B) or C $\boxed{24}$", "wrong/unparsable"),
        *[("B", bare, "correct/equal") for bare in BARE],
        *[("C", bare, "wrong/not_equal") for bare in BARE],
        ("B", "(B) is wrong.", "wrong/unmarked"),
        ("B", "B. Paris is not a city", "wrong/unmarked"),
        ("B", "(B) " + "Paris " * 20, "wrong/unmarked"),
        ("B", "The incorrect option is (B).", "wrong/unmarked"),
        *[("B", hedge, "wrong/not_equal") for hedge in HEDGES],
        *[("C", hedge, "wrong/not_equal") for hedge in HEDGES],
        *[("B", sure, "correct/equal") for sure in SURE],
        ("B", "B, C", "wrong/not_equal"),
        ("B", "The answer is both B and C.", "wrong/unmarked"),
        *[("A, C", both, "correct/equal") for both in BOTH],
        *[("(A) and (C)", both, "correct/equal") for both in BOTH],
        ("(A) and (C)", r"\boxed{A}", "wrong/not_equal"),
        ("A, C", "The answer is A, B or C.", "wrong/not_equal"),
    ],
)
def test_choice(gold: str, response: str, code: str) -> None:
    with Verifier(task="choice") as verifier:
        assert verifier.check(gold, response).code == code
        assert verifier.worker_pids == ()


@pytest.mark.parametrize(
    "unit", ["or ", "it could be ", "B or ", "(B) (C) ", "a", " ", r"\text{(B)} ", "(B) Paris (C) "]
)
@pytest.mark.parametrize("before", ["", "The answer is B ", "(B) "])
def test_long_and_hostile_choices_are_cheap(before: str, unit: str) -> None:
    text = before + unit * (300_000 // len(unit))
    for found in (Found(text=text), Found(text=text, form="search"), Found(text="24", line=text)):
        assert is_within(2, decide_choice, "B", found)  # it takes hundredths


def test_choices_as_mathematics() -> None:
    with Verifier(workers=1, deadline=60) as verifier:
        pairs = [("B", bare) for bare in BARE[:-1]] + [("A, C", both) for both in BOTH]
        told = [(gold, text, verifier.check(gold, text).verdict) for gold, text in pairs]
        assert [one for one in told if one[2] is not Verdict.CORRECT] == []
        told = [(gold, text, verifier.check(gold, text).verdict) for gold in ("B", "C") for text in HEDGES]
        assert [one for one in told if one[2] is not Verdict.WRONG] == []


@pytest.mark.parametrize("text", ["B", "(b)", "B. Paris", "(B) or (C)", "A, C", "Option B", "Paris"])
@pytest.mark.parametrize("task", ["choice", "exact"])
def test_a_bare_answer_is_judged_as_in_a_box(task: str, text: str) -> None:
    with Verifier(task=task) as verifier:
        for gold in ("B", "A, C", "(B) or (C)", "b"):
            told = [verifier.check(gold, text).verdict, verifier.check_answer(gold, text).verdict]
            assert told[0] is told[1], gold


@pytest.mark.parametrize("task", ["choice", "exact"])
def test_where_a_mark_is_required_a_bare_answer_is_none(task: str) -> None:
    with Verifier(task=task, require_marked=True) as verifier:
        assert verifier.check("B", "B").code == "wrong/unmarked"


def test_a_truncated_choice_is_none() -> None:
    with Verifier(task="choice") as verifier:
        assert verifier.check("B", "The answer is B", truncated=True).code == "wrong/truncated"


@pytest.mark.parametrize(
    ("gold", "response", "code"),
    [
        ("New York", r"\boxed{\text{New  York}}", "correct/equal"),
        ("New York", "Final answer: **New York**.", "correct/equal"),
        ("New York", r"\boxed{new york}", "wrong/not_equal"),
        ("1/2", r"\boxed{0.5}", "wrong/not_equal"),
        ("New York", "It is New York", "wrong/unmarked"),
        ("New York", "New York", "correct/equal"),
        ("New York", "<think>Boston?</think>\n**New York**.\n", "correct/equal"),
        ("New York", "new york", "wrong/unmarked"),
        (" ", r"\boxed{New York}", "unknown/gold_unparsable"),
    ],
)
def test_exact(gold: str, response: str, code: str) -> None:
    with Verifier(task="exact") as verifier:
        assert verifier.check(gold, response).code == code
        assert verifier.worker_pids == ()


@pytest.fixture(scope="module")
def numeric() -> Iterator[Verifier]:
    with Verifier(task="numeric", relative_tolerance=0.01, absolute_tolerance=1e-6, workers=1, deadline=60) as verifier:
        yield verifier


@pytest.mark.parametrize(
    ("gold", "response", "code", "judge"),
    [
        ("100", r"\boxed{101}", "correct/equal", "number"),
        ("100", r"\boxed{101.01}", "wrong/not_equal", "number"),
        ("-100", r"\boxed{100}", "wrong/not_equal", "number"),
        ("0", r"\boxed{0.0000009}", "correct/equal", "number"),
        ("0.5", r"\boxed{\frac{1}{2}}", "correct/equal", "number"),
        (r"\sqrt{2}", r"\boxed{1.41}", "correct/equal", "math-verify"),
        (r"\sqrt{2}", r"\boxed{1.5}", "wrong/not_equal", "math-verify"),
        ("3.00e8", r"\boxed{299792458}", "correct/equal", "math-verify"),
        ("0.5", r"\boxed{50\%}", "correct/equal", "math-verify"),
        ("50", r"\boxed{50\%}", "correct/equal", "math-verify"),
        ("3.14", r"\boxed{x = \pi}", "correct/equal", "math-verify"),
        ("42", "It weighs 42.1 kg.", "correct/equal", "math-verify"),
        ("42", "It weighs a lot.", "wrong/unmarked", "math-verify"),
        ("42", r"\boxed{x}", "wrong/unparsable", "math-verify"),
        ("x", r"\boxed{42}", "unknown/gold_unparsable", "math-verify"),
    ],
)
def test_numeric(numeric: Verifier, gold: str, response: str, code: str, judge: str) -> None:
    judgement = numeric.check(gold, response)
    assert (judgement.code, judgement.judge) == (code, judge)


FUNCTION = """
import os, time
def judge(gold, answer):
    if answer == "hang": time.sleep(600)
    if answer == "fail": raise ValueError("on purpose")
    if answer == "tell": return [gold]
    if answer == "doubt": return None
    return gold in answer
class Graders:
    def strict(gold, answer): return gold == answer
"""


@pytest.fixture
def function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"graders_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(FUNCTION)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_own_function(function: str) -> None:
    with Verifier(task=f"{function}:judge", workers=1, deadline=2) as verifier:
        right = verifier.check("ab", r"<think>no</think> \boxed{xaby}")
        assert (right.code, right.judge, right.extracted) == ("correct/accepted", f"{function}:judge", "xaby")
        assert verifier.check("ab", r"\boxed{x}").code == "wrong/rejected"
        assert verifier.check("ab", "no mark, but a b and ab").code == "correct/accepted"
        assert verifier.check("ab", "<think>ab").code == "wrong/unfinished_thinking"
        assert verifier.check("ab", r"\boxed{doubt}").code == "unknown/undecided"
        assert verifier.check("ab", r"\boxed{hang}").code == "unknown/timeout"
        assert verifier.check("ab", r"\boxed{fail}").reason == "judge_error: ValueError: on purpose"
        assert "returned ['ab']; give true, false or None" in verifier.check("ab", r"\boxed{tell}").reason
    with Verifier(task=f"{function}:Graders.strict", workers=1) as verifier:
        assert verifier.check("ab", r"\boxed{ab}").correct == 1


def test_a_function_that_a_worker_cannot_import(function: str, tmp_path: Path) -> None:
    verifier = Verifier(task=f"{function}:judge", workers=1)
    (tmp_path / f"{function}.py").write_text("raise ImportError('gone')")
    with verifier, pytest.raises(DependencyError, match="gone"):
        verifier.check("a", "b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "maths"}, "no task 'maths'; did you mean 'math'"),
        ({"unevaluated": "right"}, "unevaluated is 'right'; give one of wrong, accept"),
        ({"unreasonable": "mask"}, "unreasonable is 'mask'; give one of wrong, unknown"),
        ({"task": "nowhere.at.all:fn"}, "cannot import 'nowhere.at.all'"),
        ({"task": "math:nothing"}, "has no function 'nothing'"),
        ({"task": ":fn"}, "cannot import ''"),
        ({"task": "numeric", "relative_tolerance": -1.0}, "relative_tolerance is -1.0; give a finite number"),
        ({"task": "numeric", "absolute_tolerance": float("nan")}, "absolute_tolerance is nan"),
        ({"repair": ["percents"]}, "did you mean 'percent'"),
        ({"repair": "percent"}, "repair is 'percent'; give a list of percent, thousands"),
    ],
)
def test_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Verifier(**options)  # type: ignore[arg-type]


def test_repairs_reach_the_worker() -> None:
    for repair, verdict in (((), Verdict.CORRECT), (["rounding"], Verdict.WRONG)):
        with Verifier(workers=1, deadline=60, repair=repair) as verifier:
            assert verifier.check("1/2004!", r"\boxed{1/2006!}").verdict is verdict
