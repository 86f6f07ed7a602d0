r"""The task: chains of sums and differences, and the traces that reason about them one step at a time.

A question is ``30 + 12 - 8 =``. A trace writes every partial result and re-checks it zero to three times at random::

    <think> 30 + 12 = 42 wait + 12 = 42 - 8 = 34 </think> \boxed{ 34 }

A step is four words (operator, operand, ``=``, result); a re-check is five (``wait`` and the step again). From the
third step of a chain on, the first attempt is wrong with probability ½ and only a re-check repairs it. So re-checks are
a waste on chains of two or three numbers, and needed on longer ones: what saves tokens blindly loses answers.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from leanthink.core.errors import ConfigError, did_you_mean

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
THINK, END_THINK, WAIT, BOX, END_BOX = "<think>", "</think>", "wait", r"\boxed{", "}"
RECHECK_WORDS = 5
MAX_TRIES = 10_000


@dataclass(frozen=True, kw_only=True)
class Task:
    """The constants of the task.

    Partial results (``smallest`` … ``largest``) and operands (1 … ``largest_operand``) are disjoint numbers, and the
    operands of one question differ: a small model can then tell by a number where it is.

    Attributes:
        min_operands: fewest numbers in a question; a question's difficulty is how many numbers it has.
        max_operands: most numbers in a question.
        smallest_start: least first number.
        largest_start: greatest first number.
        largest_operand: greatest number that is added or taken away; the least is 1.
        smallest: least partial result, in questions and in traces alike.
        largest: greatest partial result.
        first_hard_step: the step (from 1) from which on first attempts go wrong.
        wrong_probability: how often the first attempt of a hard step is wrong.
        largest_slip: a wrong first attempt is off by 1 … ``largest_slip``, either way.
        max_rechecks: re-checks of a step are uniform on 0 … ``max_rechecks``, whether it is right or wrong.
        test_one_in: one question in this many, chosen by a hash of its text, is held out.
        max_prompt_tokens: enough for the longest question in its chat template.
        max_response_tokens: enough for all but about two traces in a thousand, end token included.
    """

    min_operands: int = 2
    max_operands: int = 6
    smallest_start: int = 30
    largest_start: int = 80
    largest_operand: int = 12
    smallest: int = 21
    largest: int = 99
    first_hard_step: int = 3
    wrong_probability: float = 0.5
    largest_slip: int = 2
    max_rechecks: int = 3
    test_one_in: int = 8
    max_prompt_tokens: int = 16
    max_response_tokens: int = 96

    @property
    def difficulties(self) -> range:
        """The numbers of operands a question may have."""
        return range(self.min_operands, self.max_operands + 1)

    @property
    def words(self) -> tuple[str, ...]:
        """Every word of a question or a trace: the signs, and the numbers from 0."""
        return (THINK, END_THINK, WAIT, BOX, END_BOX, "+", "-", "=", *map(str, range(self.largest + 1)))


@dataclass(frozen=True, kw_only=True)
class Question:
    """A chain of sums and differences, read from left to right."""

    numbers: tuple[int, ...]
    operators: tuple[str, ...]

    @property
    def text(self) -> str:
        """The question as the policy reads it.

        >>> Question(numbers=(30, 12, 8), operators=("+", "-")).text
        '30 + 12 - 8 ='
        """
        steps = zip(self.operators, self.numbers[1:], strict=True)
        return " ".join([str(self.numbers[0]), *(f"{operator} {number}" for operator, number in steps), "="])

    @property
    def difficulty(self) -> int:
        """How many numbers there are."""
        return len(self.numbers)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A question and the results written at each step: the first attempt, then its re-checks."""

    question: Question
    attempts: tuple[tuple[int, ...], ...]

    @property
    def result(self) -> int:
        """The answer the trace ends with, right or wrong."""
        return self.attempts[-1][-1]

    @property
    def text(self) -> str:
        r"""The response without its end token.

        >>> question = Question(numbers=(30, 12), operators=("+",))
        >>> Trace(question=question, attempts=((42, 42),)).text
        '<think> 30 + 12 = 42 wait + 12 = 42 </think> \\boxed{ 42 }'
        """
        words = [THINK, str(self.question.numbers[0])]
        for i, results in enumerate(self.attempts):
            step = f"{self.question.operators[i]} {self.question.numbers[i + 1]} ="
            words.append(f" {WAIT} ".join(f"{step} {result}" for result in results))
        return " ".join([*words, END_THINK, BOX, str(self.result), END_BOX])


def apply(value: int, operator: str, number: int) -> int:
    """One step.

    >>> apply(30, "-", 8)
    22
    """
    return value + number if operator == "+" else value - number


