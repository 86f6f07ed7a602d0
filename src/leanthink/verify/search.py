r"""The value in a sentence: of an unmarked response, or behind a mark that is followed by prose.

The last formula or number of the last sentence that holds one, after the last "answer is". Code is not searched. Two
values with "or" between them are a hedge, and stay two; a value that the sentence denies is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from leanthink.verify.formulas import formulas_in
from leanthink.verify.numerals import other_choices
from leanthink.verify.units import scale_of


class Piece(NamedTuple):
    """A formula or a number in running text: what it says, and where."""

    text: str
    start: int
    end: int


_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_FOREIGN = re.compile(r"[\u2e80-\u2fff\u3001-\u9fff\uac00-\ud7af]+")
_ANSWER_IS = re.compile(r"(?i:answer|result|total|option|choice)\**\s*(?:(?i:is|are|was)\b|[:=])[\s*:]*")
_LETTER = re.compile(r"\(?([A-J])(?![\w'])(\)?(?=\**[.\s]|\Z))?")
_SENTENCES = re.compile(r"(?<=[.!?])[\s*]+|\n+|。")
_DOLLARS = re.compile(r"\$\$([^$]+)\$\$|\$([^$\n]+)\$")
_MONEY = re.compile(r"\$\s*\d[\d,.]*(?:\s+[a-z]{2,})")
_FUNCTION = r"(?:sqrt|sin|cos|tan|ln|log|exp|pi|frac)"
_ATOM = (
    rf"(?:[-+]?[$€£¥]?\d[\w.,/^*+()!%°{{}}\\-]*|{_FUNCTION}(?![a-z])\S*|[-+*/=^<>\u00d7\u00b7\u00f7]+"
    r"|[A-Za-z](?:[\d^_(=*/+-]\S*)?|\(\S{0,60}\d\S*|-?\\[a-z]+\S*)"
)
_RUN = re.compile(rf"(?<![\w\\'])({_ATOM}(?:[ \t]+{_ATOM})*)(?![A-Za-z])")
_OR = re.compile(
    r"(?i:or)\b(?:\s+\w+){0,3}\s*\Z|\b(?i:or|maybe|perhaps|possibly)\s+(?:\w+\s+){0,3}\Z"  # searched for
)
_AND = re.compile(r"\s*+(?:,\s*+)?(?:and|&)\s*\Z|\s*+,\s*\Z")
_NOT = re.compile(r"\b(?:not|isn't|never)\Z", re.IGNORECASE)
_NOTS = 8  # signs that hold any of these, and one before
_BEGINS_IN_WORDS = re.compile(r"(?:[aI]\s++)+")
_DENIED = re.compile(r"\?|\b(?:wrong|incorrect|not|isn't|false|impossible|nonsense)\b", re.IGNORECASE)


def value_in(text: str) -> str | None:
    r"""The value that a sentence or two end in; None where they hold none.

    >>> value_in("First 9, then 18."), value_in("So it is 4 or 5."), value_in("I do not know.")
    ('18', '4 or 5', None)
    """
    text = _FOREIGN.sub(lambda found: ". " if "。" in found[0] else " ", _CODE.sub(" ", text))
    told = list(_ANSWER_IS.finditer(text))
    if told and (letter := _LETTER.match(text, told[-1].end())):
        others = other_choices(letter[1], text[letter.end(1) :], sentence=True)
        if others or letter[2] is not None:
            return " or ".join([letter[1], *others])
    for part in ([text[told[-1].end() :]] if told else []) + [text]:
        first = part is not text
        sentences = [sentence for sentence in _SENTENCES.split(part) if sentence.strip()]
        for sentence in sentences[:1] if first else reversed(sentences):
            if pieces := list(_pieces(sentence)):
                return _last(sentence, pieces)
    return None


def _pieces(sentence: str) -> Iterator[Piece]:
    """The formulas and numbers of a sentence, in order."""
    place = 0
    for inner, start, end in formulas_in(sentence, _DOLLARS):
        if _MONEY.match(sentence, start, end):
            continue
        yield from _runs(sentence, place, start)
        yield Piece(inner.strip(), start, end)
        place = end
    yield from _runs(sentence, place, len(sentence))


def _runs(sentence: str, start: int, end: int) -> Iterator[Piece]:
    for match in _RUN.finditer(sentence, start, end):
        text = match[1].strip().rstrip(".,;:!?*").lstrip("+*/=^<>\u00d7\u00b7\u00f7 ").strip()
        closed = min(len(text) - len(text.rstrip(")")), max(0, text.count(")") - text.count("(")))
        text = _without_words(text[: len(text) - closed])
        if "=" in text or re.search(r"[-+*/] *\$", text):
            text = text.replace("$", "")
        if re.search(r"\d|[=^]|\\[a-z]|pi\b", text):
            yield Piece(text, match.start(), match.start() + len(match[1].rstrip(".,;:!?* ")))


def _without_words(text: str) -> str:
    """A run without the words "a" and "I" on either side, which look like variables."""
    begin = found.end() if (found := _BEGINS_IN_WORDS.match(text)) else 0
    end = len(text)
    while end > begin + 1 and text[end - 1] in "aI" and text[end - 2].isspace():
        end -= 1
        while end > begin and text[end - 1].isspace():
            end -= 1
    return text[begin:end]


def _denied(sentence: str, piece: Piece) -> bool:
    """Whether "not" stands right before a piece."""
    end = piece.start
    while end and sentence[end - 1].isspace():
        end -= 1
    return _NOT.search(sentence[max(end - _NOTS, 0) : end]) is not None


def _name(text: str) -> str:
    """The name that a value is given, if it is given one."""
    name, equals, _ = text.partition("=")
    return name.strip() if equals else ""


def _last(sentence: str, pieces: list[Piece]) -> str | None:
    while pieces and _denied(sentence, pieces[-1]):
        pieces.pop()
    if not pieces:
        return None
    last = pieces[-1]
    after = sentence[last.end :]
    if _DENIED.search(after) and not re.match(r"[\s,;]*not\b", after):
        return None
    factor, _ = scale_of(after.strip())
    text = f"{last.text} {after.split()[0]}" if factor != 1 else last.text
    for before in reversed(pieces[:-1]):
        between = sentence[before.end : last.start]
        if _OR.search(between):
            text = f"{before.text} or {text}"
        elif _AND.fullmatch(between) and _name(before.text) in ("", _name(last.text)):
            text = f"{before.text}, {text}"
        else:
            break
        last = before
    return text
