r"""Formulas as trees: tuples, so that they compare, hash and travel as JSON.

    ("num", value, places, style)  ("mixed", whole, over, under)  ("sym", name)  ("pi",) ("e",) ("i",) ("oo",)
    ("add", a, b, ...)  ("neg", a)     ("mul", a, b, ...)  ("div", a, b)  ("pow", a, b)  ("root", a, n)
    ("fn", name, a, ...)  ("fact", a)  ("deg", a)  ("pm", a)  ("big", name, text)

`big` is what is not calculated here: sums, products, integrals, limits, derivatives.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

Tree = tuple[Any, ...]

TRIG: Final = ("sin", "cos", "tan", "cot", "sec", "csc")
INVERSE: Final = tuple(f"arc{name}" for name in TRIG)
HYPERBOLIC: Final = ("sinh", "cosh", "tanh", "coth", "sech", "csch")
FUNCTIONS: Final = frozenset(
    (*TRIG, *INVERSE, *HYPERBOLIC, "ln", "log", "lg", "exp", "gcd", "lcm", "max", "min", "abs", "floor", "ceil", "sgn",
     "Re", "Im", "arg", "det", "deg", "sign", "binom",
     "cis")
)  # fmt: skip


def num(value: int | Fraction) -> Tree:
    """An exact number's tree."""
    return ("num", Fraction(value), 0, "integer")


@lru_cache(maxsize=16_384)
def letters_of(tree: Tree) -> frozenset[str]:
    """The letters that a tree depends on."""
    if tree[0] == "sym":
        return frozenset({tree[1]})
    if tree[0] == "big":
        return frozenset({"..."})
    return frozenset().union(*(letters_of(part) for part in tree[1:] if isinstance(part, tuple)))


@lru_cache(maxsize=16_384)
def has(tree: Tree, kind: str) -> bool:
    """Whether a node of a kind stands anywhere in a tree."""
    return tree[0] == kind or any(has(part, kind) for part in tree[1:] if isinstance(part, tuple))
