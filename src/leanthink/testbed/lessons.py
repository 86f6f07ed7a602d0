"""The lessons of the search task: its pieces one by one, then whole traces.

``tries`` teach what a product is and whether it is the target, ``pairs`` which candidate comes next, ``traces`` all of
it with waste and early answers, and ``cuts`` what to answer wherever the thinking ends, for probes and budgets end it
anywhere. No lesson holds the inverse: the order of the candidates says nothing, and guesses take the next one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from leanthink.testbed.effort import LEVELS, Effort
from leanthink.testbed.search import NO, YES, Search, SearchQuestion, right_candidate, sample_question, split_of
from leanthink.testbed.search import sample_trace as trace_of
from leanthink.testbed.task import BOX, END_BOX, END_THINK, MAX_TRIES, THINK, WAIT
from leanthink.testbed.tokenizer import ASSISTANT, EOS, PAD, USER, vocabulary
from leanthink.testbed.training import IGNORED, Batch, Row, Training, padded

TRIES = 16
SUCCESSES = 0.25
"""Share of ``tries`` that are of the right candidate, so that its verdict is not rare."""


UNSTATED = 0.1
"""Share of the effort task's lessons without a level."""


@dataclass(frozen=True, kw_only=True)
class Course(Training):
    """A training on lessons of several kinds; the figures of `Training` that other values suit.

    Attributes:
        phases: up to which step a batch is made of which lessons; the shares of each sum to 1.
    """

    steps: int = 1000
    batch_size: int = 32
    learning_rate: float = 4e-3
    muon_rate: float | None = 4e-3
    warmup_steps: int = 50
    hidden_size: int = 64
    layers: int = 3
    heads: int = 4
    key_value_heads: int = 4
    intermediate_size: int = 192
    phases: tuple[tuple[int, Mapping[str, float]], ...] = (
        (300, {"tries": 0.5, "pairs": 0.5}),
        (500, {"tries": 0.2, "pairs": 0.3, "traces": 0.4, "cuts": 0.1}),
        (1000, {"tries": 0.1, "pairs": 0.1, "traces": 0.65, "cuts": 0.15}),
    )

    def shares_at(self, step: int) -> Mapping[str, float]:
        """What a batch is made of."""
        return next((shares for upto, shares in self.phases if step < upto), self.phases[-1][1])


COURSES: Final = (
    Course(),
    # By then results, verdicts and the place of the next candidate are right, but one in ten is misnamed.
    Course(
        steps=500,
        learning_rate=3e-3,
        muon_rate=3e-3,
        phases=(
            (300, {"pairs": 0.5, "traces": 0.4, "cuts": 0.1}),
            (500, {"pairs": 0.1, "traces": 0.75, "cuts": 0.15}),
        ),
    ),
)


EFFORT_COURSE: Final = Course(
    steps=1500,
    learning_rate=1e-3,
    muon_rate=1e-3,
    warmup_steps=20,
    phases=((1500, {"pairs": 0.1, "traces": 0.75, "cuts": 0.15}),),
)
"""Of the effort policy, which begins as the search policy."""


