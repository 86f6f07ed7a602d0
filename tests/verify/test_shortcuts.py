r"""No shortcut may contradict the judge, whatever repairs it makes."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from answers import LETTERS, number_pairs, respelt, texts
from leanthink.verify.judge import judge
from leanthink.verify.shortcuts import LONGEST, shortcut

REPAIRS = st.sampled_from([(), ("percent", "thousands", "exponent", "imaginary", "bases", "units", "rounding")])


def agrees(gold: str, answer: str, repair: tuple[str, ...]) -> bool:
    decided = shortcut(gold, answer)
    assert decided is not None
    return judge(gold, answer, "boxed", repair)[0] == ("correct" if decided[1] else "wrong")


@settings(max_examples=400, deadline=None, derandomize=True)
@given(pair=number_pairs(), repair=REPAIRS)
def test_number(pair: tuple[str, str], repair: tuple[str, ...]) -> None:
    decided = shortcut(*pair)
    assume(decided is not None and decided[0] == "number")
    assert agrees(*pair, repair)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(data=st.data(), text=texts.filter(lambda text: len(text) < 80), repair=REPAIRS)
def test_identical(data: st.DataObject, text: str, repair: tuple[str, ...]) -> None:
    other = data.draw(respelt(text))
    decided = shortcut(text, other)
    assume(decided is not None and decided[0] == "identical")
    assert agrees(text, other, repair)


def test_letter() -> None:
    pairs = list(itertools.product(LETTERS, LETTERS))
    for gold, answer in random.Random(0).sample(pairs, 1500):
        assert shortcut(gold, answer) is not None
        assert agrees(gold, answer, ())


@pytest.mark.parametrize(
    ("gold", "answer", "decided"),
    [
        ("3e+3", "3 e+3", None),
        ("4e-2", "4e - 2", None),
        ("3x+3", "3 x+3", ("identical", True)),
        ("7", "7", ("number", True)),
        ("-7", "7", ("number", False)),
        ("007", "7.00", ("number", True)),
        (r"\frac{1}{2}", ".5", ("number", True)),
        ("1,234", r"1{,}234", ("number", True)),
        (r"\$32,\!348", "32348", ("number", True)),
        ("$5$", "5.", ("number", True)),
        (r"1\frac{1}{2}", r"\frac32", ("number", True)),
        ("B", r"\text{(B)}", ("letter", True)),
        ("B", "C", ("letter", False)),
        ("x^2 - 3x", "x^2-3x", ("identical", True)),
        (r"\left(1, 2\right)", "(1, 2)", ("identical", True)),
        (r"\text{east}", r"\text{east}", ("identical", True)),
        # here the judge might say something else, or has to be asked
        ("0.3333333", r"\frac{1}{3}", None),
        ("0.1234567", "0.1234568", None),
        ("1000000000.5", "1000000000.25", None),
        (r"3\frac{0}{2}", "3", None),
        ("+1,234", "1234", None),
        (r"\frac{1}{0}", "0", None),
        ("1" * (LONGEST + 1), "1" * (LONGEST + 1), None),
        ("7" + " " * LONGEST, "7", None),
        ("7", "7" + " " * LONGEST, None),
        ("I", r"\text{I}", None),
        ("B", "b", None),
        ("6-5 i", "6-5i", None),
        ("x - c", "x-c", None),
        ("1, 000", "1,000", None),
        (r"\text{a b}", r"\text{ab}", None),
        (r"\text{ cm}", r"\text{ cm}", None),
        ("$", "$", None),
        ("}5", "}5", None),
        (r"5\boxed{}", r"5\boxed{}", None),
        ("\x00", "\x00", None),
    ],
)
def test_domains(gold: str, answer: str, decided: tuple[str, bool] | None) -> None:
    assert shortcut(gold, answer) == decided
