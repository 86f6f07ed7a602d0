r"""What a tree is worth: exactly, in machine numbers, or modulo a prime; and whether it is small enough to ask.

Sizes are bounded before anything is calculated: `9^{9^9}` costs a comparison of two numbers, and raises `TooLarge`.
"""

from __future__ import annotations

import cmath
import hashlib
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Final

from leanthink.verify.trees import HYPERBOLIC, TRIG, Tree

BITS: Final = 50_000  # of a numerator or denominator that is calculated
DEGREE: Final = 1_000  # of a power of something with letters in it
FACTORIAL: Final = 3_000
PRIMES: Final = (2_305_843_009_213_693_951, 2_305_843_009_213_693_921, 1_152_921_504_606_846_883)


class TooLarge(ArithmeticError):
    """More digits, or a higher power, than an answer to a question has."""


class Undefined(ArithmeticError):
    """The tree has no value here, or none that this way of calculating can tell."""


@lru_cache(maxsize=16_384)
def exact(tree: Tree) -> Fraction | None:
    r"""The rational value of a tree without letters; None where it is no rational number, or cannot be told.

    >>> from leanthink.verify.grammar import parse
    >>> exact(parse(r"\frac{1}{2} + 3!")), exact(parse(r"\sqrt{2}")), exact(parse("x"))
    (Fraction(13, 2), None, None)

    Raises:
        TooLarge: it would have too many digits.
    """
    head, *parts = tree
    if head == "num":
        return _bounded(parts[0])
    if head == "mixed":
        return _bounded(Fraction(parts[0] + parts[1] / parts[2]))
    if head in ("sym", "pi", "e", "i", "oo", "big", "deg", "pm"):
        return None
    if head == "fn":
        return _exact_function(parts[0], [exact(part) for part in parts[1:]])
    values = [exact(part) for part in parts]
    if head == "pow" and values[1] is not None and values[0] is None:
        if abs(values[1]) > DEGREE:
            raise TooLarge
        return None
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    if head == "add":
        return _bounded(sum(known, Fraction(0)))
    if head == "neg":
        return -known[0]
    if head == "mul":
        product = Fraction(1)
        for value in known:
            product = _bounded(product * value)
        return product
    if head == "div":
        return None if known[1] == 0 else _bounded(known[0] / known[1])
    if head == "pow":
        return _exact_power(*known)
    if head == "root":
        return _exact_root(*known)
    if head == "fact":
        return _exact_factorial(known[0])
    return None


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > BITS or value.denominator.bit_length() > BITS:
        raise TooLarge
    return value


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        root = _exact_root(base, Fraction(exponent.denominator)) if base > 0 else None
        return None if root is None else _exact_power(root, Fraction(exponent.numerator))
    if base in (0, 1, -1):
        if base == 0:
            return Fraction(0) if exponent > 0 else None
        return base if base == 1 or exponent.numerator % 2 else -base
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) > BITS or abs(exponent) * (bits - 1) > BITS:
        raise TooLarge
    return _bounded(base ** int(exponent))


def _exact_root(value: Fraction, order: Fraction) -> Fraction | None:
    if order.denominator != 1 or not 2 <= order <= 64:
        return None
    degree = int(order)
    sign = 1
    if value < 0:
        if degree % 2 == 0:
            return None
        value, sign = -value, -1
    parts = [_whole_root(value.numerator, degree), _whole_root(value.denominator, degree)]
    return None if parts[0] is None or parts[1] is None else Fraction(sign * parts[0], parts[1])


def _whole_root(value: int, degree: int) -> int | None:
    if degree == 2:
        root = math.isqrt(value)
        return root if root * root == value else None
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        if middle**degree < value:
            low = middle + 1
        else:
            high = middle
    return low if low**degree == value else None


def _exact_factorial(value: Fraction) -> Fraction | None:
    if value.denominator != 1 or value < 0:
        return None
    if value > FACTORIAL:
        raise TooLarge
    return Fraction(math.factorial(int(value)))


