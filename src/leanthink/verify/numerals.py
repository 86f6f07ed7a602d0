r"""What is known by its looks: times of the day, numbers in a base, ordinals, choices, `no solution`, `\mathbb{R}`."""

from __future__ import annotations

import re
from typing import Final

from leanthink.verify.trees import Tree, num
from leanthink.verify.values import Formula, Items, Text, Time, Tuple, Value

_TIME = re.compile(
    r"(\d{1,2})\s*:\s*(\d{2})\s*(?:(?:\\text\s*\{)?\s*([AaPp])\.?\s*[Mm]\.?\s*\}?)?"
    r"|(\d{1,2})\s*(?:\\text\s*\{)?\s*([AaPp])\.?\s*[Mm]\.?\s*\}?"
)
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
    Time(hour=4, minute=30, half='pm')
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hour, minute = int(match[1] or match[4]), int(match[2] or 0)
    half = (match[3] or match[5] or "").lower()
    return Time(hour, minute, half and f"{half}m") if hour < 24 and minute < 60 else None


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
