"""The lessons of the tool task: whole conversations, of which the policy's own words are learnt, and their pieces.

``verdicts`` teach whether a result is the target, ``calls`` are of candidates in any order, so that nothing but the one
in hand says which is next. Nothing that the calculator returns is a lesson: the products stay unknown.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from leanthink.testbed.lessons import Course, question_to_learn
from leanthink.testbed.search import NO, YES, right_candidate
from leanthink.testbed.task import END_THINK, THINK
from leanthink.testbed.tokenizer import ASSISTANT, EOS, UNKNOWN, USER, vocabulary
from leanthink.testbed.tools import END_TOOL, RESULT, TOOL, Tools, answered, sample_turns
from leanthink.testbed.training import IGNORED, Row

CALLS = 8
"""Pairs of a call and the next one in a lesson of calls."""
VERDICTS = 20
"""Results in a lesson of verdicts, half of them the target."""


TOOL_COURSE: Final = Course(
    steps=1000,
    phases=(
        (300, {"verdicts": 0.5, "calls": 0.5}),
        (1000, {"verdicts": 0.1, "calls": 0.2, "conversations": 0.7}),
    ),
)


class ToolTeacher:
    """Draws lessons on train questions as ids and labels."""

    def __init__(self, task: Tools, seed: int) -> None:
        """Its generator is its own."""
        self._task, self._words = task, vocabulary(task)
        self._rng = random.Random(f"tools-lessons-{seed}")
        self.lessons: Mapping[str, Callable[[], Row]] = {
            "verdicts": self.verdicts,
            "calls": self.calls,
            "conversations": self.conversation,
        }

    def verdicts(self) -> Row:
        """Results at random behind a question; the verdict on each is learnt, right behind it and where a turn has it.

        The first is what the second is made of: alone, that one takes a small model much longer.
        """
        question = question_to_learn(self._rng, self._task, self._task.min_candidates)
        row: Row = ([], [])
        self._add(row, [USER, *question.text.split()])
        for _ in range(VERDICTS):
            other = self._task.offset + self._rng.randrange(1, self._task.modulus)
            result = question.target if self._rng.random() < 0.5 else other
            verdict = [YES if result == question.target else NO]
            self._add(row, [RESULT, str(result)])
            self._add(row, verdict, learnt=True)
            if self._rng.random() < 0.3:
                self._add(row, [RESULT, str(result), ASSISTANT, THINK])
                self._add(row, verdict, learnt=True)
        return row

    def conversation(self) -> Row:
        """A conversation; what the policy writes is learnt."""
        question = question_to_learn(self._rng, self._task, self._task.min_candidates)
        row: Row = ([], [])
        self._add(row, [USER, *question.text.split(), ASSISTANT])
        for turn in sample_turns(self._rng, question, self._task):
            self._add(row, [*turn.written.split(), EOS], learnt=True)
            if turn.returned is not None:
                self._add(row, [RESULT, *turn.returned.split(), ASSISTANT])
        return row

    def calls(self) -> Row:
        """Pairs of a call of any candidate and of the one behind it; that one is learnt, and every verdict.

        The first of each pair is not, for nothing tells it.
        """
        question = question_to_learn(self._rng, self._task, self._task.min_candidates)
        right = right_candidate(question, self._task)
        row: Row = ([], [])
        self._add(row, [USER, *question.text.split(), ASSISTANT, THINK])
        for _ in range(CALLS):
            place = self._rng.randrange(question.difficulty - 1)
            for candidate in question.candidates[place : place + 2]:
                learnt = candidate != question.candidates[place]
                verdict = YES if candidate == right else NO
                call = f"{candidate} {question.multiplier}"
                self._add(row, [END_THINK, TOOL])
                self._add(row, [str(candidate)], learnt=learnt)
                self._add(row, [str(question.multiplier), END_TOOL, EOS], learnt=True)
                self._add(row, [RESULT, answered(call), ASSISTANT, THINK])
                self._add(row, [verdict], learnt=True)
        return row

    def _add(self, row: Row, words: Sequence[str], *, learnt: bool = False) -> None:
        ids = [self._words.get(word, self._words[UNKNOWN]) for word in words]
        row[0].extend(ids)
        row[1].extend(ids if learnt else [IGNORED] * len(ids))