def _exact_function(name: str, values: list[Fraction | None]) -> Fraction | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return None
    first = known[0]
    if name == "abs":
        return abs(first)
    if name in ("floor", "ceil"):
        return Fraction(math.floor(first) if name == "floor" else math.ceil(first))
    if name in ("max", "min"):
        return max(known) if name == "max" else min(known)
    if any(value.denominator != 1 for value in known):
        return None
    whole = [int(value) for value in known]
    if name in ("gcd", "lcm"):
        return _bounded(Fraction(math.gcd(*whole) if name == "gcd" else math.lcm(*whole)))
    if name == "binom" and len(whole) == 2 and whole[0] >= 0:
        upper, lower = whole
        if min(lower, upper - lower) > FACTORIAL:
            raise TooLarge
        return Fraction(math.comb(upper, lower)) if lower >= 0 else Fraction(0)
    return None


def modular(tree: Tree, at: Mapping[str, int], prime: int) -> int:
    """The value of a tree of sums, products, quotients and whole powers modulo a prime, at residues for its letters.

    Two such trees with different values here are different, whatever their size.

    Raises:
        Undefined: something else stands in it, or a division by 0.
    """
    head, *parts = tree
    if head == "num":
        value: Fraction = parts[0]
        return value.numerator * pow(value.denominator, -1, prime) % prime
    if head == "mixed":
        return modular(("num", parts[0] + parts[1] / parts[2]), at, prime)
    if head == "sym":
        return at[parts[0]]
    if head == "pi":  # transcendental: as good as a letter
        return at["\\pi"]
    if head == "add":
        return sum(modular(part, at, prime) for part in parts) % prime
    if head == "neg":
        return -modular(parts[0], at, prime) % prime
    if head == "mul":
        product = 1
        for part in parts:
            product = product * modular(part, at, prime) % prime
        return product
    if head == "div":
        under = modular(parts[1], at, prime)
        if under == 0:
            raise Undefined
        return modular(parts[0], at, prime) * pow(under, -1, prime) % prime
    if head == "pow":
        try:
            exponent = exact(parts[1])
        except TooLarge:
            raise Undefined from None
        base = modular(parts[0], at, prime)
        if exponent is None or exponent.denominator != 1 or (base == 0 and exponent <= 0):
            raise Undefined
        return pow(base, int(exponent), prime)
    try:
        whole = exact(tree)
    except TooLarge:
        whole = None
    if whole is None:
        raise Undefined
    return modular(("num", whole), at, prime)


def residue(name: str, prime: int) -> int:
    """A letter's residue, the same in every process and foreseen by no answer."""
    return int.from_bytes(hashlib.blake2b(f"{prime} {name}".encode(), digest_size=16).digest()) % prime


Complex = tuple[complex, float]  # a value, and the largest number met on the way


def numeric(tree: Tree, at: Mapping[str, float], log_base: float = math.e) -> Complex:
    """A tree's value in machine numbers, and the largest one met on the way, to which errors are in proportion.

    Raises:
        Undefined: no such value: a pole, an overflow, what is not calculated here.
    """
    try:
        value, scale = _numeric(tree, at, log_base)
    except (OverflowError, ZeroDivisionError, ValueError, TooLarge) as error:
        raise Undefined from error
    if not (math.isfinite(value.real) and math.isfinite(value.imag) and math.isfinite(scale)):
        raise Undefined
    return value, scale


def _numeric(tree: Tree, at: Mapping[str, float], log_base: float) -> Complex:
    head, *parts = tree
    if head == "num":
        value = complex(float(parts[0]))
    elif head == "mixed":
        value = complex(float(parts[0] + parts[1] / parts[2]))
    elif head == "sym":
        value = complex(at[parts[0]])
    elif head in ("pi", "e", "i"):
        value = {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}[head]
    elif head in ("oo", "big", "pm"):
        raise Undefined
    else:
        values, scale = [], 0.0
        for part in parts[1:] if head == "fn" else parts:
            one, size = _numeric(part, at, log_base)
            values.append(one)
            scale = max(scale, size)
        value = _function(parts[0], values, log_base) if head == "fn" else _operation(head, values)
        return value, max(scale, abs(value)) if head == "add" else _carried(head, values, value, scale)
    return value, abs(value)


