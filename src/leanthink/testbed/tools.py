r"""The tool task: the search task, whose products a calculator computes. Calls cost nothing, so that many are wasted.

The policy calls, reads the result in its next turn, and goes on or answers::

    question   21 42 13 times 91 is 139 ?
    policy     <think> </think> <tool> 21 91 </tool>
    tool       <result> 168
    policy     <think> no </think> <tool> 42 91 </tool>
    tool       <result> 139
    policy     <think> yes </think> \boxed{ 42 }

A call is wasted where it is of a candidate that has been called, where the answer is known before it, or where it
fails: traces now and then forget the multiplier, and call again. Calls are needed as tries are in the search task.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from leanthink.testbed.search import NO, YES, Search, SearchQuestion, right_candidate, stops
from leanthink.testbed.task import BOX, END_BOX, END_THINK, THINK

TOOL, END_TOOL, RESULT = "<tool>", "</tool>", "<result>"
TOOL_NAME: Final = "product"
TWO_NUMBERS: Final = "give two numbers"
FAILED: Final = f"Error executing tool '{TOOL_NAME}': {TWO_NUMBERS}"
"""What verl's tool loop answers to a call that raises; to the policy a row of unknown words."""


@dataclass(frozen=True, kw_only=True)
class Tools(Search):
    """The constants of the task; those of the search task, and of how traces call.

    A ``misread`` of 0 keeps waste from costing accuracy: nothing but a price on calls then speaks against it.

    Attributes:
        forgets: how often a call lacks its multiplier, and fails.
        max_turns: turns of a conversation at most, the answer's included.
    """

    max_candidates: int = 6
    no_try: float = 0.05
    early: float = 0.25
    repeat_failure: float = 0.35
    repeat_success: float = 0.6
    try_last: float = 0.7
    misread: float = 0.0
    forgets: float = 0.03
    test_one_in: int = 6
    max_response_tokens: int = 144
    max_turns: int = 12

    @property
    def words(self) -> tuple[str, ...]:
        """Every word of a question or a conversation."""
        signs = (THINK, END_THINK, TOOL, END_TOOL, RESULT, BOX, END_BOX)
        return (*signs, *(word for word in super().words if word not in signs))


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What the policy writes in one turn, without the end token, and what the tool returns; None behind an answer."""

    written: str
    returned: str | None = None


def product(numbers: Sequence[int], task: Tools | None = None) -> int:
    """The calculator: of two numbers, as the task writes a result.

    Raises:
        ValueError: there are not two.

    >>> product([13, 91])
    119
    """
    if len(numbers) != 2:
        raise ValueError(TWO_NUMBERS)
    return (task or Tools()).result(*numbers)


def numbers_in(call: str) -> list[int]:
    """The numbers of a call, as far as they are some.

    >>> numbers_in("13 91"), numbers_in("13"), numbers_in("13 yes")
    ([13, 91], [13], [13])
    """
    return [int(word) for word in call.split() if word.isdecimal()]


def calls_in(text: str) -> list[str]:
    """What stands between each pair of tags, in a turn or in a whole conversation.

    >>> calls_in("<think> </think> <tool> 21 91 </tool> <result> 168 <think> no </think> <tool> 42 91")
    ['21 91']
    """
    return [call.strip() for piece in text.split(TOOL)[1:] for call, end, _ in [piece.partition(END_TOOL)] if end]


def answered(call: str) -> str:
    """What the tool loop returns for a call."""
    try:
        return str(product(numbers_in(call)))
    except ValueError:
        return FAILED


def sample_turns(rng: random.Random, question: SearchQuestion, task: Tools | None = None) -> list[Turn]:
    """Draw a conversation: the candidates in their order, with waste, failed calls and answers too early."""
    task = task or Tools()
    last, place = question.difficulty - 1, 0
    if rng.random() < task.no_try:
        return [_answering("", question.candidates[0])]
    turns: list[Turn] = []
    verdict = ""
    while True:
        candidate = question.candidates[place]
        while len(turns) < task.max_turns - 2 and rng.random() < task.forgets:
            turns.append(_calling(verdict, str(candidate)))
            verdict = ""
        turns.append(_calling(verdict, f"{candidate} {question.multiplier}"))
        success = turns[-1].returned == str(question.target)
        verdict = YES if success else NO
        over = len(turns) >= task.max_turns - 1
        if not over and rng.random() < (task.repeat_success if success else task.repeat_failure):
            continue
        if success:
            return [*turns, _answering(verdict, candidate)]
        if over or stops(rng, last - place, task):
            return [*turns, _answering(verdict, question.candidates[min(place + 1, last)])]
        place += 1


def _calling(verdict: str, call: str) -> Turn:
    return Turn(written=_thought(verdict, TOOL, call, END_TOOL), returned=answered(call))


def _answering(verdict: str, answer: int) -> Turn:
    return Turn(written=_thought(verdict, BOX, str(answer), END_BOX))


def _thought(verdict: str, *words: str) -> str:
    return " ".join(word for word in (THINK, verdict, END_THINK, *words) if word)


@dataclass(frozen=True, kw_only=True)
class Calls:
    """What the calls of a conversation were.

    Attributes:
        made: the candidate of each call in its order; None where the call failed, or was of no candidate.
        wasted: how many told nothing that was not known.
        words: of the turns in which those stand, end tokens included.
    """

    made: tuple[int | None, ...]
    wasted: int
    words: int


def read_calls(question: SearchQuestion, conversation: str, task: Tools | None = None) -> Calls:
    """Read a conversation, as it is decoded without the tokens of roles.

    A call is wasted where it fails, repeats one, is of no candidate, or stands where one candidate has been found or
    all but one have failed.

    >>> question = SearchQuestion(candidates=(21, 42), multiplier=91, target=139)
    >>> once = "<think> </think> <tool> 21 91 </tool> <result> 168"
    >>> read_calls(question, f"{once} {once} <think> no </think> <tool> 42 91 </tool> <result> 139")
    Calls(made=(21, 21, 42), wasted=2, words=15)
    """
    right = right_candidate(question, task)
    seen: set[int] = set()
    made: list[int | None] = []
    wasted = words = 0
    for turn in _turns_of(conversation):
        for call in calls_in(turn):
            numbers = numbers_in(call)
            known = right in seen or len(seen) >= question.difficulty - 1
            asked = numbers[0] if len(numbers) == 2 and numbers[1] == question.multiplier else None
            candidate = asked if asked in question.candidates else None
            made.append(candidate)
            if candidate is None or candidate in seen or known:
                wasted += 1
                words += len(turn.split()) + 1
            if candidate is not None:
                seen.add(candidate)
    return Calls(made=tuple(made), wasted=wasted, words=words)


def _turns_of(conversation: str) -> Iterator[str]:
    """What the policy wrote: all but what stands from a result to the thinking behind it."""
    first, *others = conversation.split(RESULT)
    yield first
    for piece in others:
        _, found, written = piece.partition(THINK)
        yield f"{found}{written}"
