r"""What needs no judge: verdicts that math-verify would give, too, told in microseconds.

Each shortcut has a domain in which it cannot disagree with the judge, and stays silent outside of it:

- **identical**: both texts are the same once signs that the judge's grammar skips are gone. The judge then parses the
  same text twice, or, where it does not parse, compares it with itself. Its domain excludes what the judge reads as
  nothing at all (see `_SOMETHING`) and what changes when a space goes (see `_SUM`).
- **number**: both are plain numbers. Exact ones are equal or not. A decimal makes the judge round both to 6 places:
  here it decides only where rounding cannot matter, equal to the last digit or more than 2e-6 apart.
- **letter**: both are one capital letter, as multiple choice has them. `I` is the imaginary unit, and left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from leanthink.verify.numbers import Number, plain_number

LONGEST = 500  # characters; longer texts go to the judge
_APART = Fraction(2, 10**6)
_DECIMALS = 6  # places the judge rounds to
_DECIMAL_LIMIT = 10**9  # below it 6 decimals fit into the judge's 15 digits

_PLAIN = re.compile(r"[\x20-\x7e]*")
_SOMETHING = re.compile(
    r"[0-9]|(?<![\\A-Za-z{])[A-Za-z]+\Z|\A\\text(?:bf)?\{(?!percent\})[A-Za-z]{2,}\}\Z|\A\\math(?:rm|bf)\{[A-Z][A-Za-z]*\}\Z"
)
_FRACTION = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_SIDES = re.compile(r"\\left(?=[(\[])|\\right(?=[)\]])")
_TERM = r"(?:[0-9]+(?: (?!i))?)?(?:[a-z](?:\^(?:[0-9]|\{[0-9]+\}))?|\\pi|\\sqrt ?\{[0-9]+\})|[0-9]+"
_SUM = re.compile(rf"-? ?(?:{_TERM})(?: ?[-+=] ?(?:{_TERM}))*")
_LONELY = re.compile(r"[-+=] ?[a-z]\Z")
_POWER_OF_TEN = re.compile(r"[0-9]e[-+][0-9]")
_LETTER = re.compile(r"\(?([A-HJ-Z])\)?|\\(?:text|textbf|mathrm|mathbf)\{\(?([A-HJ-Z])\)?\}")


@dataclass(frozen=True, slots=True)
class _Text:
    """A text as the shortcuts see it."""

    number: Number | None
    letter: str | None
    canonical: str | None


def shortcut(gold: str, answer: str) -> tuple[str, bool] | None:
    r"""The shortcut that decides a pair, and whether the answer is right; None where the judge has to.

    >>> shortcut(r"\frac{1}{2}", r"\dfrac{2}{4}"), shortcut("7", "8"), shortcut("4a - 2", "4a-2")
    (('number', True), ('number', False), ('identical', True))
    >>> shortcut("x^2-1", "(x-1)(x+1)") is None
    True
    """
    if len(gold) > LONGEST or len(answer) > LONGEST:
        return None
    left, right = _read(gold), _read(answer)
    if left.number and right.number:
        equal = _equal(left.number, right.number)
        if equal is not None:
            return "number", equal
    if left.letter and right.letter:
        return "letter", left.letter == right.letter
    if left.canonical and left.canonical == right.canonical:
        return "identical", True
    return None


def _equal(left: Number, right: Number) -> bool | None:
    if not (left.decimals or right.decimals):
        return left.value == right.value
    if max(abs(left.value), abs(right.value)) >= _DECIMAL_LIMIT:
        return None
    if abs(left.value - right.value) > _APART:
        return False
    if left.value == right.value and max(left.decimals, right.decimals) <= _DECIMALS:
        return True
    return None


@lru_cache(maxsize=16_384)
def _read(text: str) -> _Text:
    text = text.strip().removesuffix(".")
    letter = _LETTER.fullmatch(text)
    bare = text[1:-1] if len(text) > 2 and text[0] == text[-1] == "$" and text[-2] != "\\" else text
    number = plain_number(bare.removeprefix("\\$"))
    return _Text(number, (letter[1] or letter[2]) if letter else None, _canonical(text))


def _canonical(text: str) -> str | None:
    r"""The text without what the judge does not look at; None where two equal texts might still be nothing to it.

    >>> _canonical(r"\left(x + 1, \dfrac{1}{2}\right)")
    '(x + 1, \\frac{1}{2})'
    >>> _canonical(r"x^2 - 3 \sqrt{5}"), _canonical(r"\displaystyle")
    ('x^2-3\\sqrt{5}', None)
    """
    if not _PLAIN.fullmatch(text) or "box" in text or not _SOMETHING.search(text) or not _balanced(text):
        return None
    text = _SIDES.sub("", _FRACTION.sub(r"\\frac", text))
    if " " in text and _SUM.fullmatch(text) and not _LONELY.search(text):
        joined = text.replace(" ", "")
        return text if _POWER_OF_TEN.search(joined) else joined  # `3 e+3` is a sum, and `3e+3` a number
    return text


def _balanced(text: str) -> bool:
    r"""Whether every brace closes, as the judge counts them: `\{` is one, too."""
    depth = 0
    for sign in text:
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            return False
    return depth == 0
