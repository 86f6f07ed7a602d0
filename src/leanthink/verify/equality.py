r"""Whether two formulas are equal: decided here where numbers decide it, and left to the judge where they only agree.

- Both rational: exactly; a decimal also equals what rounds to it, from six places on.
- Different at a point, or modulo a prime: not equal, for certain.
- Sums, products, quotients and whole powers that agree modulo three primes: equal, for their degree is bounded.
- Anything else that agrees at every point: the judge proves it, or does not.
- Too large to calculate: the answer is at fault where the gold answer is not as large.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

from leanthink.verify.arithmetic import PRIMES, TooLarge, Undefined, exact, modular, numeric, residue, sample
from leanthink.verify.trees import Tree, has, letters_of

POINTS: Final = 6
NEAR: Final = 1e-9  # relative to the largest number met on the way
LEAST_ROUNDED: Final = 1e-9  # the same at least, where a rounded decimal stands in an exponent
PLACES: Final = 6  # from which on a decimal may be a rounded one
_DIGITS: Final = 3  # that a rounded decimal shows


class Outcome(NamedTuple):
    """What a comparison says: equal, or not; None where the judge has to prove that each of ``pairs`` is equal."""

    equal: bool | None
    reason: str = "equal"
    pairs: tuple[tuple[Tree, Tree], ...] = ()


EQUAL: Final = Outcome(True)
DIFFERENT: Final = Outcome(False, "not_equal")
UNREASONABLE: Final = Outcome(False, "unreasonable")
LEFT: Final = Outcome(None, "left")  # to the judge, as text
GOLD_TOO_LARGE: Final = Outcome(None, "gold_unreasonable")  # nothing that the judge could decide either


def all_of(outcomes: Iterable[Outcome]) -> Outcome:
    """Equal where every outcome is; the first that is not decides."""
    pairs: tuple[tuple[Tree, Tree], ...] = ()
    unsettled: Outcome | None = None
    for outcome in outcomes:
        if outcome.equal is False:
            return outcome
        if outcome.equal is None and not outcome.pairs:
            unsettled = outcome
        pairs += outcome.pairs
    if unsettled is not None:
        return unsettled
    return Outcome(None, "proof", pairs) if pairs else EQUAL


@lru_cache(maxsize=16_384)
def compare_trees(gold: Tree, answer: Tree) -> Outcome:
    r"""Whether a formula is equal to the gold answer's.

    >>> from leanthink.verify.grammar import parse
    >>> compare_trees(parse("x^2-1"), parse("(x-1)(x+1)")).equal, compare_trees(parse("4"), parse("9^{9^9}")).reason
    (True, 'unreasonable')
    """
    if gold == answer:
        return EQUAL
    if has(gold, "big") or has(answer, "big"):
        return LEFT
    try:
        wanted = exact(gold)
    except TooLarge:
        return _of_large(gold, answer)
    try:
        given = exact(answer)
    except TooLarge:
        return UNREASONABLE
    if has(gold, "oo") or has(answer, "oo"):
        return DIFFERENT
    if wanted is not None and given is not None:
        return EQUAL if _equal_numbers(wanted, given, places(gold), places(answer)) else DIFFERENT
    if not letters_of(gold) and not letters_of(answer) and (places(gold) or places(answer)):
        return _rounded(gold, answer)
    return _by_points(gold, answer)


def _of_large(gold: Tree, answer: Tree) -> Outcome:
    """The gold answer is too large to calculate: residues may still tell."""
    agreed = _by_residues(gold, answer)
    if agreed is None:
        try:
            exact(answer)
        except TooLarge:
            return GOLD_TOO_LARGE
        return DIFFERENT if not letters_of(gold) else GOLD_TOO_LARGE
    return EQUAL if agreed else DIFFERENT


def places(tree: Tree) -> int:
    """Decimals that a number is written with; 0 where it is exact, or no decimal alone."""
    if tree[0] == "num":
        return int(tree[2])
    if tree[0] == "neg":
        return places(tree[1])
    if tree[0] == "mul" and len(tree) == 3 and tree[1][0] == "num" and tree[1][2] and tree[2][0] == "pow":
        power = exact(tree[2])
        base = tree[2][1]
        if power and base[0] == "num" and base[1] == 10:
            return max(int(tree[1][2]) - round(math.log10(power)), 0)
    return 0


def _equal_numbers(wanted: Fraction, given: Fraction, wanted_places: int, given_places: int) -> bool:
    """Equal, or a decimal of six places or more that the other rounds to, or is cut to."""
    if wanted == given:
        return True
    written = [count for count in (wanted_places, given_places) if count]
    if not written:
        return False
    count = min(written)
    if count < PLACES:
        return False
    short, long = (wanted, given) if wanted_places == count else (given, wanted)
    unit = Fraction(1, 10**count)
    if abs(short) < unit * 10 ** (_DIGITS - 1):
        return False
    return abs(short - long) * 2 <= unit or (abs(short) <= abs(long) and abs(short - long) < unit)


def _rounded(gold: Tree, answer: Tree) -> Outcome:
    """A decimal against a root, a multiple of π, a logarithm: equal where it is that number, rounded or cut."""
    if places(gold) and places(answer):
        return DIFFERENT
    decimal, other = (gold, answer) if places(gold) else (answer, gold)
    try:
        value, _ = numeric(other, {})
    except Undefined:
        return LEFT
    if abs(value.imag) > NEAR * max(abs(value), 1e-300):
        return DIFFERENT
    written = exact(decimal)
    if written is None:
        return LEFT
    equal = _equal_numbers(Fraction(value.real), written, 0, min(places(decimal), 12)) or (
        places(decimal) > 12 and abs(float(written) - value.real) <= 1e-12 * abs(value.real)
    )
    return EQUAL if equal else DIFFERENT


def _by_points(gold: Tree, answer: Tree) -> Outcome:
    """Values at some points, then modulo some primes."""
    loose = max(_rounding(gold), _rounding(answer))
    seen = agreed = 0
    for base in (math.e, 10.0) if has(gold, "fn") or has(answer, "fn") else (math.e,):
        seen, agreed = _points(gold, answer, base, max(loose, LEAST_ROUNDED) if loose else NEAR)
        if seen == agreed:
            break
    if agreed < seen:
        return DIFFERENT
    if seen and loose:  # no proof of a number that was rounded
        return EQUAL
    same = _by_residues(gold, answer)
    if same is not None:
        return EQUAL if same else DIFFERENT
    return Outcome(None, "proof", ((gold, answer),))


def _points(gold: Tree, answer: Tree, base: float, tolerance: float) -> tuple[int, int]:
    """At how many points both have a value, and at how many it is the same."""
    letters = letters_of(gold) | letters_of(answer)
    signed = _has_modulus(gold) or _has_modulus(answer)  # only then does it matter which sign a letter has
    seen = agreed = 0
    for turn in range(POINTS if letters else 1):
        sign = -1.0 if signed and turn % 2 else 1.0
        at = {name: sign * sample(name, turn) for name in letters}
        try:
            (one, size), (other, other_size) = numeric(gold, at, base), numeric(answer, at, base)
        except Undefined:
            continue
        scale = max(size, other_size)
        if sign < 0 and max(abs(one.imag), abs(other.imag)) > NEAR * scale:
            continue  # another branch
        seen += 1
        agreed += abs(one - other) <= tolerance * scale
    return seen, agreed


def _has_modulus(tree: Tree) -> bool:
    return tree[:2] == ("fn", "abs") or any(_has_modulus(part) for part in tree[1:] if isinstance(part, tuple))


def _rounding(tree: Tree) -> float:
    """By how much, in proportion, the decimals of six digits or more in a formula may be off: they were rounded."""
    if tree[0] == "num":
        digits = abs(tree[1]) * 10 ** tree[2]
        return float(Fraction(1, 2) / digits) if tree[2] and digits >= 10 ** (PLACES - 1) else 0.0
    return max((_rounding(part) for part in tree[1:] if isinstance(part, tuple)), default=0.0)


def _by_residues(gold: Tree, answer: Tree) -> bool | None:
    letters = letters_of(gold) | letters_of(answer) | {"\\pi"}
    try:
        for prime in PRIMES:
            at = {name: residue(name, prime) for name in letters}
            if modular(gold, at, prime) != modular(answer, at, prime):
                return False
    except (Undefined, ValueError, RecursionError):
        return None
    return True
