r"""What is known by its looks: times, dates, numbers in a base, ordinals, choices, `no solution`, `\mathbb{R}`."""

from __future__ import annotations

import re
from typing import Final

from leanthink.verify.trees import Tree, num
from leanthink.verify.values import Date, Formula, Items, Text, Time, Tuple, Value

_TIME = re.compile(
    r"(\d{1,2})\s*:\s*(\d{2})\s*(?::\s*(\d{2})\s*)?(?:(?:\\text\s*\{)?\s*([AaPp])\.?\s*[Mm]\.?\s*\}?)?"
    r"|(\d{1,2})\s*(?:\\text\s*\{)?\s*([AaPp])\.?\s*[Mm]\.?\s*\}?"
)
_DATE = re.compile(r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})|(\d{1,2})([-/])(\d{1,2})\6(\d{4})")
_BASE = re.compile(
    r"(-?)([0-9][0-9A-Za-z]*|[A-Z][0-9A-Z]*[0-9][0-9A-Z]*|\([0-9A-Z]+\)|\\text\{[0-9A-Z]+\}|[A-F]{2,8})"
    r"_\s*(?:\{\s*(?:\\text\s*\{\s*)?([0-9]+|[a-z]+)\s*\}?\s*\}|(\d))"
)
_NUMBERS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "twelve": 12,
    "sixteen": 16,
}  # fmt: skip

CHOICE: Final = re.compile(
    r"(?:\\text\s*\{\s*(?:(?i:option|choice|answer)\s+)?(?:\(([A-Z])\)|([A-Z])[.):]|([A-Z])(?=\s*\}))\s*([^{}]*)\}"
    r"|(?:(?i:option|choice)\s+)?\(([A-Z])\)(?=\s|\Z)|([A-Z])[.):](?=\s)|(?i:option|choice)\s+([A-Z])\b)\s*(.*)",
    re.DOTALL,
)
SMALL_CHOICE: Final = re.compile(r"(?:\\text\s*\{\s*)?\(([a-j])\)\s*\}?")
NO_VALUE: Final = re.compile(  # behind the letter of a choice: it is calculated with, or another follows
    r"[+*/^_=<>|!?%&;,-]|\\(?:cdot|times|div|pm|mp|cup|cap|to|ne|approx|in|le|ge|equiv|sim|%|wedge|vee|Rightarrow)(?![A-Za-z])"
    r"|\\text\s*\{\s*\("
)
ORDINAL: Final = re.compile(r"(\d[\d,]*)\s*(?:\^\s*)?\{?\s*(?:\\text\s*\{)?\s*(?:st|nd|rd|th)\s*\}{0,2}")
_REALS = Tuple("(", (Formula(("neg", ("oo",)), number=True), Formula(("oo",), number=True)), ")")
_NAMED: Final[dict[str, Value]] = {
    **dict.fromkeys(("\\mathbb{r}", "all real numbers", "all reals", "the real numbers", "real numbers"), _REALS),
    **dict.fromkeys(
        ("no solution", "no solutions", "no real solution", "no real solutions", "empty set"), Items((), True)
    ),
    **dict.fromkeys(("dne", "does not exist", "undefined"), Text("does not exist")),
    **dict.fromkeys(("infinity", "+\\infty", "inf"), Formula(("oo",), number=True)),
}


def named_value(text: str) -> Value | None:
    r"""What a clean text is the name of; None where it is none.

    >>> named_value(r"\text{No solution}")
    Items(parts=(), braces=True, word='')
    """
    if len(text) > 40:
        return None
    return _NAMED.get(re.sub(r"\\text\s*\{\s*(.*?)\s*\}", r"\1", text).lower())


def time_of(text: str) -> Time | None:
    """A time of the day; None where the text is none.

    >>> time_of("4:30 p.m.")
    Time(hour=4, minute=30, half='pm', second=None)
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = int(match[1] or match[5]), int(match[2] or 0), int(match[3] or 0)
    half = (match[4] or match[6] or "").lower()
    if hour >= 24 or minute >= 60 or second >= 60:
        return None
    return Time(hour, minute, half and f"{half}m", second if match[3] else None)


def date_of(text: str) -> Date | None:
    """A date in numbers, its year of four digits; None where the text is none.

    >>> date_of("2023-05-01"), date_of("5/13/2023"), date_of("05/01/2023")
    (Date(numbers=(2023, 5, 1)), Date(numbers=(2023, 5, 13)), Date(numbers=(5, 1, 2023)))
    """
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    if match[1]:
        year, month, day = int(match[1]), int(match[3]), int(match[4])
        return Date((year, month, day)) if 1 <= month <= 12 and 1 <= day <= 31 else None
    one, other, year = int(match[5]), int(match[7]), int(match[8])
    low, high = sorted((one, other))
    if not (1 <= low <= 12 and high <= 31):
        return None
    return Date((year, low, high)) if high > 12 or low == high else Date((one, other, year))


def number_in_base(text: str) -> Formula | None:
    """A number that names its base; None where the text is none.

    >>> number_in_base("52_8").digits, number_in_base("92_8")
    ('52', None)
    """
    match = _BASE.fullmatch(text)
    if match is None:
        return None
    digits = re.sub(r"\\text|[^0-9A-Za-z]", "", match[2])
    try:
        base = _NUMBERS.get(match[3] or "") or int(match[3] or match[4])
        value = int(digits, base)
    except ValueError:
        return None
    tree: Tree = num(value)
    return Formula(("neg", tree) if match[1] else tree, number=True, base=base, digits=match[1] + digits.upper())
