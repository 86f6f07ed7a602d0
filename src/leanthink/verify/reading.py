r"""An answer read as a typed value: what kind of thing it is, and what it says beside a number.

Nothing is dropped on the way: words behind a number are its unit, or they make a text of the whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from leanthink.verify.clean import LONGEST, clean
from leanthink.verify.grammar import Parser
from leanthink.verify.numerals import NO_VALUE, ORDINAL, SMALL_CHOICE, choice_in, named_value, number_in_base, time_of
from leanthink.verify.pieces import PROSE_WORDS, apart, depths, is_word, joined, partner, word_of, words_of
from leanthink.verify.ratios import in_fields
from leanthink.verify.tokens import Sentence, Token, Unreadable, tokens_of
from leanthink.verify.trees import Tree, has, letters_of, num
from leanthink.verify.units import scale_of, unit_of
from leanthink.verify.values import (
    Choice,
    Date,
    Formula,
    Items,
    Matrix,
    Quantity,
    Relation,
    Text,
    Time,
    Tuple,
    Union,
    Value,
)
from leanthink.verify.words import HEDGES, NEARLY, SIGNS

_MODULUS = re.compile(
    r"\s*,?\s*(?:\\p?mod\s*(?:\{([^{}]+)\}|(\d+|[A-Za-z]))|\(\s*(?:\\b?mod|\\text\s*\{\s*mod\s*\}|mod)\s*\{?([^{}()]+)\}?\s*\))\s*\Z"
)
_WORDS_BETWEEN = ("and", "or")
_CURRENCY = ("\\$", "$", "€", "£", "¥", "₹")


@lru_cache(maxsize=16_384)
def read(text: str, commas: bool = True) -> Value:
    r"""The typed value of an answer.

    Args:
        text: as it stood in the box or behind its mark.
        commas: whether `1,000` is one number rather than two values.

    >>> read(r"18\text{ dollars}").type, read("(1, 2)").type, read("x > 3").type, read(r"\text{Yes}").type
    ('quantity', 'tuple', 'relation', 'text')

    Raises:
        Unreadable: the grammar knows no such thing; the message says what it met.
    """
    if len(text) > LONGEST:
        raise Unreadable("too long")
    text = clean(text)
    if not text:
        raise Unreadable("nothing")
    if (numeral := time_of(text) or number_in_base(text)) is not None:
        return numeral
    if match := ORDINAL.fullmatch(text):
        return read(match[1], commas)
    if (named := named_value(text)) is not None:
        return named
    if match := SMALL_CHOICE.fullmatch(text):
        return Choice(frozenset(match[1].upper()))
    if match := choice_in(text):
        return _choice(match, commas)
    if (match := _MODULUS.search(text)) and match.start():
        return _with_modulus(read(text[: match.start()], commas), match[1] or match[2] or match[3])
    tokens = tokens_of(text, commas=commas)
    words = [word for token in tokens if token.kind in ("word", "prose") for word in token.text.lower().split()]
    if sum(len(word) > 1 for word in words) >= PROSE_WORDS and sum(word in HEDGES for word in words) > 1:
        raise Sentence("a sentence")
    return _value(tokens)


def type_of(text: str) -> str:
    """The name of an answer's type, or why it has none: for people.

    >>> type_of("7 0"), type_of("2x")
    ('unreadable: two numbers side by side', 'expression')
    """
    try:
        return read(text).type
    except Unreadable as error:
        return f"unreadable: {error}"
    except RecursionError:
        return "unreadable: nested too deep"


def _choice(match: re.Match[str], commas: bool) -> Choice:
    letter = next(match[group] for group in (1, 2, 3, 5, 6, 7) if match[group])
    rest = f"{match[4] or ''} {match[8]}".strip().lstrip(".):").strip()
    if not rest:
        return Choice(frozenset({letter}))
    if NO_VALUE.match(rest) or not any(map(str.isalnum, rest)):
        raise Unreadable("something beside a choice")
    try:
        value = read(rest, commas)
    except Unreadable:
        value = Text(words_of(tokens_of(rest)))
    said = value.words.split() if isinstance(value, Text) else ()
    if (
        any(word in HEDGES or scale_of(word)[0] != 1 for word in said)
        or isinstance(value, Items | Relation)
        or "?" in rest
    ):
        raise Unreadable("something beside a choice")
    return Choice(frozenset({letter}), value)


def _with_modulus(value: Value, modulus: str) -> Value:
    tree = Parser(tokens_of(modulus)).whole()
    if isinstance(value, Formula):
        return Formula(value.tree, value.number, modulus=tree)
    if isinstance(value, Relation) and isinstance(last := value.sides[-1], Formula):
        return Relation((*value.sides[:-1], Formula(last.tree, last.number, modulus=tree)), value.signs)
    if isinstance(value, Items):
        return Items(tuple(_with_modulus(part, modulus) for part in value.parts))
    raise Unreadable("a modulus")


def _value(tokens: Sequence[Token]) -> Value:
    """The value of some pieces: lists first, then what their parts can be."""
    if len(tokens) > 1 and tokens[0].kind == "prose" and tokens[0].text.endswith(":"):
        tokens = tokens[1:]
    while tokens and (tokens[0].text in ("\\approx", "=", "\\sim", "\\therefore") or word_of(tokens[0]) in NEARLY):
        tokens = tokens[1:]
    if not tokens:
        raise Unreadable("nothing")
    if len(tokens) > 1 and tokens[0].text == "\\{" and partner(tokens, 0) == len(tokens) - 1:
        return _set(tokens)
    if compound := _quantities(tokens):
        return compound
    if groups := _split(tokens):
        return _list(groups, _joiner(tokens))
    if any(token.text == "\\cup" for token in tokens) and len(parts := apart(tokens, ("\\cup",))) > 1:
        return _united([_value(part) for part in parts])
    signs = [place for place, depth in depths(tokens) if depth == 0 and tokens[place].text in SIGNS]
    if signs and tokens[signs[0]].kind != "prose":
        return _relation(tokens, signs)
    return _single(tokens)


def _united(parts: Sequence[Value]) -> Value:
    """A union; of finite sets, the set of all their members."""
    if all(isinstance(part, Items) and part.braces for part in parts):
        return Items(tuple(one for part in parts if isinstance(part, Items) for one in part.parts), braces=True)
    return Union(tuple(parts))


def _single(tokens: Sequence[Token], *, letter_units: bool = True) -> Value:
    """What is neither a list nor a relation; ``letter_units``: `18 m` may be metres, as it may not in `x = 18 m`."""
    first, last = tokens[0].text, tokens[-1].text
    if len(tokens) <= 4 and (named := named_value(joined(tokens))) is not None:
        return named
    if any(token.text == "\\begin" for token in tokens):
        return _matrix(tokens)
    if len(tokens) == 1 and first == "\\emptyset":
        return Items((), braces=True)
    bracketed = first in ("(", "[", "\\langle") and last in (")", "]", "\\rangle")
    if bracketed and partner(tokens, 0) == len(tokens) - 1 and len(parts := apart(tokens[1:-1], (",", ";"))) > 1:
        return Tuple(first, tuple(_value(part) for part in parts), last)
    if (told := in_fields(tokens)) is not None:
        return told
    for place, token in enumerate(tokens):
        if token.kind == "prose" or token.text in _CURRENCY or is_word(tokens, place):
            return _worded(tokens, place)
    if tokens[-1].text == "\\Omega" and len(tokens) > 1 and all(one.kind == "number" for one in tokens[:-1]):
        return Quantity(((_number(tokens[:-1]), "Ω"),))
    if len(tokens) > 3 and tokens[-1].text in ("C", "F") and tokens[-2].text == "\\circ":
        return Quantity(((_number(tokens[:-3]), f"°{tokens[-1].text}"),))
    if (
        letter_units
        and (split := _letter_unit(tokens)) is not None
        and (unit := unit_of(joined(tokens[split:]), plain=True))
    ):
        return Quantity(((_number(tokens[:split]), unit),))
    return _formula(tokens)


def _formula(tokens: Sequence[Token]) -> Value:
    percent = tokens[-1].text in ("\\%", "%") and len(tokens) > 1
    tree = Parser(tokens[:-1] if percent else tokens).whole()
    if has(tree, "pm"):
        return Items(tuple(Formula(one, not letters_of(one)) for one in (_resolved(tree, 1), _resolved(tree, -1))))
    if tree[0] == "deg":
        return Quantity(((Formula(tree[1], not letters_of(tree[1])), "deg"),))
    if tree[0] == "neg" and tree[1][0] == "deg":
        return Quantity(((Formula(("neg", tree[1][1]), not letters_of(tree[1])), "deg"),))
    return Formula(tree, not letters_of(tree), percent=percent)


def _resolved(tree: Tree, sign: int) -> Tree:
    if tree[0] == "pm":
        inner = _resolved(tree[1], sign)
        return inner if sign > 0 else ("neg", inner)
    return tuple(_resolved(part, sign) if isinstance(part, tuple) else part for part in tree)


def _worded(tokens: Sequence[Token], place: int) -> Value:
    """Words stand among the pieces: a quantity, or a text."""
    if place <= 1 and tokens[place].text in _CURRENCY and tokens[place].kind != "prose" and len(tokens) > place + 1:
        rest = [*tokens[:place], *tokens[place + 1 :]]
        value = _value(rest)
        unit = {"\\$": "dollar", "$": "dollar", "€": "euro", "£": "£", "¥": "yen", "₹": "rupee"}[tokens[place].text]
        if isinstance(value, Formula) and value.number:
            return Quantity(((value, unit),))
        if isinstance(value, Quantity) and (value.parts[0][1] in (unit, "") or "/" in value.parts[0][1]):
            return value
        if isinstance(value, Quantity) and value.parts[0][1].startswith("#"):
            return Quantity(((value.parts[0][0], unit),))
        raise Unreadable("money")
    words = joined(tokens[place:])
    if place and (quantity := _quantity(tokens[:place], words)) is not None:
        return quantity
    if len(tokens) == 1 and tokens[0].kind == "prose":
        inner = clean(tokens[0].text)
        if inner and not re.search(r"[A-Za-z]{2}", inner) and inner != tokens[0].text.strip("()"):
            return read(inner)
        if re.fullmatch(r"[-+0-9.,:/ ()]+|\(?[A-Za-z]\)?", inner):
            return _prose_value(inner)
        if re.match(r"[-+$\\]?\d", inner) and isinstance(value := read(inner), Quantity | Formula | Time | Date):
            return value
    return Text(words_of(tokens))


def _prose_value(inner: str) -> Value:
    if match := re.fullmatch(r"\(([A-Z])\)", inner):
        return Choice(frozenset(match[1]))
    return read(inner)


def _quantities(tokens: Sequence[Token]) -> Quantity | None:
    """Several numbers, each with its unit: hours and minutes."""
    starts = [
        place
        for place, token in enumerate(tokens)
        if token.kind == "number" and (place == 0 or tokens[place - 1].kind in ("prose", "word"))
    ]
    if len(starts) < 2 or starts[0] != 0:
        return None
    parts = []
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        words = joined(tokens[start + 1 : end])
        words = re.sub(r"(?:^|\s|,)\s*and\s*$|,\s*$", "", words).strip()
        unit = unit_of(words)
        if unit is None or (unit.startswith("#") and words.lower() in _WORDS_BETWEEN):
            return None
        parts.append((_number(tokens[start : start + 1]), unit))
    return Quantity(tuple(parts))


def _quantity(before: Sequence[Token], words: str) -> Value | None:
    """A number and the words behind it; None where these are no unit."""
    try:
        if degrees := len(before) > 2 and before[-1].text == "\\circ" and before[-2].text == "^":
            before = before[:-2]
        number = _formula(before)
    except Unreadable:
        return None
    if not isinstance(number, Formula):
        return None
    if degrees:
        unit = unit_of(f"° {words}")
        return None if unit is None else Quantity(((number, unit),))
    factor, rest = scale_of(words)
    if factor != 1:
        number = Formula(_scaled(number.tree, factor), number.number)
        if not rest:
            return number
    unit = "percent" if rest == "per cent" else unit_of(rest)
    if unit == "percent":
        return Formula(number.tree, number=True, percent=True)
    return None if unit is None else Quantity(((number, unit),))


def _scaled(tree: Tree, factor: Fraction) -> Tree:
    return num(tree[1] * factor) if tree[0] == "num" else ("mul", tree, num(factor))


def _number(tokens: Sequence[Token]) -> Formula:
    value = _formula(tokens)
    if not isinstance(value, Formula) or not value.number:
        raise Unreadable("no number before a unit")
    return value


def _letter_unit(tokens: Sequence[Token]) -> int | None:
    """Where `m^3` of `18 m^3` begins: a letter behind a space, after a number and nothing else."""
    for place, token in enumerate(tokens):
        if token.kind == "word":
            before = tokens[:place]
            plain = before and all(
                one.kind == "number" or one.text in "+-/.{}" or one.text == "\\frac" for one in before
            )
            return place if plain and token.spaced and len(token.text) == 1 else None
    return None


def _relation(tokens: Sequence[Token], signs: Sequence[int]) -> Value:
    sides, start = [], 0
    for place in [*signs, len(tokens)]:
        if place == start:
            raise Unreadable("a relation without a side")
        sides.append(_side(tokens[start:place]))
        start = place + 1
    return Relation(tuple(sides), tuple(tokens[place].text for place in signs))


def _side(tokens: Sequence[Token]) -> Value:
    if len(tokens) > 1 and tokens[0].text == "\\{":
        return _set(tokens)
    if any(token.text == "\\cup" for token in tokens):
        return _value(tokens)
    return _single(tokens, letter_units=False)


def _set(tokens: Sequence[Token]) -> Value:
    inner = tokens[1:-1]
    if tokens[-1].text != "\\}" or partner(tokens, 0) != len(tokens) - 1:
        raise Unreadable("braces")
    for place, depth in depths(inner):
        if depth == 0 and inner[place].text in ("|", ":") and place:
            if all(token.kind == "number" for token in inner[:place]):  # `1:2`
                break
            return _value(inner[place + 1 :])
    if not inner:
        return Items((), braces=True)
    return Items(tuple(_value(part) for part in apart(inner, (",", ";"))), braces=True)


def _joiner(tokens: Sequence[Token]) -> str:
    """The word between values: "and", "or" or none."""
    words = {word_of(tokens[place]) for place, depth in depths(tokens) if depth == 0 and _is_between(tokens[place])}
    return "or" if "or" in words else "and" if "and" in words else ""


def _list(groups: list[list[list[Token]]], word: str) -> Value:
    """Values between commas and words; groups of several between words stay together where all are as long."""
    lengths = {len(group) for group in groups}
    if len(groups) > 1 and lengths != {1} and len(lengths) == 1:
        return Items(tuple(Items(tuple(_value(part) for part in group)) for group in groups), word=word)
    return Items(tuple(_value(part) for group in groups for part in group), word=word)


def _split(tokens: Sequence[Token]) -> list[list[list[Token]]]:
    """The pieces between "and", "or" and semicolons, each split at its commas; none where nothing is split."""
    groups: list[list[list[Token]]] = []
    between = [place for place, depth in depths(tokens) if depth == 0 and _is_between(tokens[place])]
    start = 0
    for place in [*between, len(tokens)]:
        group = list(tokens[start:place])
        while group and group[-1].text == ",":
            group.pop()
        if group:
            groups.append([part for part in apart(group, (",",)) if part])
        start = place + 1
    if sum(map(len, groups)) <= 1:
        return []
    if len(groups) == 1:
        return [[part] for part in groups[0]]
    return groups


def _is_between(token: Token) -> bool:
    return token.text in (";", "\\wedge", "\\vee") or word_of(token) in _WORDS_BETWEEN


def _matrix(tokens: Sequence[Token]) -> Matrix:
    start = next(place for place, token in enumerate(tokens) if token.text == "\\begin")
    end = next((place for place, token in enumerate(tokens) if token.text == "\\end"), 0)
    name = tokens[start + 2].text if len(tokens) > start + 2 else ""
    if not name.endswith("matrix") or len(tokens) != end + 4 or name in ("vmatrix", "Vmatrix"):
        raise Unreadable("no matrix alone")
    rows: list[list[list[Token]]] = [[[]]]
    for token in tokens[start + 4 : end]:
        if token.text == "\\\\":
            rows.append([[]])
        elif token.text == "&":
            rows[-1].append([])
        else:
            rows[-1][-1].append(token)
    if rows[-1] == [[]]:
        rows.pop()
    before = list(tokens[:start])
    while before and before[-1].text in ("\\cdot", "\\times", "*"):
        before.pop()
    minus = len(before) == 1 and before[0].text == "-"
    factor = num(-1) if minus else Parser(before).whole() if before else None
    return Matrix(tuple(tuple(Parser(cell).whole() for cell in row) for row in rows), factor)
