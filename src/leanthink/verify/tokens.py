r"""Clean text in pieces: numbers, commands, words, prose, signs.

A number takes its separators with it: `1,000`, `10{,}000`, `10\,000`, `10 000`; `3{,}14` is a decimal; `0.\overline{3}`
repeats; `1.5e-3` has an exponent. Two numbers side by side, `7 0`, stay two: no rule makes one of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from leanthink.verify.clean import closing


class Unreadable(ValueError):
    """The text is nothing that the grammar knows; the message says what it met."""


class Sentence(Unreadable):
    """The text is prose, longer than an answer."""


@dataclass(frozen=True, slots=True)
class Token:
    r"""A piece of an answer.

    Attributes:
        kind: "number", "command" (with its backslash), "word" (a run of letters), "prose" (of `\text{...}`), "sign", or
            "end".
        text: what it says.
        spaced: whether white space stands before it.
        value: of a number.
        places: decimals that a number was written with; 0 where it is exact.
        style: of a number: "integer", "decimal", "repeating" or "scientific".
    """

    kind: str
    text: str
    spaced: bool = False
    value: Fraction = Fraction(0)
    places: int = 0
    style: str = "integer"


_END: Final = Token("end", "")


class Cursor:
    """A place in a row of tokens, which only moves forward."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = list(tokens)
        self._place = 0

    def _peek(self, ahead: int = 0) -> Token:
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else _END

    def _next(self) -> Token:
        token = self._peek()
        self._place += 1
        return token

    def _take(self, *texts: str) -> bool:
        if self._peek().text in texts and self._peek().kind not in ("prose", "end"):
            self._place += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise Unreadable(f"{self._peek().text!a} where {text!a} should stand")


_GROUPED = r"[1-9][0-9]{0,2}(?:(?:%s)[0-9]{3})+(?![0-9])(?:\.[0-9]+)?"
_COMMAS = _GROUPED % r",|\{,\}|,?\\! ?|\\,|\\ "
_OTHERS = _GROUPED % r"\{,\}|,?\\! ?|\\,|\\ "
_SPACES = _GROUPED % " "
_REPEATING = (
    r"[0-9]*\.[0-9]*(?:\\(?:overline|bar)\s*\{[0-9]+\}|\\(?:overline|bar)\s*[0-9]|(?:\\dot\s*\{?[0-9]\}?[0-9]*)+)"
)
_SCIENTIFIC = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]{1,4}(?![A-Za-z0-9_^{])"
_PLAIN = r"[0-9]+\{,\}[0-9]+|[0-9]+\.[0-9]+|\.[0-9]+|[0-9]+\.(?![.\d])|[0-9]+"


def _pattern(commas: bool) -> re.Pattern[str]:
    return re.compile(
        rf"(?P<repeating>{_REPEATING})|(?P<scientific>{_SCIENTIFIC})"
        rf"|(?P<grouped>{_COMMAS if commas else _OTHERS}|{_SPACES})"
        rf"|(?P<plain>{_PLAIN})|(?P<prose>\\text\s*(?=\{{))|(?P<command>\\[A-Za-z]+|\\.)"
        rf"|(?P<word>[A-Za-z]+)|(?P<sign>\S)"
    )


_WITH_COMMAS, _WITHOUT = _pattern(True), _pattern(False)
_THIN = ("\\,", "\\!", "\\ ")
LARGEST = 400  # tokens


def tokens_of(text: str, *, commas: bool = True) -> list[Token]:
    r"""The pieces of a clean text; ``commas``: whether ``1,000`` is one number.

    >>> [token.text for token in tokens_of(r"2\frac12x")]
    ['2', '\\frac', '12', 'x']

    Raises:
        Unreadable: more pieces than a reading is worth, or a control character.
    """
    pattern = _WITH_COMMAS if commas else _WITHOUT
    tokens: list[Token] = []
    place, spaced = 0, False
    while place < len(text):
        if text[place] == " ":
            place, spaced = place + 1, True
            continue
        match = pattern.match(text, place)
        if match is None or not match[0].isprintable():
            raise Unreadable(f"sign {text[place]!a}")
        kind = str(match.lastgroup)
        if kind == "prose":
            end = closing(text, match.end())
            if end < 0:
                raise Unreadable("open brace")
            tokens.append(Token("prose", text[match.end() + 1 : end].strip(), spaced))
            place, spaced = end + 1, False
            continue
        place = match.end()
        if match[0] in _THIN:
            spaced = True
            continue
        tokens.append(_number(kind, match[0], spaced) if kind in _READERS else Token(kind, match[0], spaced))
        spaced = False
        if len(tokens) > LARGEST:
            raise Unreadable("too long")
    return tokens


def _number(kind: str, text: str, spaced: bool) -> Token:
    value, places, style = _READERS[kind](text)
    return Token("number", text, spaced, value, places, style)


def _plain(text: str) -> tuple[Fraction, int, str]:
    whole, _, part = text.replace("{,}", ".").partition(".")
    style = "decimal" if part else "integer"
    return Fraction(int(whole + part or "0"), 10 ** len(part)), len(part), style


def _grouped(text: str) -> tuple[Fraction, int, str]:
    return _plain("".join(sign for sign in text if sign.isdigit() or sign == "."))


def _scientific(text: str) -> tuple[Fraction, int, str]:
    digits, _, exponent = text.lower().partition("e")
    value, places, _ = _plain(digits)
    return value * Fraction(10) ** int(exponent), max(places - int(exponent), 0) if places else 0, "scientific"


def _repeating(text: str) -> tuple[Fraction, int, str]:
    whole, _, part = text.partition(".")
    fixed, _, rest = part.partition("\\")
    first = text.find("\\dot")
    digits = re.sub(r"\D", "", rest)
    if first >= 0 and not digits:
        raise Unreadable("repeating decimal")
    start = Fraction(int((whole or "0") + fixed), 10 ** len(fixed))
    return start + Fraction(int(digits), 10 ** len(fixed) * (10 ** len(digits) - 1)), 0, "repeating"


_READERS = {"plain": _plain, "grouped": _grouped, "scientific": _scientific, "repeating": _repeating}
