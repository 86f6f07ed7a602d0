from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from answers import spelt, values
from leanthink.verify.numbers import LONGEST, plain_number


@pytest.mark.parametrize(
    ("text", "value", "decimals"),
    [
        ("0", 0, 0),
        ("-0", 0, 0),
        ("+5", 5, 0),
        ("0012", 12, 0),
        ("12,345,678", 12345678, 0),
        ("10{,}000", 10000, 0),
        (r"10\!000", 10000, 0),
        (r"10,\!000", 10000, 0),
        ("3.25", Fraction(13, 4), 2),
        (".5", Fraction(1, 2), 1),
        ("1,000.5", Fraction(2001, 2), 1),
        ("-0.10", Fraction(-1, 10), 2),
        ("7/8", Fraction(7, 8), 0),
        ("-14/8", Fraction(-7, 4), 0),
        (r"\frac{7}{8}", Fraction(7, 8), 0),
        (r"-\dfrac{7}{8}", Fraction(-7, 8), 0),
        (r"\tfrac{-7}{8}", Fraction(-7, 8), 0),
        (r"\frac78", Fraction(7, 8), 0),
        (r"\frac123", Fraction(1, 23), 0),
        (r"2 \frac{1}{2}", Fraction(5, 2), 0),
        (r"-2\frac{1}{2}", Fraction(-5, 2), 0),
    ],
)
def test_numbers(text: str, value: Fraction | int, decimals: int) -> None:
    number = plain_number(text)
    assert number is not None
    assert (number.value, number.decimals) == (value, decimals)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "-",
            ".",
            "5.",
            "1,23",
            "0,123",
            "1,2345",
            "+1,234",
            "00.5",
            "1e5",
            "--5",
            "1/0",
            "1/2/3",
            "5%",
            "x",
            "5\n",
        ),
        *(
            r"\frac{1}{0}",
            r"\frac1",
            r"\frac{1.5}{2}",
            r"2\frac{0}{3}",
            "1 000",
            "\uff15",
            "\u0665",
            "9" * (LONGEST + 1),
        ),
    ],
)
def test_anything_else_is_none(text: str) -> None:
    assert plain_number(text) is None


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data(), value=values)
def test_what_is_read_is_what_was_written(data: st.DataObject, value: Fraction) -> None:
    text = data.draw(spelt(value)).strip().strip("$").removeprefix("\\$").removesuffix(".")
    number = plain_number(text)
    if number is not None:
        assert abs(number.value - value) <= Fraction(1, 2 * 10**number.decimals) * bool(number.decimals)