def _carried(head: str, values: list[complex], value: complex, scale: float) -> float:
    """A factor's error is in proportion to the factor, and so is the product's to the product."""
    if head not in ("mul", "div", "pow", "root") or not values:
        return max(scale, abs(value))
    size = max((abs(one) for one in values), default=1.0) or 1.0
    return max(abs(value), abs(value) * scale / size)


def _operation(head: str, values: list[complex]) -> complex:
    first = values[0]
    if head == "add":
        return sum(values)
    if head == "neg":
        return 0 - first  # no negative zero, on which branches turn
    if head == "mul":
        return math.prod(values, start=complex(1))
    if head == "div":
        return first / values[1]
    if head == "pow":
        if abs(values[1]) > 1e6:
            raise Undefined
        if values[1].imag == 0 and values[1].real == int(values[1].real):
            return first ** int(values[1].real)
        return complex(first ** values[1])
    if head == "root":
        if first.imag == 0 and first.real < 0 and values[1].imag == 0 and values[1].real % 2 == 1:
            return complex(-((-first.real) ** (1 / values[1].real)))
        return cmath.sqrt(first) if values[1] == 2 else complex(first ** (1 / values[1]))
    if head == "deg":
        return first * math.pi / 180
    if head == "fact":
        return complex(math.gamma(first.real + 1)) if first.imag == 0 and first.real > -1 else _none()
    return _none()


def _none() -> complex:
    raise Undefined


_SIMPLE: Final[dict[str, Callable[[complex], complex]]] = {
    "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "arcsin": cmath.asin, "arccos": cmath.acos,
    "arctan": cmath.atan, "sinh": cmath.sinh, "cosh": cmath.cosh, "tanh": cmath.tanh, "ln": cmath.log, "exp": cmath.exp,
    "cot": lambda z: 1 / cmath.tan(z), "sec": lambda z: 1 / cmath.cos(z), "csc": lambda z: 1 / cmath.sin(z),
    "coth": lambda z: 1 / cmath.tanh(z), "sech": lambda z: 1 / cmath.cosh(z), "csch": lambda z: 1 / cmath.sinh(z),
    "arccot": lambda z: math.pi / 2 - cmath.atan(z), "arcsec": lambda z: cmath.acos(1 / z),
    "arccsc": lambda z: cmath.asin(1 / z), "lg": cmath.log10, "abs": lambda z: complex(abs(z)),
    "cis": lambda z: cmath.exp(1j * z),
    "Re": lambda z: complex(z.real), "Im": lambda z: complex(z.imag), "arg": lambda z: complex(cmath.phase(z)),
}  # fmt: skip


def _function(name: str, values: list[complex], log_base: float) -> complex:
    first = values[0]
    if name == "log":
        base = values[1] if len(values) == 2 else complex(log_base)
        return cmath.log(first) / cmath.log(base)
    if len(values) == 1 and name in _SIMPLE:
        if name in (*TRIG, *HYPERBOLIC) and abs(first) > 1e8:
            raise Undefined
        return _SIMPLE[name](first)
    if name in ("floor", "ceil") and len(values) == 1 and first.imag == 0:
        return complex(math.floor(first.real) if name == "floor" else math.ceil(first.real))
    if name in ("max", "min") and all(value.imag == 0 for value in values):
        real = [value.real for value in values]
        return complex(max(real) if name == "max" else min(real))
    if name.endswith("()"):  # a function of which nothing is known: some smooth one, by its name
        slope = residue(name, PRIMES[0]) / PRIMES[0]
        return sum(cmath.sin((slope + place) * value + slope) for place, value in enumerate(values, 1))
    return _none()


def sample(name: str, turn: int) -> float:
    """A positive number for a letter, the same in every process: small ones first, for what grows fast."""
    share = residue(f"{name} {turn}", PRIMES[1]) / PRIMES[1]
    return 0.15 + 0.7 * share if turn % 2 == 0 else 1.1 + 1.3 * share