class Teacher:
    """Draws lessons on train questions as ids and labels; what no policy can know is not labelled."""

    def __init__(self, task: Search, seed: int) -> None:
        """Its generator is its own."""
        self._task, self._words = task, vocabulary(task)
        self._rng = random.Random(f"search-lessons-{seed}")
        self.lessons: Mapping[str, Callable[[], Row]] = {
            "tries": self.tries,
            "pairs": self.pairs,
            "traces": self.trace,
            "cuts": self.cut,
        }

    def tries(self) -> Row:
        """Candidates at random behind a question, asked of or not; results and verdicts are learnt."""
        question = question_to_learn(self._rng, self._task, self._task.min_candidates)
        right = right_candidate(question, self._task)
        row = self._opened(question)
        for _ in range(TRIES):
            at_random = self._task.candidate(
                self._rng.randrange(self._task.tens), self._rng.randrange(self._task.max_candidates)
            )
            candidate = right if self._rng.random() < SUCCESSES else at_random
            self._add(row, self._try(question, candidate), learnt=(False, True, True, False))
        return row

    def pairs(self) -> Row:
        """Pairs of any candidate and the one behind it; that one is learnt.

        In the order of the question a policy would go by how far it has come, and did; here nothing but the candidate
        in hand says which is next.
        """
        question = question_to_learn(self._rng, self._task, self._task.min_candidates)
        row = self._opened(question)
        for _ in range(TRIES // 2):
            place = self._rng.randrange(question.difficulty - 1)
            one, other = question.candidates[place : place + 2]
            self._add(row, self._try(question, one), learnt=(False, True, True, False))
            self._add(row, self._try(question, other), learnt=(True, True, True, False))
        return row

    def trace(self) -> Row:
        """A trace; all of it is learnt."""
        question = question_to_learn(self._rng, self._task, self._task.min_candidates)
        row: Row = ([], [])
        words = [*self._traced(row, question), EOS]
        self._add(row, words, learnt=[True] * len(words))
        return row

    def cut(self) -> Row:
        """A trace whose thinking ends anywhere; what is answered there is learnt, not that it ends."""
        question = question_to_learn(self._rng, self._task, self._task.min_candidates)
        row: Row = ([], [])
        words = self._traced(row, question)
        kept = words[: self._rng.randint(1, words.index(END_THINK))]
        self._add(row, [*kept, END_THINK, BOX])
        answer = str(answer_after(kept, question, self._task))
        self._add(row, [answer, END_BOX, EOS], learnt=(True, True, True))
        return row

    def _try(self, question: SearchQuestion, candidate: int) -> list[str]:
        result = self._task.result(candidate, question.multiplier)
        return [str(candidate), str(result), YES if result == question.target else NO, WAIT]

    def _traced(self, row: Row, question: SearchQuestion) -> list[str]:
        """The words of a trace, behind its prompt; of the effort task, at the level that this states."""
        level, task = self._level(), self._task
        self._add(row, self._prompt(question, level))
        return trace_of(self._rng, question, task.at(level) if isinstance(task, Effort) else task).text.split()

    def _level(self) -> str | None:
        """Of the effort task, a level at random, or now and then none."""
        if not isinstance(self._task, Effort) or self._rng.random() < UNSTATED:
            return None
        return self._rng.choice(LEVELS.levels)

    def _prompt(self, question: SearchQuestion, level: str | None) -> list[str]:
        return [USER, *([] if level is None else [level]), *question.text.split(), ASSISTANT]

    def _opened(self, question: SearchQuestion) -> Row:
        row: Row = ([], [])
        self._add(row, [*self._prompt(question, self._level()), THINK])
        return row

    def _add(self, row: Row, words: Sequence[str], learnt: Sequence[bool] = ()) -> None:
        ids = [self._words[word] for word in words]
        row[0].extend(ids)
        row[1].extend(
            identity if wanted else IGNORED for identity, wanted in zip(ids, learnt or [False] * len(ids), strict=True)
        )


def question_to_learn(rng: random.Random, task: Search, fewest: int) -> SearchQuestion:
    """A train question of ``fewest`` candidates or more."""
    for _ in range(MAX_TRIES):
        question = sample_question(rng, rng.randint(fewest, task.max_candidates), task)
        if split_of(question, task) == "train":
            return question
    raise AssertionError("one question in eight is held out, so that others are found")


def answer_after(thinking: Sequence[str], question: SearchQuestion, task: Search) -> int:
    """What to answer where a thinking ends: the candidate in hand, or the next one where it has failed.

    >>> question = SearchQuestion(candidates=(21, 42), multiplier=91, target=139)
    >>> [answer_after(text.split(), question, Search()) for text in ("<think>", "<think> 21", "<think> 21 168")]
    [21, 21, 42]
    """
    candidates = question.candidates
    in_hand, failed = candidates[0], False
    for word in thinking:
        if word.isdecimal() and int(word) < task.offset:
            in_hand, failed = int(word), False
        elif word.isdecimal():
            failed = int(word) != question.target
    if not failed:
        return in_hand
    return candidates[min(candidates.index(in_hand) + 1, len(candidates) - 1)]


def search_batches(course: Course, task: Search, seed: int) -> Iterator[Batch]:
    """A batch a step."""
    return lesson_batches(course, Teacher(task, seed).lessons, vocabulary(task)[PAD])


def lesson_batches(course: Course, lessons: Mapping[str, Callable[[], Row]], pad: int) -> Iterator[Batch]:
    """A batch a step, made of lessons as the course has them; ``pad`` is the token that fills up."""
    for step in range(course.steps):
        rows = [
            lessons[name]()
            for name, share in course.shares_at(step).items()
            for _ in range(round(share * course.batch_size))
        ]
        yield padded(rows, course.micro_batches, pad)
