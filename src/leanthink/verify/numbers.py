r"""Plain numbers, read exactly: integers, decimals, fractions and mixed numbers as answers write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_NUMBER = re.compile(
    r"""(?P<sign>[-+]?)
    (?:
        (?<!\+)(?P<thousands>[1-9][0-9]{0,2}(?:(?:,|\{,\}|,?\\!)[0-9]{3})+) (?:\.(?P<rest>[0-9]+))?
      | (?P<whole>0|[1-9][0-9]*)?\.(?P<places>[0-9]+)
      | (?P<integer>[0-9]+) (?: [ ]? \\[dtc]?frac\{(?P<part>[1-9][0-9]*)\}\{(?P<of>[0-9]+)\} )?
      | \\[dtc]?frac (?: \{(?P<over>[-+]?[0-9]+)\}\{(?P<under>[0-9]+)\} | (?P<digit>[0-9])(?P<digits>[0-9]+) )
      | (?P<left>[0-9]+)/(?P<right>[0-9]+)
    )""",
    re.VERBOSE,
)
LONGEST = 60  # characters; nobody writes a longer number, and reading one is not free


@dataclass(frozen=True, slots=True)
class Number:
    """A number's exact value, and how many decimals it was written with; 0 where it is exact."""

    value: Fraction
    decimals: int = 0


def plain_number(text: str) -> Number | None:
    r"""The number that a text is; None where it is anything more.

    >>> plain_number(r"-1\frac{1}{2}"), plain_number("1,234.50")
    (Number(value=Fraction(-3, 2), decimals=0), Number(value=Fraction(2469, 2), decimals=2))
    >>> plain_number("12 apples"), plain_number(r"\frac{1}{0}")
    (None, None)
    """
    if len(text) > LONGEST:
        return None
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    part = match.groupdict()
    decimals = part["places"] or part["rest"] or ""
    whole = part["whole"] or "".join(sign for sign in part["thousands"] or "" if sign.isdigit())
    if decimals or whole:
        value = Fraction(int(whole + decimals or "0"), 10 ** len(decimals))
    else:
        over = part["over"] or part["digit"] or part["left"] or part["part"] or "0"
        under = int(part["under"] or part["digits"] or part["right"] or part["of"] or "1")
        if under == 0:
            return None
        value = int(part["integer"] or "0") + Fraction(int(over), under)
    return Number(-value if part["sign"] == "-" else value, len(decimals))
