r"""The value in a sentence: of an unmarked response, or behind a mark that is followed by prose.

The last formula or number of the last sentence that holds one, after the last "answer is". Code is not searched. Two
values with "or" between them are a hedge, and stay two, unless both are the same number; a value that the sentence
denies is none. What only explains a value ("4, since 2+2=4", "12 (see step 2)") is passed over. A value is read with
what stands beside it, or not at all: its tail alone would be another value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from leanthink.verify.beside import bound, cut, followed, numbers_agree, preceded, same_kind
from leanthink.verify.clean import signs_in_text
from leanthink.verify.formulas import formulas_in
from leanthink.verify.numerals import other_choices


class Piece(NamedTuple):
    """A formula or a number in running text: what it says, and where; it says nothing where it goes on unread."""

    text: str
    start: int
    end: int


_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_FOREIGN = re.compile(r"[\u2e80-\u2fff\u3001-\u9fff\uac00-\ud7af]+")
_ARROWS = re.compile(r"[\u2190-\u21ff\u27f5-\u27ff\u2234\u2235]")
_DASH = re.compile(r"[\u2013-\u2015]|(?<= )-(?= (?:not|which|because|since|see)\b)")
_COPULA = re.compile(r"(?:\b(?:is|are|was|be|equals?)|[=:]) \Z")
_TIMES = re.compile("[\u00d7\u2715\u00b7\u22c5\u2219]")
_ANSWER_IS = re.compile(r"(?i:answer|result|total|option|choice)\**\s*(?:(?i:is|are|was)\b|[:=])[\s*:]*")
_LETTER = re.compile(r"\(?([A-J])(?![\w'])(\)?(?=\**[.\s]|\Z))?")
_SENTENCES = re.compile(r"(?<=[.!?])[\s*]+|\n+|。")
_DOLLARS = re.compile(r"\$\$([^$]+)\$\$|\$([^$\n]+)\$")
_MONEY = re.compile(r"\$\s*\d[\d,.]*(?:\s+[a-z]{2,})")
_FUNCTION = r"(?:sqrt|sin|cos|tan|ln|log|exp|pi|frac)"
_NUMBER = r"[-+]?[$€£¥₹]?[-+]?\.?\d(?:[\w.,/^*+()!%°{}\\€£¥₹-]|:(?=\d)|[=<>]=?(?=[-+.\\(\d]|[A-Za-z](?![\w>])))*"
_SPEAKS = r"[^()\\]{0,60}(?<![A-Za-z\\])(?!sqrt|sin|cos|tan|log|exp)[A-Za-z]{3}"  # a bracket with prose in it
_ATOM = (
    rf"(?:{_NUMBER}|{_FUNCTION}(?![a-z])\S*|[-+*/=^<>]+|(?<=\d )[AaPp]\.?[Mm]\b|[A-Za-z](?:[\d^_(=*/+-]\S*)?"
    rf"|(?:[{{\[]|\((?!{_SPEAKS}))\S{{0,60}}\d\S*|[-+]?\\(?:[a-z]+|Omega)\S*)"
)
_RUN = re.compile(
    rf"(?<![\w\\^_{{])(?<!\w['/])(?:(?<![a-z]\*\*)|(?=\d[\d.,]*\*\*))({_ATOM}(?:[ \t]+{_ATOM})*)(?![A-Za-z])"
)
_OR = re.compile(
    r"(?i:or)\b(?:\s+\w+){0,3}\s*\Z|\b(?i:or|maybe|perhaps|possibly)\s+(?:\w+\s+){0,3}\Z"  # searched for
)
_AND = re.compile(r"\s*+(?:,\s*+)?(?:and|&)\s*\Z|\s*+,\s*\Z")
_NOT = re.compile(r"\b(?:not|isn't|never)\Z", re.IGNORECASE)
_NOR = re.compile(r"\s*(?:,\s*)?n?or\s*")  # "not 4 or 5" denies both
_NOTS = 8  # signs that hold any of these, and one before
_BUT_NOT = re.compile(r"[\s,;(]*(?:(?:and|but)\s+)?not\s*")
_BEGINS_IN_WORDS = re.compile(r"(?:[aI]\s++)+")
_DENIED = re.compile(r"\?|\b(?:wrong|incorrect|not|isn't|false|impossible|nonsense)\b", re.IGNORECASE)
_IS_DENIED = re.compile(r"\s*(?:is|are|was|would\s+be)\s+(?:wrong|incorrect|impossible|not|false)\b", re.IGNORECASE)
_THE_ANSWER = (
    r"(?:\s+(?:the|my|a|an))?\s+(?:answer|right|correct|true|it|so|valid|possible|sure|certain|solution|what)\b"
)
_OTHER_NOT = re.compile(rf"\bnot\b(?!{_THE_ANSWER})", re.IGNORECASE)
_NOT_LIKE_THIS = re.compile(
    r"\bnot\s+(?:an?\s+)?(?:odd|even|prime|negative|positive|zero|whole|integer|divisible|multiple|perfect|square|composite"
    r"|equal|greater|less|more|larger|smaller|rational|irrational|real)\b",
    re.IGNORECASE,
)
_WHY = r"(?:since|because|which|where|see|satisfying)\b"
_EXPLAINED = re.compile(
    rf"[\s*]*(?:(?!{_WHY})[a-z]+[\s*]+){{0,2}}(?:,?[\s*]*({_WHY})|[,;][\s*]*({_WHY}|as\b))", re.IGNORECASE
)
_RESTATED = re.compile(
    r"\s+(?:is|equals|gives|makes|means|(?:reduces|simplifies|rounds)\s+to|(?:comes|works)\s+out\s+(?:to|at))\s+"
    r"(?:about\s+|approximately\s+)?[*$]*\Z"
)
_GOES_ON = re.compile(
    r"\b(?:or|maybe|perhaps|possibly|could|might|may|either|alternatively|otherwise|else|unless|if|but|however|actually|wait"
    r"|no|so|thus|hence|therefore|then|answer|total|result|instead|rather|giving|get|gets|left|leaves|leaving)\b",
    re.IGNORECASE,
)
_SAID = re.compile(
    r"(?:\b(?:is|are|was|were|be|equals?|has|have|gets?|makes?|costs?|pays?|earns?|needs?)|[=:])"
    r"(?:\s+(?:about|exactly|approximately|only|just))?\s*[*$]*\Z",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"\(\s*(?:(?:not|see|since|because|as|from|by|which|where|using|step|rounded|check|mod|i\.e\.|about|approximately)\b"
    r"|\\approx|~)[^()]*\)",
    re.IGNORECASE,
)


def value_in(text: str) -> str | None:
    r"""The value that a sentence or two end in; None where they hold none.

    >>> value_in("First 9, then 18."), value_in("So it is 4 or 5."), value_in("I do not know.")
    ('18', '4 or 5', None)
    >>> value_in("The answer is 4, since 2+2=4."), value_in("It is −3√2."), value_in("It is 5 million.")
    ('4', '-3\\sqrt{2}', '5 million')
    """
    text = _FOREIGN.sub(lambda found: ". " if "。" in found[0] else " ", _CODE.sub(" ", text))
    text = signs_in_text(_TIMES.sub(_times, _DASH.sub(_dash, _ARROWS.sub(" ; ", text))))
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
                return _Sentence(sentence, pieces, told=first or len(sentences) == 1).value()
    return None


def _dash(found: re.Match[str]) -> str:
    """A dash of prose is a break, another a minus sign."""
    text, start, end = found.string, found.start(), found.end()
    before, after = text[max(start - 10, 0) : start], text[end : end + 3]
    spaced = before.endswith(" ") and after.startswith(" ")
    if found[0] == "-" or re.match(r" ?[A-Za-z]{2}", after) or re.search(r"[A-Za-z]{2}\Z", before):
        return ";"
    if spaced and (found[0] != "\u2013" or (re.search(r"[A-Za-z]{2} \Z", before) and not _COPULA.search(before))):
        return ";"
    return "-"


def _times(found: re.Match[str]) -> str:
    """A sign of multiplication stays between two factors; `5\u00d7 faster` is five times."""
    text, start, end = found.string, found.start(), found.end()
    left = re.search(r"[\w)\]}\u00b0'] ?\Z", text[max(start - 2, 0) : start])
    right = re.match(
        r"[\w(\[{\u221a\u221b.\\$+\u2212-]| (?:[\d(\[{\u221a\u221b.\\$+\u2212-]|\w(?![A-Za-z]))", text[end : end + 3]
    )
    if left and right:
        return found[0]
    return " times " if left else " "


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
        text = match[1].strip().rstrip(".,;:!?*").lstrip("+*/=^<> ").strip()
        closed = min(len(text) - len(text.rstrip(")")), max(0, text.count(")") - text.count("(")))
        text = _without_words(text[: len(text) - closed])
        if text[:1] in ("{", "[") and not re.search(r"[}\])]", text):
            text = text[1:]  # nothing closes it
        if "=" in text or re.search(r"[-+*/] *\$", text):
            text = text.replace("$", "")
        if re.search(r"\d|[=^]|\\[a-z]|pi\b", text):
            stop = match.start() + len(match[1].rstrip(".,;:!?* "))
            yield Piece("" if cut(sentence, match.start(), match.end()) else text, match.start(), stop)


def _without_words(text: str) -> str:
    """A run without the words "a" and "I" on either side, which look like variables."""
    begin = found.end() if (found := _BEGINS_IN_WORDS.match(text)) else 0
    end = len(text)
    while end > begin + 1 and text[end - 1] in "aI" and text[end - 2].isspace():
        end -= 1
        while end > begin and text[end - 1].isspace():
            end -= 1
    return text[begin:end]


def _name(text: str) -> str:
    """The name that a value is given, if it is given one."""
    name, equals, _ = text.partition("=")
    return name.strip() if equals else ""


class _Sentence:
    """A sentence and its pieces, of which the value is chosen; ``told``: it may begin with the value."""

    def __init__(self, sentence: str, pieces: Sequence[Piece], *, told: bool) -> None:
        self._sentence, self._told = sentence, told
        self._begin = len(sentence) - len(sentence.lstrip("* $:\t"))
        self._pieces = self._without_asides(pieces)
        self._denied: list[bool] = []
        before = None
        for piece in self._pieces:
            joined = before and self._denied[-1] and _NOR.fullmatch(sentence, before.end, piece.start)
            self._denied.append(bool(joined) or self._is_denied(piece))
            before = piece

    def value(self) -> str | None:
        """The last value that is neither denied nor an explanation of another, with those it is listed with."""
        place = self._explained()
        explained = place is not None
        if place is None:
            left = [one for one, denied in enumerate(self._denied) if not denied]
            if not left:
                return None
            place = left[-1]
        if self._is_refused(place, explained=explained):
            return None
        return self._listed(place) or None

    def _without_asides(self, pieces: Sequence[Piece]) -> list[Piece]:
        """The pieces that stand in no bracket which only explains."""
        spans = [found.span() for found in _ASIDE.finditer(self._sentence) if not _GOES_ON.search(found[0])]
        kept, at = [], 0
        for piece in pieces:
            while at < len(spans) and spans[at][1] <= piece.start:
                at += 1
            if at == len(spans) or piece.start < spans[at][0]:
                kept.append(piece)
        return kept or list(pieces)

    def _is_denied(self, piece: Piece) -> bool:
        """Whether "not" stands right before a piece."""
        end = piece.start
        while end and self._sentence[end - 1].isspace():
            end -= 1
        return _NOT.search(self._sentence[max(end - _NOTS, 0) : end]) is not None

    def _explained(self) -> int | None:
        """The place of a value that the rest of the sentence explains; None where there is none, or more is said."""
        pieces, sentence = self._pieces, self._sentence
        for place, piece in enumerate(pieces):
            if self._denied[place]:
                continue
            if not (
                (self._told and piece.start <= self._begin)
                or "=" in piece.text
                or _SAID.search(sentence[max(piece.start - 40, 0) : piece.start])
            ):
                continue
            behind = place + 1
            while behind < len(pieces) and _BUT_NOT.fullmatch(sentence[pieces[behind - 1].end : pieces[behind].start]):
                behind += 1
            found = _EXPLAINED.match(sentence, pieces[behind - 1].end)
            if found is None:
                continue
            if _GOES_ON.search(sentence, found.end()):
                return None
            again = len(pieces) == behind + 1 and _RESTATED.match(sentence, found.end(), pieces[behind].start)
            return None if again else place
        return None

    def _is_refused(self, place: int, *, explained: bool) -> bool:
        """Whether what follows a value denies it, rather than another value."""
        said, end = [], self._pieces[place].end
        for other in self._pieces[place + 1 :]:
            between = self._sentence[end : other.start]
            said.append(re.sub(r"\b(?:not|isn't|never)\s*\Z", "", between, flags=re.IGNORECASE))
            end = other.end
            if found := _IS_DENIED.match(self._sentence, end):
                end = found.end()
        after = _ASIDE.sub("", "5".join([*said, self._sentence[end:]]))
        if re.match(r"[\s,;]*not\b", after):
            after = _OTHER_NOT.sub("", after, count=1)
        return _DENIED.search(_NOT_LIKE_THIS.sub("", after) if explained else after) is not None

    def _listed(self, place: int) -> str:
        """A value as it stands there, with those before it that a comma, "and" or "or" joins to it."""
        pieces, sentence = self._pieces, self._sentence
        last = pieces[place]
        text = alone = last.text and followed(sentence[last.end : last.end + 80], last.text)
        for at in range(place - 1, -1, -1):
            before = pieces[at]
            between = sentence[before.end : last.start]
            if bound(between, ranged=self._told and before.start <= self._begin):
                return ""
            listed = _AND.fullmatch(between) and _name(before.text) in ("", _name(last.text))
            if words := same_kind(between, alone):
                alone = f"{before.text} {words}"
                text = f"{alone} and {text}"
            elif (either := _OR.search(between)) or listed:
                if self._denied[at]:
                    return ""
                alone = before.text
                if either and numbers_agree(alone, text):
                    text = alone
                else:
                    text = f"{alone} or {text}" if either else f"{alone}, {text}"
            else:
                break
            last = before
        return "" if self._bracketed(last) else text and preceded(sentence, last.start, text)

    def _bracketed(self, last: Piece) -> bool:
        """Whether a number stands in a bracket behind another, as in `12 (3 red, 9 blue)`: either may be meant."""
        opened = self._sentence.rfind("(", max(last.start - 200, 0), last.start)
        if opened < 0 or self._sentence.find(")", opened, last.start) >= 0:
            return False
        before = next((one for one in reversed(self._pieces) if one.end <= opened), None)
        return before is not None and numbers_agree(before.text, last.text) is False
