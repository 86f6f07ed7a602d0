r"""What the judge calls equal, called in this process."""

from __future__ import annotations

import pytest

from leanthink.verify.judge import REPAIRS, judge, judge_function, judge_number, normalise

PAIRS = [
    # gold, answer, verdict
    ("420", "420", "correct"),
    ("420", "421", "wrong"),
    ("1234", "1,234", "correct"),
    (r"10\,000", "10000", "correct"),
    ("6290000", r"6{,}290{,}000", "correct"),
    ("5", "5.", "correct"),
    ("5", "\uff15", "correct"),
    ("-4", "\u22124", "correct"),
    ("0.5", r"\frac{1}{2}", "correct"),
    (r"\frac{1}{2}", r"\frac12", "correct"),
    (r"\frac{1}{2}", r"\dfrac{2}{4}", "correct"),
    (r"\frac{1}{2}", "1/2", "correct"),
    (r"\frac{1}{2}", "0.51", "wrong"),
    (r"12\frac{3}{5}", r"\frac{63}{5}", "correct"),
    (r"1\frac{1}{10}", "1.1", "correct"),
    (r"7\pi", r"7 \pi", "correct"),
    (r"7\pi", "7", "wrong"),
    (r"2\sqrt{2}", r"\sqrt{8}", "correct"),
    ("4a-2", "-2 + 4a", "correct"),
    ("(x+1)^2", "x^2+2x+1", "correct"),
    ("(x+1)^2", "x^2+1", "wrong"),
    ("5", "x = 5", "correct"),
    (r"\{1,2\}", r"\{2,1\}", "correct"),
    ("(1,2)", "(2,1)", "wrong"),
    ("(1,2]", "[1,2)", "wrong"),
    ("3", "3,4", "wrong"),
    ("3,4", "4,3", "correct"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", "correct"),
    (r"\text{Evelyn}", "Evelyn", "correct"),
    (r"\text{(A)}", "A", "correct"),
    ("A", "B", "wrong"),
    ("5", r"5 \text{ cm}", "correct"),
    (r"90^\circ", "90", "correct"),
    ("$5$", "5", "correct"),
    (r"so it is \boxed{5}", "5", "correct"),
    ("5", r"\frac{1}{0}", "wrong"),
    # percent
    (r"50\%", r"50\%", "correct"),
    ("50", r"50\%", "correct"),
    ("0.5", "50%", "correct"),
    (r"\frac{1}{2}", r"50 \%", "correct"),
    (r"50\%", "50 percent", "correct"),
    (r"50\%", r"50\text{ percent}", "correct"),
    (r"50\%", r"51\%", "wrong"),
    (r"12.5\%", r"12.5\%", "correct"),
    (r"10\%, 20\%", r"10\%, 20\%", "correct"),
    # what does not parse
    ("4:30p..", r"4:30 \text{ p.m.}", "wrong"),
    ("4:30p..", "4:30p..", "correct"),
    ("", "5", "unknown"),
    ("5", "", "wrong"),
    ("5", r"\frac{1}{", "wrong"),
    ("7", r"garbage } \foo{ 7", "wrong"),
    ("5", "\x00", "wrong"),
    ("5", "\ud800", "wrong"),
    ("\ud800", "5", "wrong"),
]


@pytest.mark.parametrize(("gold", "answer", "verdict"), PAIRS)
def test_verdicts(gold: str, answer: str, verdict: str) -> None:
    assert judge(gold, answer, "boxed")[0] == verdict


@pytest.mark.parametrize(
    ("gold", "answer", "form", "expected"),
    [
        ("18", "18 apples", "text", ("correct", "equal", "18 apples")),
        ("18", "$18 per day", "text", ("correct", "equal", "$18 per day")),
        (r"\frac{1}{2}", r"either $\frac{1}{2}$", "text", ("correct", "equal", r"either $\frac{1}{2}$")),
        ("18", "First 9, then 18.", "search", ("correct", "equal", "18")),
        ("18", "First 18, then 9.", "search", ("wrong", "not_equal", "9")),
        ("18", "I do not know.", "search", ("wrong", "unmarked", None)),
    ],
)
def test_prose(gold: str, answer: str, form: str, expected: tuple[str, str, str | None]) -> None:
    assert judge(gold, answer, form) == expected


REPAIRED = [
    # gold, answer, verdict with all repairs, the repair that it takes, verdict without it
    (r"50\%", r"50\%", "correct", "percent", "correct"),  # equal as text
    (r"50\%", "0.5", "correct", "percent", "wrong"),
    (r"10\,000", "10000", "correct", "thousands", "wrong"),
    ("10 000", "10000", "correct", "thousands", "wrong"),
    (r"1\ 234\ 567", "1234567", "correct", "thousands", "wrong"),
    ("1~000.5", "1000.5", "correct", "thousands", "wrong"),
    ("100000", "1e5", "correct", "exponent", "wrong"),
    ("0.0015", "1.5e-3", "correct", "exponent", "wrong"),
    ("6 - 5i", "6-5 i", "correct", "imaginary", "wrong"),
    ("123_5", "123_6", "wrong", "bases", "correct"),
    ("52_8", "42_{10}", "correct", "bases", "wrong"),
    ("AB_{16}", "171_{10}", "correct", "bases", "wrong"),
    ("10 cm", r"10 \text{ m}", "wrong", "units", "correct"),
    (r"15\mbox{ cm}^2", r"15\text{ cm}", "wrong", "units", "correct"),
    ("4t", "4", "unknown", "units", "correct"),
    (r"\frac{1}{2}h", r"\frac{h}{2}", "correct", "units", "wrong"),
    ("1/2004!", "1/2006!", "wrong", "rounding", "correct"),
    ("2^{-99}", "2^{-98}", "wrong", "rounding", "correct"),
    ("(1/2004!, 2)", "(1/2006!, 2)", "wrong", "rounding", "correct"),
    (r"\{1/2004!, 2\}", r"\{1/2006!, 2\}", "wrong", "rounding", "correct"),
    (r"\sqrt{2} + 10^{-18}", r"\sqrt{2}", "wrong", "rounding", "correct"),
    ("0.0000001", "0.0000002", "wrong", "rounding", "correct"),
    ("0.0000672", "0.0000673", "wrong", "rounding", "correct"),
]


@pytest.mark.parametrize(("gold", "answer", "repaired", "repair", "plain"), REPAIRED)
def test_repairs(gold: str, answer: str, repaired: str, repair: str, plain: str) -> None:
    others = set(REPAIRS) - {repair}
    assert judge(gold, answer, "boxed")[0] == repaired
    assert judge(gold, answer, "boxed", [repair])[0] == repaired
    assert judge(gold, answer, "boxed", others)[0] == plain


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\frac{1}{3}", "0.333333"),
        (r"\frac{1}{3000}", "0.000333"),
        ("0.0000672", r"6.72 \cdot 10^{-5}"),
        (r"\sqrt{2}", "1.414214"),
        (r"\frac{1}{\sqrt{3}}", r"\frac{\sqrt{3}}{3}"),
        (r"2\cos(\pi/7)", r"-2\cos(6\pi/7)"),
        (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"),
        ("1/2004!", r"\frac{1}{2004!}"),
        (r"9\%", "9"),
        (r"9\%", "0.09"),
        ("10 cm", "10"),
        ("10", "10 m"),
        ("10 cm", r"10 \text{ centimeters}"),
        (r"864 \mbox{ inches}^2", r"864\text{ sq inches}"),
        ("5.4 cents", "5.4"),
        ("4t", "4t"),
        ("4t", "4 t"),
        ("52_8", "52"),
        ("52_8", r"52_{8}"),
        ("2e", "2e"),
        ("3i", "3 i"),
    ],
)
def test_repairs_do_no_harm(gold: str, answer: str) -> None:
    assert judge(gold, answer, "boxed")[0] == "correct"


