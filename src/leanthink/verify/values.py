r"""The types that an answer can have.

number       a formula without letters: `5`, `\frac{1}{2}`, `2\sqrt{3}`, `1-2i`, `50\%`, `52_8`
quantity     a number with a unit, or several: `18 dollars`, `60 km/h`, `3 hours and 20 minutes`, `20^\circ C`
expression   a formula with letters: `x^2-1`, `\pi r^2 h`
choice       one or more letters of a list, perhaps with what they stand for: `(B)`, `\textbf{(B)}\ 24`
text         words: `Yes`, `Tuesday`, `n is even`
time         of the day: `4:30 p.m.`, `16:30:00`; `3:10` looks the same, and may be a ratio
date         `2023-05-01`
ratio        of three terms or more: `3:4:5`; one of two is a number, `3:4`
list         values in any order: `1, 2`, `\{1, 2\}`, `x = 1 or x = 2`, `1 \pm 2`
tuple        values in their order, and with their brackets: `(1, 2)`, `[0, 1)`; an interval looks the same
union        of intervals and sets
matrix       rows of formulas
relation     sides with signs between them: `x = 5`, `2x + y \le 3`, `-2 < x < 7`, `x \in (0, 1)`
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from leanthink.verify.trees import Tree


class Value:
    """A value that was read; `kind` is its type's name."""

    __slots__ = ()
    kind: ClassVar[str]

    @property
    def type(self) -> str:
        """The type's name for people."""
        return self.kind


@dataclass(frozen=True, slots=True)
class Formula(Value):
    r"""A number or an expression.

    Attributes:
        tree: by `leanthink.verify.grammar`.
        percent: `50\%`, whose tree is 50.
        base: `52_8`, whose tree is 42; 0 where none is named.
        modulus: `3 \pmod 7`; None where none is named.
        number: whether no letter stands in it.
        digits: of a number in a base, as written.
    """

    kind: ClassVar[str] = "formula"
    tree: Tree
    number: bool
    percent: bool = False
    base: int = 0
    modulus: Tree | None = None
    digits: str = ""

    @property
    def type(self) -> str:  # noqa: D102
        return "number" if self.number else "expression"


@dataclass(frozen=True, slots=True)
class Quantity(Value):
    """Numbers with their units, in order: mostly one."""

    kind: ClassVar[str] = "quantity"
    parts: tuple[tuple[Formula, str], ...]


@dataclass(frozen=True, slots=True)
class Choice(Value):
    """Letters of a list; ``value`` is what the letter stands for, where that is told."""

    kind: ClassVar[str] = "choice"
    letters: frozenset[str]
    value: Value | None = None


@dataclass(frozen=True, slots=True)
class Text(Value):
    """Words, in lower case and without markup; signs of maths among them keep their case."""

    kind: ClassVar[str] = "text"
    words: str


@dataclass(frozen=True, slots=True)
class Time(Value):
    """A time of the day; ``half`` is "am", "pm" or "", ``second`` None where none is written."""

    kind: ClassVar[str] = "time"
    hour: int
    minute: int
    half: str = ""
    second: int | None = None


@dataclass(frozen=True, slots=True)
class Date(Value):
    """Year, month and day; numbers as written where it cannot be told which is the month: `05/01/2023`."""

    kind: ClassVar[str] = "date"
    numbers: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Ratio(Value):
    """Three terms or more, with colons between them."""

    kind: ClassVar[str] = "ratio"
    terms: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Items(Value):
    """Values in any order, in braces or not; ``word`` is "and" or "or" where that stands between them."""

    kind: ClassVar[str] = "list"
    parts: tuple[Value, ...]
    braces: bool = False
    word: str = ""


@dataclass(frozen=True, slots=True)
class Tuple(Value):
    """Values in order, between two brackets."""

    kind: ClassVar[str] = "tuple"
    left: str
    parts: tuple[Value, ...]
    right: str


@dataclass(frozen=True, slots=True)
class Union(Value):
    """A union of intervals and sets."""

    kind: ClassVar[str] = "union"
    parts: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Matrix(Value):
    """Rows of formulas; a number in front is multiplied in."""

    kind: ClassVar[str] = "matrix"
    rows: tuple[tuple[Tree, ...], ...]
    factor: Tree | None = None


@dataclass(frozen=True, slots=True)
class Relation(Value):
    """Sides and the signs between them: one sign fewer than sides."""

    kind: ClassVar[str] = "relation"
    sides: tuple[Value, ...]
    signs: tuple[str, ...]
