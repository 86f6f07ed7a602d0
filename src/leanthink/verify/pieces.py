r"""Pieces of an answer in a row: where brackets open and close, what is a word among them, what they say together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from leanthink.verify.tokens import Sentence, Token, Unreadable
from leanthink.verify.trees import FUNCTIONS
from leanthink.verify.units import UNITS
from leanthink.verify.words import GLUED, HEDGES, NAMES, SHORT, SHOUTED

OPEN: Final = frozenset(["(", "[", "{", "\\{", "\\lfloor", "\\lceil", "\\langle", "\\begin"])
CLOSE: Final = frozenset([")", "]", "}", "\\}", "\\rfloor", "\\rceil", "\\rangle", "\\end"])
PROSE_WORDS: Final = 7
"""As many words, and it is a sentence, not an answer."""
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz"


def depths(tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """Each piece's place and how many brackets are open around it."""
    depths, depth = [], 0
    for place, token in enumerate(tokens):
        if token.kind != "prose" and token.text in CLOSE:
            depth -= 1
        depths.append((place, depth))
        if token.kind != "prose" and token.text in OPEN:
            depth += 1
    return depths


def apart(tokens: Sequence[Token], separators: tuple[str, ...]) -> list[list[Token]]:
    """The tokens between separators that stand in no bracket."""
    parts: list[list[Token]] = [[]]
    for place, depth in depths(tokens):
        if depth == 0 and tokens[place].text in separators:
            parts.append([])
        else:
            parts[-1].append(tokens[place])
    if any(not part for part in parts):
        raise Unreadable("an empty place in a list")
    return parts


def partner(tokens: Sequence[Token], start: int) -> int:
    """Where the bracket that opens at a place closes; -1 where it does not."""
    depth = 0
    for place in range(start, len(tokens)):
        depth += (tokens[place].text in OPEN) - (tokens[place].text in CLOSE)
        if depth == 0:
            return place
    return -1


def word_of(token: Token) -> str:
    """What a token says as a word, in lower case."""
    return token.text.strip(" ,.").lower() if token.kind in ("word", "prose") else ""


def is_word(tokens: Sequence[Token], place: int) -> bool:
    """Whether a run of letters is a word rather than factors: `even`, `dollars`, `cm` behind a number."""
    token = tokens[place]
    if token.kind != "word" or len(token.text) < 2 or token.text in FUNCTIONS or token.text.lower() in NAMES:
        return False
    if place and tokens[place - 1].text in ("_", "\\begin", "\\end", "\\operatorname"):
        return False
    if (
        place > 1
        and tokens[place - 1].text == "{"
        and tokens[place - 2].text in ("_", "\\begin", "\\end", "\\overline")
    ):
        return False
    lower = token.text.lower()
    if GLUED.fullmatch(token.text) or re.fullmatch(r"[a-z](?:sin|cos|tan|ln|log|exp|sqrt)", token.text):
        return False
    if len(lower) > 2 and lower in _ALPHABET:
        return False
    if place and token.text in UNITS and tokens[place - 1].kind == "number":
        return True
    if lower in SHORT:
        return len(tokens) == 1 or token.spaced
    if place and tokens[place - 1].kind == "number" and (lower in UNITS or lower in ("sq", "cu")):
        return True
    if (
        token.spaced
        and lower in UNITS
        and len(lower) > 1
        and place
        and not any(one.kind == "word" for one in tokens[:place])
    ):
        return True
    if lower in SHOUTED:
        return True
    vowel = re.search("[aeiou]", lower) is not None and not token.text.isupper()
    return len(lower) > 2 and (vowel or lower in HEDGES)


def joined(tokens: Sequence[Token]) -> str:
    """The tokens as text again."""
    return "".join((" " if token.spaced or token.kind == "prose" else "") + token.text for token in tokens).strip()


def words_of(tokens: Sequence[Token]) -> str:
    """A text's words: in lower case where they are words, without quotes and stops."""
    pieces = []
    for place, token in enumerate(tokens):
        text = token.text
        if token.kind == "prose":
            text = re.sub(r"[$\"]", " ", text).lower()
        elif is_word(tokens, place) or (token.kind == "word" and len(text) > 1 and len(tokens) == 1):
            text = text.lower()
        pieces.append((" " if token.spaced or token.kind == "prose" else "") + text + " " * (token.kind == "prose"))
    words = " ".join(re.sub(r"[\"`*]", "", "".join(pieces)).split()).strip(" ,;:!()")
    if words[:1] == words[-1:] == "'":
        words = words.strip("' ")
    words = words if words.endswith("..") else words.removesuffix(".")
    if len(words.split()) >= PROSE_WORDS:
        raise Sentence("a sentence")
    if not words:
        raise Unreadable("nothing")
    return words
