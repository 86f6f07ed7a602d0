r"""The verdict on an answer by its type, and what is left for a worker to prove.

Order: the gold answer's own text; the problem's own text (an echo); what the types say; whether the answer is as far
evaluated as the gold answer; and only then whoever has to prove that two formulas are equal.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

from leanthink.verify.arithmetic import TooLarge, exact
from leanthink.verify.compare import compare
from leanthink.verify.equality import GOLD_TOO_LARGE, LEFT, UNREASONABLE, Outcome
from leanthink.verify.evaluated import compact, is_echo, trees_of, unevaluated
from leanthink.verify.reading import read
from leanthink.verify.tokens import Sentence, Unreadable
from leanthink.verify.trees import Tree, has
from leanthink.verify.values import Formula, Items, Relation, Tuple, Value

NO_ANSWERS: Final = frozenset(
    {"", "proof", "notfound", "not found", "none", "nan", "null", "n/a", "no answer", "-", "?"}
)
_GROUPS = re.compile(r"\d,\d{3}(?!\d)")
_CHEAP: Final = 80  # nodes of a gold answer that is no excuse for a slow judgement


class Told(NamedTuple):
    """What the types say.

    Attributes:
        verdict: "correct", "wrong", "unknown", or "ask": a worker decides.
        reason: why, or of "ask": "proof" (``pairs`` have to be equal) or "text" (the judge reads both texts).
        type: the gold answer's, or the answer's where the gold answer has none.
        pairs: JSON, for `leanthink.verify.symbolic`.
        blame: whether the answer is at fault if the worker does not come to an end.
    """

    verdict: str
    reason: str
    type: str
    pairs: str = ""
    blame: bool = False


def told_by_types(gold: str, answer: str, *, problem: str | None = None, accept_unevaluated: bool = False) -> Told:
    r"""What the types of an answer and a gold answer say.

    >>> told_by_types("437", r"19 \cdot 23")[:3], told_by_types("x+1", "1+x")[:3]
    (('wrong', 'unevaluated', 'number'), ('correct', 'equal', 'expression'))
    >>> told_by_types("3", "{3")[:2], told_by_types("4", "9^{9^9}")[:2], told_by_types("proof", "4")[0]
    (('wrong', 'unparsable'), ('wrong', 'unreasonable'), 'unknown')
    """
    if listed := _listed(gold):
        told = [told_by_types(one, answer, problem=problem, accept_unevaluated=accept_unevaluated) for one in listed]
        return next((one for one in told if one.verdict == "correct"), None) or next(
            (one for one in told if one.reason == "proof"), told[0]
        )
    if no_answer(gold):
        return Told("unknown", f"gold_unparsable: {gold[:100]!a}", "none")
    golds = _readings(gold)
    if not isinstance(golds, tuple):
        if compact(gold) == compact(answer) and compact(gold):
            return Told("correct", "equal", "text")
        if isinstance(golds, Sentence):
            return Told("unknown", f"gold_unparsable: {gold[:100]!a}", "sentence")
        return Told("ask", "text", "unreadable")
    kind = golds[0].type
    if compact(gold) == compact(answer):
        return Told("correct", "equal", kind)
    if problem and not accept_unevaluated and is_echo(gold, answer, problem):
        return Told("wrong", "echo", kind)
    answers = _readings(answer)
    if not isinstance(answers, tuple):
        return Told("wrong", "unparsable", kind)
    best = _best([(one, other, _compared(one, other)) for one in golds for other in answers])
    one, other, outcome = best
    if outcome.equal is False:
        return Told("wrong", outcome.reason, kind)
    if not accept_unevaluated and unevaluated(one, other):
        return Told("wrong", "unevaluated", kind)
    if outcome.equal:
        return Told("correct", "equal", kind)
    if outcome is GOLD_TOO_LARGE:
        return Told("unknown", f"gold_unreasonable: {gold[:100]!a}", kind)
    cheap = _nodes(one) <= _CHEAP and not _has_big(one)
    if outcome is LEFT or not outcome.pairs:
        return Told("ask", "text", kind, blame=cheap)
    pairs = json.dumps([[_plain(left), _plain(right)] for left, right in outcome.pairs])
    return Told("ask", "proof", kind, pairs, cheap and _nodes(other) > 2 * _nodes(one) + 20)


def _listed(gold: str) -> list[str]:
    """The gold answers of a JSON list of texts, any of which is right; none where the gold answer is no such list."""
    if not gold.startswith('["'):
        return []
    try:
        listed = json.loads(gold)
    except (ValueError, RecursionError):
        return []
    return listed if all(isinstance(one, str) for one in listed) else []


def no_answer(gold: str) -> bool:
    """Whether what stands for a gold answer says that there is none."""
    return gold.strip().strip("$.").lower() in NO_ANSWERS and gold.strip() not in ("none", "-", "?")


@lru_cache(maxsize=8192)
def _readings(text: str) -> tuple[Value, ...] | Unreadable:
    """The ways to read a text: `(1,000, 2)` with and without thousands; or why there is none."""
    try:
        values = [read(text)]
    except Unreadable as error:
        return error
    except RecursionError:
        return Unreadable("nested too deep")
    if _GROUPS.search(text) and isinstance(values[0], Tuple | Items | Formula) and re.search(r"[\[({]", text):
        try:
            other = read(text, commas=False)
        except Unreadable:
            other = values[0]
        if other != values[0]:
            values.append(other)
    return tuple(values)


def _compared(gold: Value, answer: Value) -> Outcome:
    """What the types say; where a size is met outside of two formulas, whose fault that is."""
    try:
        return compare(gold, answer)
    except TooLarge:
        return GOLD_TOO_LARGE if any(map(_is_large, trees_of(gold))) else UNREASONABLE


def _is_large(tree: Tree) -> bool:
    try:
        exact(tree)
    except TooLarge:
        return True
    return False


def _best(found: list[tuple[Value, Value, Outcome]]) -> tuple[Value, Value, Outcome]:
    """The first pair of readings that is equal, else one that may be, else the first."""
    for wanted in (True, None):
        for one in found:
            if one[2].equal is wanted:
                return one
    return found[0]


def _plain(tree: Tree) -> list[Any]:
    """A tree as JSON has it."""
    if tree[0] == "num":
        return ["num", str(tree[1])]
    return [_plain(part) if isinstance(part, tuple) else part if isinstance(part, str) else str(part) for part in tree]


def _nodes(value: Value) -> int:
    """How much there is to a value."""
    return str(value).count("(")


def _has_big(value: Value) -> bool:
    if isinstance(value, Formula):
        return has(value.tree, "big")
    if isinstance(value, Relation):
        return any(map(_has_big, value.sides))
    return isinstance(value, Items | Tuple) and any(map(_has_big, value.parts))
