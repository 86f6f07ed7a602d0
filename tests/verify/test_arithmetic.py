"""The three ways of calculating a tree: each against values worked out by hand, and against the others."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import pytest

from leanthink.verify.arithmetic import PRIMES, TooLarge, Undefined, exact, modular, numeric
from leanthink.verify.grammar import parse

WORKED = [
    (r"\frac{1}{2} + 3!", Fraction(13, 2)),
    (r"2\frac{1}{3}", Fraction(7, 3)),
    (r"7 - 2 \cdot 5", Fraction(-3)),
    (r"(-1)^{101}", Fraction(-1)),
    (r"(-1)^{100}", Fraction(1)),
    (r"2^{-3}", Fraction(1, 8)),
    (r"8^{2/3}", Fraction(4)),
    (r"8^{-1/3}", Fraction(1, 2)),
    (r"\sqrt{\frac{9}{16}}", Fraction(3, 4)),
    (r"\sqrt[3]{27}", Fraction(3)),
    (r"\sqrt[3]{-8}", Fraction(-2)),
    (r"\sqrt[5]{\frac{32}{243}}", Fraction(2, 3)),
    (r"\binom{5}{2}", Fraction(10)),
    (r"\lfloor -\frac{7}{2} \rfloor", Fraction(-4)),
    (r"\lceil -\frac{7}{2} \rceil", Fraction(-3)),
    (r"|2 - 5|", Fraction(3)),
    (r"\max(2, 7, 5)", Fraction(7)),
    (r"\min(2, 7, 5)", Fraction(2)),
    (r"\gcd(12, 18)", Fraction(6)),
]
NOT_RATIONAL = [
    r"\sqrt{2}",
    r"\sqrt[3]{28}",
    r"\sqrt[4]{-16}",
    r"2^{1/2}",
    r"\frac{1}{0}",
    r"0^0",
    r"0^{-1}",
    r"x",
    r"\pi",
]


@pytest.mark.parametrize(("text", "value"), WORKED)
def test_worked_values(text: str, value: Fraction) -> None:
    assert exact(parse(text)) == value


@pytest.mark.parametrize("text", NOT_RATIONAL)
def test_what_has_no_rational_value(text: str) -> None:
    assert exact(parse(text)) is None


@pytest.mark.parametrize("degree", [2, 3, 4, 5, 7])
def test_roots_of_whole_numbers_are_those_that_powers_give(degree: int) -> None:
    powers = {base**degree: base for base in range(1, 60)}
    for base in (*range(1, 60), 10**9, 10**20 + 39):
        for near in (-1, 0, 1):
            under = base**degree + near
            expected = powers.get(under, base if near == 0 else None) if under else 0
            assert exact(parse(rf"\sqrt[{degree}]{{{under}}}")) == expected, (base, near)


@pytest.mark.parametrize(("text", "value"), WORKED)
def test_machine_numbers_and_residues_agree(text: str, value: Fraction) -> None:
    """Residues know sums, products, quotients and whole powers, and take any other part by its exact value."""
    tree = parse(text)
    try:
        number = numeric(tree, {})[0]
    except Undefined:
        assert any(name in text for name in ("binom", "gcd"))  # by other ways only
    else:
        assert number == pytest.approx(complex(float(value)), abs=1e-12)
    for prime in PRIMES:
        try:
            residue = modular(tree, {}, prime)
        except Undefined:
            assert "/3}" in text  # a power that is not whole
        else:
            assert residue * value.denominator % prime == value.numerator % prime


INVERSES = {"cot": mpmath.cot, "sec": mpmath.sec, "csc": mpmath.csc, "coth": mpmath.coth, "sech": mpmath.sech}
INVERSES |= {"csch": mpmath.csch, "arccot": mpmath.acot, "arcsec": mpmath.asec, "arccsc": mpmath.acsc}
SAME = {name: getattr(mpmath, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "ln", "exp")}
SAME |= {"arcsin": mpmath.asin, "arccos": mpmath.acos, "arctan": mpmath.atan, "lg": mpmath.log10}


NOT_REAL = {("arcsin", 1.7), ("arccos", 1.7), ("arcsec", 0.4), ("arccsc", 0.4)}  # either side of a cut may be meant


@pytest.mark.parametrize(
    ("name", "at"), [(name, at) for name in (*INVERSES, *SAME) for at in (0.4, 1.7) if (name, at) not in NOT_REAL]
)
def test_functions_have_the_values_that_another_library_gives(name: str, at: float) -> None:
    found = numeric(("fn", name, ("sym", "x")), {"x": at})[0]
    assert found == pytest.approx(complex((INVERSES | SAME)[name](at)), abs=1e-12)


def test_letters_have_the_values_that_they_are_given() -> None:
    tree = parse(r"\frac{x^3 - 2 y}{x + \pi}")
    at = {"x": 3, "y": 5, "\\pi": 11}
    assert numeric(tree, {"x": 3.0, "y": 5.0})[0] == pytest.approx((27 - 10) / (3 + math.pi))
    prime = PRIMES[0]
    assert modular(tree, at, prime) * 14 % prime == 17
    with pytest.raises(Undefined):
        modular(parse(r"\frac{1}{x - 3}"), at, prime)
    with pytest.raises(Undefined):
        numeric(parse(r"\frac{1}{x - 3}"), {"x": 3.0})


@pytest.mark.parametrize("text", ["9^{9^9}", "2^{60000}", r"\binom{20000}{9000}", "x^{2000}", "4000!"])
def test_what_is_too_large_is_said_before_it_is_calculated(text: str) -> None:
    with pytest.raises(TooLarge):
        exact(parse(text))