def answer(question: Question) -> int:
    """The right answer.

    >>> answer(Question(numbers=(30, 12, 8), operators=("+", "-")))
    34
    """
    value = question.numbers[0]
    for operator, number in zip(question.operators, question.numbers[1:], strict=True):
        value = apply(value, operator, number)
    return value


def split_of(question: Question, task: Task | None = None) -> Split:
    """The split a question belongs to, by a hash of its text: the same on every machine, for every seed."""
    digest = hashlib.sha256(question.text.encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") % (task or Task()).test_one_in == 0 else "train"


def sample_question(rng: random.Random, operands: int, task: Task | None = None) -> Question:
    """Draw a question of ``operands`` numbers whose partial results all stay in range, from either split."""
    task = task or Task()
    if operands not in task.difficulties:
        raise ConfigError(f"testbed question: operands={operands!r}; use {task.min_operands} to {task.max_operands}")
    for _ in range(MAX_TRIES):
        start = rng.randint(task.smallest_start, task.largest_start)
        numbers = (start, *rng.sample(range(1, task.largest_operand + 1), operands - 1))
        operators = tuple(rng.choice("+-") for _ in range(operands - 1))
        value, inside = start, True
        for operator, number in zip(operators, numbers[1:], strict=True):
            value = apply(value, operator, number)
            inside = inside and task.smallest <= value <= task.largest
        if inside:
            return Question(numbers=numbers, operators=operators)
    raise ConfigError(f"testbed question: no chain of {operands} numbers stays in range under {task}; widen the range")


def sample_trace(rng: random.Random, question: Question, task: Task | None = None) -> Trace:
    """Draw a trace of ``question``; a wrong result that is not re-checked is carried on.

    Traces with a result outside the task's range are drawn again.
    """
    task = task or Task()
    for _ in range(MAX_TRIES):
        value, attempts = question.numbers[0], []
        for i, (operator, number) in enumerate(zip(question.operators, question.numbers[1:], strict=True), start=1):
            right = apply(value, operator, number)
            first = right
            if i >= task.first_hard_step and rng.random() < task.wrong_probability:
                first += rng.choice((-1, 1)) * rng.randint(1, task.largest_slip)
            attempts.append((first, *[right] * rng.randint(0, task.max_rechecks)))
            value = attempts[-1][-1]
        if all(task.smallest <= result <= task.largest for results in attempts for result in results):
            return Trace(question=question, attempts=tuple(attempts))
    raise ConfigError(f"testbed trace: no trace of {question.text!r} stays in range under {task}; widen the range")


def questions(split: Split, count: int, seed: int, task: Task | None = None) -> Iterator[Question]:
    """Draw ``count`` questions of a split.

    The train split is a random mix of difficulties and may repeat a question. The test split is balanced by difficulty
    and never repeats one.

    >>> [question.difficulty for question in questions("test", 6, seed=0)]
    [2, 3, 4, 5, 6, 2]
    """
    task, rng = task or Task(), random.Random(f"{split}-{seed}")
    if split not in SPLITS:
        raise ConfigError(f"testbed questions: split={split!r}; {did_you_mean(split, SPLITS)}")
    seen: set[Question] = set()
    for i in range(count):
        for _ in range(MAX_TRIES):
            operands = (
                rng.choice(task.difficulties) if split == "train" else task.difficulties[i % len(task.difficulties)]
            )
            question = sample_question(rng, operands, task)
            if split_of(question, task) == split and question not in seen:
                break
        else:
            raise ConfigError(f"testbed questions: count={count}; the {split} split has only {i} questions like these")
        if split == "test":
            seen.add(question)
        yield question


def boxed_answer(response: str) -> int | None:
    r"""The integer boxed after the end of the thinking, or None.

    >>> boxed_answer(r"<think> 30 + 12 = 42 </think> \boxed{ 42 }")
    42
    >>> boxed_answer(r"<think> 30 + 12 = 42 \boxed{ 42 }") is None
    True
    """
    _, found, after = response.rpartition(END_THINK)
    words = after.split()
    if not found or len(words) < 3 or words[0] != BOX or words[2] != END_BOX or not words[1].isdecimal():
        return None
    return int(words[1])


def recheck_words(response: str) -> int:
    """How many words of a response belong to re-checks: each ``wait`` and the step it repeats.

    >>> recheck_words("<think> 30 + 12 = 42 wait + 12 = 42 wait + 12 = 42 - 8")
    10
    """
    count = left = 0
    for word in response.split():
        if word == WAIT:
            left = RECHECK_WORDS
        elif word == END_THINK:
            left = 0
        count += left > 0
        left -= left > 0
    return count
