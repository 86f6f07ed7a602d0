r"""What stands beside a value in running text and makes another of it: a sign, a scale, a unit, arithmetic in words."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from leanthink.verify.numbers import LONGEST, plain_number
from leanthink.verify.units import scale_of, unit_of

_NEAR = 40  # characters before a value that are looked at
_NEGATIVE = re.compile(r"\b(?:negative|minus)\s+\Z", re.IGNORECASE)
_REACHES = re.compile(  # a word that takes the value behind it: what is meant is another
    r"\b(?:(?:plus|times|twice|(?:divided|multiplied)\s+by|(?:root|half|third|quarter|square|cube|factorial|log) of"
    r"|(?:less|more|greater|fewer|larger|smaller|higher|lower)\s+than|at\s+(?:least|most)))\s+[*$(\\]*\Z",
    re.IGNORECASE,
)
_TAKES = re.compile(  # the same, behind the value
    r"[\s*]*(?:squared|cubed|factorial|mod|modulo|plus|minus|divided\s+by|multiplied\s+by|times\s+(?:as|more)"
    r"|hal(?:f|ves)|(?:third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth|twelfth|hundredth|thousandth)s?"
    r"|to\s+the\s+power|or\s+(?:more|less|fewer|higher))\b",
    re.IGNORECASE,
)
_MODULO = re.compile(r"\s*\(\s*mod\s+(\d+)\s*\)")
_BOUND = re.compile(r"\s*(?:plus|minus|times|over|divided\s+by|multiplied\s+by|(?:out\s+)?of|mod)\s+", re.IGNORECASE)
_RANGE = re.compile(r"\s+(?:to|in|per|and\s+a)\s+", re.IGNORECASE)
_MARK = "~&@'\u2019\u2032\u2026"  # a quotation mark or a prime, among others
_GOES_ON = re.compile(rf"[{_MARK}:]\d|[\u2030\u2031]")
_WENT_ON = re.compile(rf"\d[{_MARK}]\Z")
_FORMULA_SIGNS = ("Lu", "Ll", "Lo", "No", "Nd", "Sm")
_WORDS = re.compile(r"[A-Za-z°²³]+(?:(?:/|\*(?!\*))[A-Za-z]+){0,3}(?:(?:\^|\*\*)\{?-?[123]\}?)?")
_MOST = 4  # words of a unit
_AMBIGUOUS = frozenset({"in", "a", "an", "per", "at", "second", "h", "m", "s", "g", "l"})
_KINDS = (
    frozenset({"s", "min", "h", "day", "week", "month", "yr"}),
    frozenset({"mm", "cm", "m", "km", "in", "ft", "yd", "mi"}),
    frozenset({"mg", "g", "kg", "oz", "lb", "ton", "tonne"}),
    frozenset({"dollar", "cent", "euro", "£"}),
)
_SHARED = frozenset({"dollar", "cent", "euro", "£", *_KINDS[0]})  # "18 dollars a day" is still 18 dollars


def cut(sentence: str, start: int, end: int) -> bool:
    """Whether a formula goes on in signs that it was not read with: `5‰`, `6'2`, `5~10`."""
    after = sentence[end : end + 2]
    if _GOES_ON.match(after) or _WENT_ON.search(sentence[max(start - 2, 0) : start]):
        return True
    return not after.isascii() and unicodedata.category(after[0]) in _FORMULA_SIGNS


def preceded(sentence: str, start: int, text: str) -> str:
    """A value with the sign in words before it; nothing where a word there makes another value of it.

    >>> preceded("negative 5", 9, "5"), preceded("the root of 5", 12, "5"), preceded("It is 5", 6, "5")
    ('-5', '', '5')
    """
    before = sentence[max(start - _NEAR, 0) : start]
    if _NEGATIVE.search(before):
        return f"-{text}" if re.match(r"[$€£¥]?\.?\d", text) else ""
    return "" if _REACHES.search(before) else text


def followed(after: str, text: str) -> str:
    r"""A value with the scale, the unit or the modulus behind it; nothing where a word there makes another value of it.

    >>> followed(" million, I think", "5"), followed(" cm^2.", "12"), followed(" squared", "5"), followed(" eggs", "5")
    ('5 million', '12 cm^2', '', '5')
    """
    if match := _MODULO.match(after):
        return rf"{text} \pmod{{{match[1]}}}"
    words: list[str] = []
    place = len(after) - len(after.lstrip(" \t*"))
    while len(words) < _MOST + 2 and (match := _WORDS.match(after, place)):
        words.append(match[0])
        place = match.end() + len(after[match.end() :]) - len(after[match.end() :].lstrip(" \t"))
        if place == match.end():
            break
    scale = 0
    while scale < len(words) and scale_of(words[scale])[0] != 1:
        scale += 1
    if scale:
        return " ".join([text, *words[:scale]])
    if _TAKES.match(after):
        return ""
    unit = unit_words(words, ends=not after[place:].strip() or after[place : place + 1] in ".,;:!?)")
    return f"{text} {unit}" if unit and "$" not in text and "=" not in text else text


def unit_words(words: list[str], *, ends: bool) -> str:
    """The words of a unit of measurement at the head of some words; none where they begin with no unit."""
    for count in range(min(len(words), _MOST), 0, -1):
        said = " ".join(words[:count]).replace("**", "^")
        if said.lower() in _AMBIGUOUS and not (ends and len(words) == 1):
            continue
        unit = unit_of(said, plain=True)
        if (
            unit
            and not unit.startswith("#")
            and words[count - 1].lower() not in _AMBIGUOUS - {"in", "second", "h", "s"}
        ):
            return "" if "/" in unit and unit.split("/")[0] in _SHARED else said
    return ""


def bound(between: str, *, ranged: bool) -> bool:
    """Whether words between two values make one of them: `30% of 50`, `5 divided by 3`; ``ranged``: also `3 to 5`."""
    return bool(_BOUND.fullmatch(between) or (ranged and _RANGE.fullmatch(between)))


def same_kind(words: str, text: str) -> str:
    """The unit between two values of which the second is in one of its kind: the hours of `3 hours and 20 minutes`."""
    words = re.sub(r"(?:,?\s*\band|,)\s*\Z", "", words).strip()
    other = text.partition(" ")[2]
    if not words or len(words) > _NEAR or not other:
        return ""
    units = {unit_of(words), unit_of(other)}
    return words if None not in units and len(units) == 2 and any(units <= kind for kind in _KINDS) else ""


def numbers_agree(one: str, other: str) -> bool | None:
    """Whether two texts are the same number, a percentage being its share; None where one is more than a number."""
    values = [_number(text) for text in (one, other) if len(text) <= LONGEST]
    return None if len(values) < 2 or None in values else values[0] == values[1]


def _number(text: str) -> Fraction | None:
    bare = text.replace(" ", "").removesuffix("%").removesuffix("\\")
    number = plain_number(bare)
    if number is None:
        return None
    return number.value / 100 if text.rstrip().endswith("%") else number.value
