"""Votes are for answers, not for spellings: samples grouped as the verifier judges their answers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache

from leanthink.verify.same import Same, same_answers

Answer = Hashable | None


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers of one question's samples, each in the spelling that was seen first.

    Attributes:
        answers: of each sample; None for one without an answer, which has no vote.
        correct: of each sample, 0 or 1, the verdict on its answer; 0 without an answer.
        conflicts: the answers that have two verdicts: each is one answer, and the verdict of most of its samples is
            its own, wrong where as many say right as wrong.
    """

    answers: tuple[Answer, ...]
    correct: tuple[float, ...]
    conflicts: tuple[Answer, ...] = ()


def as_judged(answers: Sequence[Answer], correct: Sequence[float] | None = None, same: Same | None = None) -> Answers:
    r"""Group answers as they are judged.

    All that were judged right are one answer, as all equal the gold one. Of the others two are one where ``same`` says
    so, or a chain of such; values that are no text are compared by ``==``. Blank text is no answer.

    Args:
        answers: of each sample.
        correct: the verdict on each, 0 or 1; without it nothing is known to be right.
        same: whether two texts say the same; the verifier's equality of mathematics where it is left out.

    >>> as_judged([r"\frac{1}{2}", "0.5", "3"], [1, 1, 0]).answers
    ('\\frac{1}{2}', '\\frac{1}{2}', '3')
    """
    same = _mathematics() if same is None else same
    verdicts = [0.0] * len(answers) if correct is None else [float(value) for value in correct]
    told: list[Answer] = [None if isinstance(one, str) and not one.strip() else one for one in answers]
    distinct = list(dict.fromkeys(one for one in told if one is not None))
    right = {one for one, verdict in zip(told, verdicts, strict=True) if verdict == 1 and one is not None}
    first = {one: place for place, one in enumerate(distinct)}  # the group of each, named by its first answer's place
    for place, one in enumerate(distinct):
        for before in distinct[:place]:
            if first[one] != first[before] and (({one, before} <= right) or _are_one(one, before, same)):
                low, high = sorted((first[one], first[before]))
                first = {each: low if group == high else group for each, group in first.items()}
    named: list[Answer] = [None if one is None else distinct[first[one]] for one in told]
    votes: dict[Answer, list[float]] = {}
    for name, verdict in zip(named, verdicts, strict=True):
        if name is not None:
            votes.setdefault(name, []).append(verdict)
    of = {name: float(2 * sum(own) > len(own)) for name, own in votes.items()}
    return Answers(
        answers=tuple(named),
        correct=tuple(0.0 if name is None else of[name] for name in named),
        conflicts=tuple(name for name, own in votes.items() if len(set(own)) > 1),
    )


def _are_one(one: Answer, other: Answer, same: Callable[[str, str], bool]) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return same(one, other)
    return bool(one == other)


@cache
def _mathematics() -> Same:
    return same_answers()
