"""Ratios, times of the day and dates: they look like arithmetic, and are none.

`3:10` may be a ratio or a time. The gold answer decides: one that could be a time is equal to the same numbers alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from leanthink.verify.equality import DIFFERENT, EQUAL, Outcome, all_of, compare_trees
from leanthink.verify.grammar import Parser
from leanthink.verify.numerals import date_of, time_of
from leanthink.verify.pieces import apart, is_word, joined, partner
from leanthink.verify.tokens import Token, Unreadable
from leanthink.verify.trees import Tree, has, num
from leanthink.verify.values import Date, Formula, Ratio, Time, Tuple, Value

_LONGEST = 12  # pieces of a time or a date


def in_fields(tokens: Sequence[Token]) -> Value | None:
    """The time, the date, the range of them, or the ratio of three terms or more; None of other pieces."""
    while len(tokens) > 2 and tokens[0].text in ("(", "{") and partner(tokens, 0) == len(tokens) - 1:
        tokens = tokens[1:-1]
    if len(tokens) <= _LONGEST and (told := time_of(text := joined(tokens)) or date_of(text)) is not None:
        return told
    if ends := _range(tokens):
        return Tuple("", ends, "")
    if any(token.kind == "prose" or is_word(tokens, place) for place, token in enumerate(tokens)):
        return None
    if sum(token.text == ":" for token in tokens) < 2 or len(parts := apart(tokens, (":",))) < 3:
        return None
    terms = tuple(Parser(part).whole() for part in parts)
    if any(has(term, "pm") for term in terms):
        raise Unreadable("a ratio with two signs")
    return Ratio(terms)


def _range(tokens: Sequence[Token]) -> tuple[Value, ...]:
    """The ends of `12:30-13:30`; none where that is no range."""
    signs = [place for place, token in enumerate(tokens[: 2 * _LONGEST]) if token.text == "-"]
    if len(signs) % 2 == 0 or len(tokens) > 2 * _LONGEST:
        return ()
    middle = signs[len(signs) // 2]
    ends = [time_of(text) or date_of(text) for text in (joined(tokens[:middle]), joined(tokens[middle + 1 :]))]
    return tuple(end for end in ends if end is not None) if None not in ends else ()


def fields(gold: Value, answer: Value) -> Outcome:
    """Whether two values are equal, one of which is a time, a date or a ratio of three terms or more."""
    if isinstance(gold, Date) or isinstance(answer, Date):
        return EQUAL if gold == answer else DIFFERENT
    if isinstance(gold, Time) and isinstance(answer, Time):
        return EQUAL if _same_time(gold, answer) else DIFFERENT
    wanted, given = _terms(gold), _terms(answer)
    if len(wanted) != len(given) or not wanted:
        return DIFFERENT
    if isinstance(gold, Time) or (isinstance(answer, Time) and _like_time(wanted)):
        return EQUAL if wanted == given else DIFFERENT
    return _in_proportion(wanted, given)


def _same_time(gold: Time, answer: Time) -> bool:
    """The half of the day may be added, not left out and not be another; 16:30 has told it."""
    if (gold.minute, gold.second or 0) != (answer.minute, answer.second or 0):
        return False
    if not (gold.half or answer.half):
        return gold.hour == answer.hour
    (hour, half), (other, other_half) = _hour(gold), _hour(answer)
    return hour == other and half in ("", other_half)


def _hour(time: Time) -> tuple[int, str]:
    """The hour, of twelve where it tells the half of the day."""
    if time.hour > 12 and time.half != "am":
        return time.hour - 12, "pm"
    return (12, "am") if time.hour == 0 and time.half != "pm" else (time.hour, time.half)


def _terms(value: Value) -> tuple[Tree, ...]:
    """What stands between the colons, or above and below a fraction of whole numbers; nothing of what is no ratio."""
    if isinstance(value, Ratio):
        return value.terms
    if isinstance(value, Time) and not value.half:
        behind = [value.minute] if value.second is None else [value.minute, value.second]
        return () if min(behind) < 10 else tuple(map(num, (value.hour, *behind)))  # 9:05 has no term 05
    if isinstance(value, Formula) and value.tree[0] == "div" and not (value.percent or value.modulus or value.base):
        terms = value.tree[1:]
        return terms if all(term[0] == "num" and term[3] == "integer" for term in terms) else ()
    return ()


def _like_time(terms: Sequence[Tree]) -> bool:
    """A ratio that is not in its lowest terms, and of two digits behind the colon: `24:60`, a time gone wrong."""
    if not all(term[0] == "num" and term[1].denominator == 1 for term in terms):
        return False
    numbers = [int(term[1]) for term in terms]
    return math.gcd(*numbers) > 1 and all(10 <= number < 100 for number in numbers[1:])


def _in_proportion(wanted: Sequence[Tree], given: Sequence[Tree]) -> Outcome:
    same = all_of(map(compare_trees, wanted, given))
    if same.equal:
        return same
    place = next((place for place, term in enumerate(wanted) if _is_not_zero(term)), None)
    if place is None or not _is_not_zero(given[place]):  # 0:0:0 is in proportion to nothing
        return DIFFERENT
    return all_of(
        compare_trees(("mul", one, given[place]), ("mul", other, wanted[place]))
        for one, other in zip(wanted, given, strict=True)
    )


def _is_not_zero(term: Tree) -> bool:
    return compare_trees(num(0), term).equal is False
