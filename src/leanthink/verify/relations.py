r"""Equations and inequalities: labels before a value, sets that inequalities allow, equations that say the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Final

from leanthink.verify.arithmetic import PRIMES, TooLarge, Undefined, exact, modular, numeric, residue, sample
from leanthink.verify.equality import DIFFERENT, EQUAL, LEFT, NEAR, UNREASONABLE, Outcome, all_of, compare_trees
from leanthink.verify.trees import Tree, has, letters_of, num
from leanthink.verify.values import Date, Formula, Items, Quantity, Ratio, Relation, Text, Time, Tuple, Union, Value
from leanthink.verify.words import HEDGES

_EQUATIONS: Final = frozenset(["=", "\\equiv", "\\approx", "\\cong"])
_TURNED: Final = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "=": "=", "\\ne": "\\ne"}
_OO: Final = Formula(("oo",), number=True)
_MINUS_OO: Final = Formula(("neg", ("oo",)), number=True)
_WHOLE: Final = frozenset("kmn")  # letters that stand for positive whole numbers where one of them is excluded


def is_label(value: Value) -> bool:
    r"""What may stand before an equals sign as a name: `x`, `AB`, `f(x)`, `\text{Area}`."""
    if isinstance(value, Text):
        return not any(sign.isdigit() for sign in value.words) and HEDGES.isdisjoint(value.words.split())
    if not isinstance(value, Formula):
        if isinstance(value, Ratio):
            return all(is_label(Formula(term, number=False)) for term in value.terms)
        return isinstance(value, Tuple) and all(map(is_label, value.parts))
    head, *parts = value.tree
    if head == "mul":
        return all(part[0] == "sym" or part[0] in ("e", "i", "fn") for part in parts)
    return head in ("sym", "e", "i") or (head == "fn" and str(parts[0]).endswith("()"))


def labelled(relation: Relation) -> Value | None:
    r"""The value that a relation gives a name to, or that a chain of equal sides ends in; None where it is neither.

    The sides between must be equal to the last one, as far as they can be calculated; what `\approx` leads to must be
    near, and only says again, rounded, what stands before it.
    """
    if not set(relation.signs) <= _EQUATIONS:
        if relation.signs == ("\\in",) and is_label(relation.sides[0]):
            return relation.sides[1]
        return None
    if "\\approx" in relation.signs[1:] or (relation.signs == ("\\approx",) and not is_label(relation.sides[0])):
        place = relation.signs.index("\\approx", 0 if len(relation.signs) == 1 else 1)
        if not _near(relation.sides[place], relation.sides[place + 1]) or place + 2 < len(relation.sides):
            return None
        if place == 0:
            return relation.sides[0]
        relation = Relation(relation.sides[: place + 1], relation.signs[:place])
    first, *rest, last = relation.sides
    named = is_label(first)
    if named and isinstance(first, Formula) and isinstance(last, Formula):
        name = first.tree[1] if first.tree[0] == "mul" else first.tree  # of f(x), the f
        named = name[0] == "fn" or not letters_of(name) & letters_of(last.tree)
    value = last.parts[0][0] if not named and isinstance(last, Quantity) and len(last.parts) == 1 else last
    number = isinstance(value, Formula) and value.number
    if not named and not (number and isinstance(first, Formula) and first.number):
        return None
    between = rest if named else [first, *rest]
    for side in between:
        if isinstance(side, Items | Text) or (isinstance(side, Time | Date | Ratio) and side != last):
            return None
        if not (isinstance(side, Formula) and isinstance(value, Formula)) or has(side.tree, "big"):
            continue
        if compare_trees(value.tree, side.tree).equal is False:
            return None
    return last


def rounded_value(relation: Relation) -> Value | None:
    r"""What stands behind the last `\approx`, where it only rounds what stands before it; else None."""
    if relation.signs[-1] != "\\approx" or labelled(relation) is None or is_label(relation.sides[-2]):
        return None
    return relation.sides[-1]


def _near(one: Value, other: Value) -> bool:
    if not (isinstance(one, Formula) and isinstance(other, Formula)):
        return False
    try:
        (exact_value, _), (rounded, _) = numeric(one.tree, {}), numeric(other.tree, {})
    except (Undefined, KeyError):
        return False
    return abs(exact_value - rounded) <= 0.01 * abs(exact_value)


def as_set(value: Value) -> Value | None:
    r"""The interval or union that an inequality in one letter allows; None where it is none.

    >>> from leanthink.verify.reading import read
    >>> as_set(read("x > 5")) == read(r"(5, \infty)")
    True
    """
    if isinstance(value, Tuple | Union):
        return value
    if isinstance(value, Items):
        parts = [as_set(part) for part in value.parts]
        if value.word == "and" or None in parts or len({_letter(part) for part in value.parts}) > 1:
            return None
        return Union(
            tuple(one for part in parts for one in (part.parts if isinstance(part, Union) else (part,)) if one)
        )
    if not isinstance(value, Relation):
        return None
    sides, signs = value.sides, value.signs
    if signs == ("\\in",) and is_label(sides[0]):
        return sides[1]
    if _letter(value) is None or any(not isinstance(side, Formula) for side in sides):
        return None
    if len(signs) == 1:
        left, right = sides
        sign = signs[0]
        if not _is_letter(left):
            left, right, sign = right, left, _TURNED.get(sign, "")
        if not _is_letter(left) or letters_of(right.tree):  # type: ignore[attr-defined]
            return None
        return _half_line(sign, right)
    if len(signs) == 2 and _is_letter(sides[1]):
        left, _, right = sides
        if set(signs) <= {"<", "\\le"}:
            return Tuple("[" if signs[0] == "\\le" else "(", (left, right), "]" if signs[1] == "\\le" else ")")
        if set(signs) <= {">", "\\ge"}:
            return Tuple("[" if signs[1] == "\\ge" else "(", (right, left), "]" if signs[0] == "\\ge" else ")")
    return None


def _half_line(sign: str, bound: Value) -> Value | None:
    if sign in (">", "\\ge"):
        return Tuple("(" if sign == ">" else "[", (bound, _OO), ")")
    if sign in ("<", "\\le"):
        return Tuple("(", (_MINUS_OO, bound), ")" if sign == "<" else "]")
    if sign == "\\ne":
        return Union((Tuple("(", (_MINUS_OO, bound), ")"), Tuple("(", (bound, _OO), ")")))
    return None


def _is_letter(value: Value) -> bool:
    return isinstance(value, Formula) and value.tree[0] == "sym"


def _letter(value: Value | None) -> str | None:
    """The one letter that a relation is about."""
    if not isinstance(value, Relation):
        return None
    names = {name for side in value.sides if isinstance(side, Formula) for name in letters_of(side.tree)}
    return names.pop() if len(names) == 1 else None


def relations(gold: Relation, answer: Relation, compare: Callable[[Value, Value], Outcome]) -> Outcome:
    """Whether two relations say the same."""
    wanted, given = labelled(gold), labelled(answer)
    if wanted is not None and given is not None and _same_label(gold.sides[0], answer.sides[0]):
        return compare(wanted, given)
    if (one := as_set(gold)) is not None and (other := as_set(answer)) is not None:
        if _letter(gold) != _letter(answer) and gold.signs != ("\\in",) and answer.signs != ("\\in",):
            return DIFFERENT
        told = compare(one, other)
        return EQUAL if told.equal is False and _among_whole_numbers(gold, answer) else told
    if all(sign == "=" for sign in (*gold.signs, *answer.signs)) and len(gold.signs) == len(answer.signs) == 1:
        if wanted is not None and isinstance(wanted, Formula) and wanted.number:
            return DIFFERENT  # solved, where the answer is not; or for another letter
        return _scaled(gold, answer, positive=False)
    if len(gold.signs) == len(answer.signs) == 1:
        sign, other_sign = gold.signs[0], answer.signs[0]
        if sign == other_sign:
            return _scaled(gold, answer, positive=True)
        if _TURNED.get(sign) == other_sign:
            turned = Relation(answer.sides[::-1], (sign,))
            return _scaled(gold, turned, positive=True)
        return DIFFERENT
    if gold.signs == answer.signs:
        return all_of(map(compare, gold.sides, answer.sides))
    return DIFFERENT


def _same_label(one: Value, other: Value) -> bool:
    r"""The same name; or a function's on either side: `f(x) = 2x` and `y = 2x`."""
    if one == other:
        return True
    calls = [side for side in (one, other) if isinstance(side, Formula) and side.tree[0] in ("fn", "mul")]
    return bool(calls) or isinstance(one, Text) or isinstance(other, Text)