def test_an_ambiguous_unit_says_so() -> None:
    assert judge("4t", "4", "boxed")[1] == "ambiguous_unit: t in '4t'"
    assert judge("4t", "5", "boxed")[:2] == ("wrong", "not_equal")
    assert judge("10 cm", "10 m", "boxed")[:2] == ("wrong", "unit_differs")


def test_normalise_is_told_once() -> None:
    assert normalise(r"50\%.") == ("50", True)
    assert normalise(r"\text{no}") == (r"\text{no}", False)
    assert normalise(r"x\,000") == (r"x\,000", False)
    assert normalise(r"50\%.", ()) == (r"50\%", False)
    assert normalise("10 000", {"percent"}) == ("10 000", False)


def test_numbers_within_a_tolerance() -> None:
    assert judge_number("3", "{3", "boxed", (0.1, 0.0))[:2] == ("wrong", "unparsable")
    assert judge_number(r"\text{none}", "3", "boxed", (0.1, 0.0))[0] == "unknown"
    assert judge_number("3", "(1, 2)", "boxed", (0.1, 0.0))[:2] == ("wrong", "unparsable")
    assert judge_number("2i", "2.01i", "boxed", (0.1, 0.0))[1] == "gold_unparsable: '2i'"  # i is a letter here
    assert judge_number("3", "about 3.1", "text", (0.1, 0.0))[0] == "correct"


def test_a_function_says_yes_no_or_nothing() -> None:
    assert judge_function(lambda gold, answer: None, "a", "b")[:2] == ("unknown", "undecided")
    assert judge_function(lambda gold, answer: 0.0, "a", "b")[:2] == ("wrong", "rejected")
    assert "returned 0.5" in judge_function(lambda gold, answer: 0.5, "a", "b")[1]


@pytest.mark.parametrize(("answer", "verdict"), [("109.9", "correct"), ("110.5", "wrong"), ("90.1", "correct")])
def test_a_tolerance_is_a_share_of_the_gold_answer(answer: str, verdict: str) -> None:
    """A tenth of 100 on either side; 110.5 is within a tenth of itself only."""
    assert judge_number(r"\sqrt{10000}", answer, "boxed", (0.1, 0.0))[0] == verdict
