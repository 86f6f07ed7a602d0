r"""What the judge calls equal, called in this process."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanthink.verify.judge import judge, normalise

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


def test_normalise_is_told_once() -> None:
    assert normalise(r"50\%.") == ("50", True)
    assert normalise(r"\text{no}") == (r"\text{no}", False)
    assert normalise(r"x\,000") == (r"x\,000", False)


integers = st.from_regex(r"-?[0-9]{1,18}", fullmatch=True)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(gold=integers, answer=integers, padding=st.integers(0, 5))
def test_the_integer_shortcut_is_the_judge(gold: str, answer: str, padding: int) -> None:
    """`Verifier` compares these as numbers: any two, and two spellings of one."""
    assert judge(gold, answer, "boxed")[:2] == shortcut(gold, answer)
    padded = gold.replace("-", "").zfill(min(18, len(gold) + padding))
    same = f"-{padded}" if gold.startswith("-") else padded
    assert judge(gold, same, "boxed")[:2] == shortcut(gold, same)


@pytest.mark.parametrize("near", [(0, "-0"), (-7, "-007"), (10**17, 10**17 + 1), (1, -1), (10**18 - 1, 10**18 - 2)])
def test_the_integer_shortcut_at_its_edges(near: tuple[object, object]) -> None:
    gold, answer = map(str, near)
    assert judge(gold, answer, "boxed")[:2] == shortcut(gold, answer)


def shortcut(gold: str, answer: str) -> tuple[str, str]:
    return ("correct", "equal") if int(gold) == int(answer) else ("wrong", "not_equal")
