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

_CHOICE = re.compile(
    r"(?:\\text\s*\{\s*(?:(?i:option|choice|answer)\s+)?(?:\(([A-Z])\)|([A-Z])[.):]|([A-Z])(?=\s*\}))\s*([^{}]*)\}"
    r"|(?:(?i:option|choice)\s+)?\(([A-Z])\)(?=\s|\Z)|([A-Z])[.):](?=\s)|(?i:option|choice)\s+([A-Z])\b)\s*(.*)",
    re.DOTALL,
)
SMALL_CHOICE: Final = re.compile(r"(?:\\text\s*\{\s*)?\(([a-j])\)\s*\}?")
NO_VALUE: Final = re.compile(  # behind the letter of a choice: it is calculated with, or another follows
    r"[+*/^_=<>|!?%&;,-]|\\(?:cdot|times|div|pm|mp|cup|cap|to|ne|approx|in|le|ge|equiv|sim|%|wedge|vee|Rightarrow)(?![A-Za-z])"
    r"|\\text\s*\{\s*\("
)
_DRESS = re.compile(r"\\(?:text|math)[a-z]*\s*\{|[{}$*]|\\(?=[ ,;:!])")
_ANOTHER = r"(?:\([A-Z]\)|[A-HJ-Z](?![\w'])\)?)"  # `I` alone is who thinks so
_DOUBT = r"(?:or|maybe|perhaps|possibly|(?:could|might|may)\s+(?:also\s+)?be)"
_FILLER = r"(?:(?:maybe|perhaps|possibly|probably|either|even|else|also|it|could|might|may|be|is|option|choice)\s+)"
_LINK = rf"(?i:[\s.,;?!(]*\b(?:and/)?{_DOUBT}\b\s*|\s*(?:,?\s*(?:and|as\s+well\s+as)\b|[,;/&|])\s*|\s*(?=\())"
_JOINED = re.compile(rf"(?:{_LINK}(?i:{_FILLER}{{0,4}}){_ANOTHER})+")
_IN_DOUBT = re.compile(rf"\b{_DOUBT}\b", re.IGNORECASE)
_CLAUSE = re.compile(  # behind "and C": no other choice, but what is said of it, or calculated with it
    r"\s+(?:is|was|being|isn't|would|can|cannot|can't|does|doesn't|has|fails?|gives?|violates?|contradicts?)\b"
    r"|\s+are\s+(?:\w+\s+)?(?:wrong|incorrect|false|not|too|out|impossible|excluded|eliminated)\b"
    r"|(?<!\))\s*(?:[-+*^_=<>\d]|(?!\s(?:are|both|could|may|might|seem|work|fit)\b)\s[a-z])"
)
_REASON = re.compile(
    r"\b(?:because|since|as(?!\s+well)|than|unlike|whereas|while|which|so|instead|not\s+(?:option\s+)?\(?[A-J]\b)",
    re.IGNORECASE,
)
_CONTENT = re.compile(r"\s*(?:both|neither|either|all|none|only)\b", re.IGNORECASE)
_ROW = re.compile(r"[A-HJ](?:[\s.):]+[A-HJ])+\W*")
_MORE = rf"(?:\s*(?:,|,?\s*(?i:and|or)\b|[/&])\s*{_ANOTHER})*+"
_FURTHER = re.compile(  # "or C", but not of "A or C"; "(C)", but not of "carbon (C)"; "C." behind a number
    rf"(?<!\b[A-J]\s)(?<!\([A-J]\)\s)\b(?i:{_DOUBT}\s+{_FILLER}{{0,4}})(?P<or>\([A-J]\)|[A-HJ](?=[.,;:?!)]|\Z))"
    rf"|(?<![A-Za-z])(?:(?P<word>[A-Za-z])[A-Za-z]*\s+)?(?<!\w)(?P<too>\([A-J]\){_MORE})"
    r"|(?:;|\d[.,]?)\s+(?P<listed>[A-HJ])[.):]\s"
)
_SENTENCE = re.compile(rf"\n|[.!?][\s*]+(?!(?i:{_DOUBT})\b)")
_NEAR: Final = 500  # characters behind a choice in which others are looked for
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


def choice_in(text: str) -> re.Match[str] | None:
    """A choice, perhaps with what it stands for; None where the clean text is none, or names others beside it."""
    match = _CHOICE.fullmatch(text)
    if match is None:
        return None
    group = next(group for group in (1, 2, 3, 5, 6, 7) if match[group])
    return None if other_choices(match[group], text[match.end(group) :]) else match


def other_choices(letter: str, rest: str, *, sentence: bool = False) -> list[str]:
    r"""The choices that a text names beside its first; what it says of others, or why not they, names none.

    Args:
        letter: the first choice.
        rest: what stands behind it.
        sentence: only up to the end of the sentence, as in running text.

    >>> other_choices("B", ") or (C)"), other_choices("B", ", C, or even D."), other_choices("B", ") 24 (C) 25")
    (['C'], ['C', 'D'], ['C'])
    >>> other_choices("B", " and C is wrong"), other_choices("B", ") both A and C"), other_choices("B", ", not (C)")
    ([], [], [])
    """
    rest = rest[:_NEAR]
    rest = _DRESS.sub("", _SENTENCE.split(rest, 1)[0] if sentence else rest).lstrip(" .):")
    if letter.islower():
        rest = re.sub(r"\([a-j]\)", lambda found: found[0].upper(), rest)
    named = ""
    if (joined := _JOINED.match(rest)) and (_IN_DOUBT.search(joined[0]) or not _CLAUSE.match(rest, joined.end())):
        named = joined[0]
    elif row := _ROW.fullmatch(rest):
        named = row[0]
    elif not _CONTENT.match(rest):
        reason = _REASON.search(rest)
        for match in _FURTHER.finditer(rest, 0, reason.start() if reason else len(rest)):
            found, word = match["or"] or match["too"] or match["listed"], match["word"] or ""
            # running text speaks of others, too: "it follows from (A)"; with an option's text behind it, (A) is named
            beside = sentence and match["too"] and (word.islower() or not rest[match.end() :].strip(" .,"))
            if not (beside or (word and word.upper() == found[1:2]) or _CLAUSE.match(rest, match.end())):
                named += f" {found}"
    letters = dict.fromkeys(re.findall(r"(?<![A-Za-z])[A-Z](?![\w'])", named))
    return [one for one in letters if one != letter.upper()]


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