def _among_whole_numbers(gold: Relation, answer: Relation) -> bool:
    r"""For `n`, `m`, `k`: `n > 1` is `n \ge 2`, and positive numbers other than 1 are those from 2 on."""
    if _letter(gold) not in _WHOLE or len(gold.signs) != 1 or len(answer.signs) != 1:
        return False
    least = [_least(gold), _least(answer)]
    return least[0] is not None and least[0] == least[1]


def _least(relation: Relation) -> Fraction | None:
    r"""The least whole number that a lower bound allows; of `n \ne 1`, 2."""
    left, right = relation.sides
    sign = relation.signs[0]
    if not _is_letter(left):
        left, right, sign = right, left, _TURNED.get(sign, "")
    bound = exact(right.tree) if isinstance(right, Formula) else None
    if bound is None:
        return None
    if sign == "\\ne":
        return Fraction(2) if bound == 1 else None
    if sign == ">":
        return Fraction(math.floor(bound) + 1)
    return Fraction(math.ceil(bound)) if sign == "\\ge" else None


def _scaled(gold: Relation, answer: Relation, *, positive: bool) -> Outcome:
    """Whether one relation is the other times a number: the quotient of their differences is the same everywhere."""
    sides = [side for relation in (gold, answer) for side in relation.sides]
    if not all(isinstance(side, Formula) for side in sides):
        return DIFFERENT
    trees = [side.tree for side in sides if isinstance(side, Formula)]
    if any(has(tree, "big") for tree in trees):
        return LEFT
    one: Tree = ("add", trees[0], ("neg", trees[1]))
    other: Tree = ("add", trees[2], ("neg", trees[3]))
    try:
        if exact(one) is not None or exact(other) is not None:
            return DIFFERENT if one != other else EQUAL
    except TooLarge:
        return UNREASONABLE
    letters = letters_of(one) | letters_of(other)
    quotients = []
    for turn in range(5):
        at = {name: sample(name, turn) for name in letters}
        try:
            (value, scale), (given, size) = numeric(one, at), numeric(other, at)
        except Undefined:
            continue
        if abs(value) <= NEAR * scale or abs(given) <= NEAR * size:
            if abs(value) > NEAR * scale or abs(given) > NEAR * size:
                return DIFFERENT
            continue
        quotients.append(value / given)
    if not quotients:
        return LEFT
    first = quotients[0]
    if any(abs(quotient - first) > 1e-7 * abs(first) for quotient in quotients):
        return DIFFERENT
    if positive and (abs(first.imag) > 1e-7 * abs(first) or first.real < 0):
        return DIFFERENT
    return _proven_scaled(one, other, letters, num(Fraction(first.real).limit_denominator(10_000)))


def _proven_scaled(one: Tree, other: Tree, letters: frozenset[str], factor: Tree) -> Outcome:
    try:
        for prime in PRIMES:
            quotients = set()
            for turn in range(2):
                at = {name: residue(f"{name} {turn}", prime) for name in {*letters, "\\pi"}}
                under = modular(other, at, prime)
                if under:
                    quotients.add(modular(one, at, prime) * pow(under, -1, prime) % prime)
            if len(quotients) > 1:
                return DIFFERENT
    except (Undefined, ValueError):
        return compare_trees(one, ("mul", factor, other))
    return EQUAL
