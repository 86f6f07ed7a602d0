r"""The proof that two formulas are equal, by sympy: what the numbers of `leanthink.verify.equality` leave open.

Like `judge.py` this runs in a worker, which loads it by its path: standard library and sympy only. Trees come as JSON,
so that no text is parsed twice and no letter loses its case.

Equal is what has a difference that vanishes to 40 digits at every point tried, or, where it has no value at any, what
sympy expands to 0. Letters stand for positive numbers, as they do in `leanthink.verify.equality`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

DIGITS = 40
POINTS = ("7/5", "13/8", "22/9", "3/7")


def prove(pairs: str) -> tuple[str, str]:
    """Verdict and reason for JSON pairs of trees, each of which has to be equal.

    >>> prove('[[["root", ["num", "8"], ["num", "2"]], ["mul", ["num", "2"], ["root", ["num", "2"], ["num", "2"]]]]]')
    ('correct', 'equal')
    """
    if all(_equal(one, other) for one, other in json.loads(pairs)):
        return "correct", "equal"
    return "wrong", "not_equal"


def _equal(one: Sequence[Any], other: Sequence[Any]) -> bool:
    bases = ("E", "10") if _has_log(one) or _has_log(other) else ("E",)
    return any(_vanishes(_built(one, base) - _built(other, base)) for base in bases)


def _has_log(tree: Sequence[Any]) -> bool:
    if tree[0] == "fn" and tree[1] == "log" and len(tree) == 3:
        return True
    return any(_has_log(part) for part in tree[1:] if isinstance(part, list))


def _vanishes(difference: Any) -> bool:
    from sympy import Rational, expand

    if difference == 0:
        return True
    letters = sorted(difference.free_symbols, key=str)
    known = False
    for turn in range(len(POINTS) if letters else 1):
        at = {letter: Rational(POINTS[(turn + place) % 4]) + place for place, letter in enumerate(letters)}
        terms = difference.subs(at)
        value = terms.evalf(DIGITS, maxn=400)
        if not value.is_number or value.has(*_undefined()):
            continue
        size = max((abs(part.evalf(DIGITS)) for part in terms.args), default=abs(value)) if terms.is_Add else 1
        known = True
        if abs(value) > 10 ** (8 - DIGITS) * max(size, 10**-60):
            return False
    return known or expand(difference) == 0


@lru_cache(maxsize=1)
def _undefined() -> tuple[Any, ...]:
    from sympy import nan, oo, zoo

    return nan, oo, -oo, zoo


def _built(tree: Sequence[Any], base: str) -> Any:
    """A tree as sympy has it."""
    import sympy

    head, *parts = tree
    if head == "num":
        return sympy.Rational(parts[0])
    if head == "mixed":
        return sympy.Rational(parts[0]) + sympy.Rational(parts[1]) / sympy.Rational(parts[2])
    if head == "sym":
        return sympy.Symbol(parts[0].replace("\\", "!"), positive=True)
    if head in ("pi", "e", "i"):
        return {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}[head]
    if head == "fn":
        return _applied(parts[0], [_built(part, base) for part in parts[1:]], base)
    values = [_built(part, base) for part in parts]
    if head == "add":
        return sympy.Add(*values)
    if head == "neg":
        return -values[0]
    if head == "mul":
        return sympy.Mul(*values)
    if head == "div":
        return values[0] / values[1]
    if head == "pow":
        return values[0] ** values[1]
    if head == "root":
        odd = values[1].is_odd and values[0].is_number and values[0].is_negative
        return -((-values[0]) ** (1 / values[1])) if odd else values[0] ** (1 / values[1])
    if head == "deg":
        return values[0] * sympy.pi / 180
    if head == "fact":
        return sympy.factorial(values[0])
    raise ValueError(f"no such formula: {head}")


def _applied(name: str, values: list[Any], base: str) -> Any:
    import sympy

    if name == "log":
        return sympy.log(values[0], values[1] if len(values) == 2 else sympy.sympify({"E": sympy.E, "10": 10}[base]))
    if name.endswith("()"):
        return sympy.Function(f"F{name[:-2]}".replace("'", "_"))(*values)
    names = {
        "ln": "log", "abs": "Abs", "floor": "floor", "ceil": "ceiling", "max": "Max", "min": "Min", "Re": "re",
        "Im": "im", "arg": "arg", "binom": "binomial", "sgn": "sign", "sign": "sign", "gcd": "gcd", "lcm": "lcm",
        **{f"arc{part}": f"a{part}" for part in ("sin", "cos", "tan", "cot", "sec", "csc")},
    }  # fmt: skip
    if name == "lg":
        return sympy.log(values[0], 10)
    if name == "cis":
        return sympy.exp(sympy.I * values[0])
    return getattr(sympy, names.get(name, name))(*values)
