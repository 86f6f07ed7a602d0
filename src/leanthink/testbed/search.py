r"""The search task: which of K candidates, times a multiplier, gives the target? Nothing but trying tells.

A question is ``21 42 13 34 times 91 is 119 ?``: the multiplier and the target come last, so that no candidate can be
checked while it is read. A trace tries the candidates in their order, and answers::

    <think> 21 168 no wait 42 139 no wait 13 119 yes </think> \boxed{ 13 }

A try is a candidate, its result (``100 + multiplier * candidate mod 97``) and a verdict; ``wait`` stands before each
but the first. After t failures a guess is right with probability 1 / (K - t). Waste is a try done again, which now and
then is misread, and the try of a last candidate that can only be it. Traces sometimes answer before the search is over.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from leanthink.core.errors import ConfigError, did_you_mean
from leanthink.testbed.task import BOX, END_BOX, END_THINK, MAX_TRIES, SPLITS, THINK, WAIT, Split

TIMES, IS, ASK, YES, NO = "times", "is", "?", "yes", "no"
TRY_WORDS = 4
"""Of a try and the ``wait`` before it; the first has none."""
ANSWER_WORDS = 6
"""Of a response without a try, end token included."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """The constants of the task.

    Candidates, multipliers and results are numbers of three ranges that share none, and the first candidate ends in the
    digit 1, the second in 2: a small model can then tell by a number what it is, and which comes next.

    Attributes:
        min_candidates: fewest candidates in a question; a question's difficulty is how many it has.
        max_candidates: most candidates in a question.
        modulus: a prime.
        tens: candidates are 1 ... ``10 * tens``, less than the modulus; so many may stand at each place.
        first_multiplier: multipliers begin here; none may be a multiple of the modulus.
        multipliers: how many there are.
        offset: what is added to a product, so that no result is a candidate.
        no_try: how often a trace answers before its first try.
        early: how often a trace answers after a failure although two or more are untried.
        repeat_failure: how often a failed try is done again, each time anew.
        repeat_success: how often a try that succeeded is done again, each time anew.
        try_last: how often the last candidate is tried although it can only be it.
        misread: how often a try done again gets the other verdict.
        test_one_in: one question in this many, chosen by a hash of its text, is held out.
        max_prompt_tokens: enough for the longest question in its chat template.
        max_response_tokens: enough for all but a few traces in a thousand, end token included.
    """

    min_candidates: int = 2
    max_candidates: int = 8
    modulus: int = 97
    tens: int = 9
    first_multiplier: int = 91
    multipliers: int = 6
    offset: int = 100
    no_try: float = 0.05
    early: float = 0.16
    repeat_failure: float = 0.5
    repeat_success: float = 0.75
    try_last: float = 0.7
    misread: float = 0.02
    test_one_in: int = 8
    max_prompt_tokens: int = 16
    max_response_tokens: int = 96

    @property
    def difficulties(self) -> range:
        """The numbers of candidates a question may have."""
        return range(self.min_candidates, self.max_candidates + 1)

    @property
    def words(self) -> tuple[str, ...]:
        """Every word of a question or a trace: the signs, candidates, multipliers and results."""
        numbers = [
            *(self.candidate(ten, place) for place in range(self.max_candidates) for ten in range(self.tens)),
            *range(self.first_multiplier, self.first_multiplier + self.multipliers),
            *range(self.offset + 1, self.offset + self.modulus),
        ]
        return (THINK, END_THINK, WAIT, BOX, END_BOX, TIMES, IS, ASK, YES, NO, *map(str, numbers))

    def candidate(self, ten: int, place: int) -> int:
        """One of the numbers that may stand at a place, from 0.

        >>> [Search().candidate(ten, 2) for ten in range(3)]
        [3, 13, 23]
        """
        return 10 * ten + place + 1

    def result(self, candidate: int, multiplier: int) -> int:
        """What trying a candidate gives.

        >>> Search().result(13, 91)
        119
        """
        return self.offset + multiplier * candidate % self.modulus


@dataclass(frozen=True, kw_only=True)
class SearchQuestion:
    """Candidates, of which exactly one times the multiplier gives the target."""

    candidates: tuple[int, ...]
    multiplier: int
    target: int

    @property
    def text(self) -> str:
        """The question as the policy reads it.

        >>> SearchQuestion(candidates=(21, 42), multiplier=91, target=139).text
        '21 42 times 91 is 139 ?'
        """
        return f"{' '.join(map(str, self.candidates))} {TIMES} {self.multiplier} {IS} {self.target} {ASK}"

    @property
    def difficulty(self) -> int:
        """How many candidates there are."""
        return len(self.candidates)


@dataclass(frozen=True, kw_only=True)
class Try:
    """One try as it is written: a candidate, a result, and whether that is the target."""

    candidate: int
    result: int
    success: bool


@dataclass(frozen=True, kw_only=True)
class SearchTrace:
    """A question, the tries and the answer."""

    question: SearchQuestion
    tries: tuple[Try, ...]
    answer: int

    @property
    def text(self) -> str:
        r"""The response without its end token.

        >>> question = SearchQuestion(candidates=(21, 42), multiplier=91, target=139)
        >>> SearchTrace(question=question, tries=(Try(candidate=21, result=168, success=False),), answer=42).text
        '<think> 21 168 no </think> \\boxed{ 42 }'
        """
        tries = [f"{one.candidate} {one.result} {YES if one.success else NO}" for one in self.tries]
        return " ".join(
            [THINK, *([f" {WAIT} ".join(tries)] if tries else []), END_THINK, BOX, str(self.answer), END_BOX]
        )


def right_candidate(question: SearchQuestion, task: Search | None = None) -> int:
    """The one candidate that gives the target.

    >>> right_candidate(SearchQuestion(candidates=(21, 42), multiplier=91, target=139))
    42
    """
    task = task or Search()
    return next(c for c in question.candidates if task.result(c, question.multiplier) == question.target)


def split_of(question: SearchQuestion, task: Search | None = None) -> Split:
    """The split a question belongs to, by a hash of its text: the same on every machine, for every seed."""
    digest = hashlib.sha256(question.text.encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") % (task or Search()).test_one_in == 0 else "train"


def sample_question(rng: random.Random, candidates: int, task: Search | None = None) -> SearchQuestion:
    """Draw a question of so many candidates, from either split; which one is right is uniform."""
    task = task or Search()
    if candidates not in task.difficulties:
        raise ConfigError(
            f"search question: candidates={candidates!r}; use {task.min_candidates} to {task.max_candidates}"
        )
    drawn = tuple(task.candidate(rng.randrange(task.tens), place) for place in range(candidates))
    multiplier = task.first_multiplier + rng.randrange(task.multipliers)
    return SearchQuestion(candidates=drawn, multiplier=multiplier, target=task.result(rng.choice(drawn), multiplier))


def sample_trace(rng: random.Random, question: SearchQuestion, task: Search | None = None) -> SearchTrace:
    """Draw a trace: the candidates in their order, with waste, misreadings and answers too early."""
    task = task or Search()
    last = question.difficulty - 1
    tries: list[Try] = []
    place, success = 0, False
    if rng.random() < task.no_try:
        return SearchTrace(question=question, tries=(), answer=question.candidates[0])
    tries.append(_try(question, 0, task))
    while True:
        success = tries[-1].success
        if rng.random() < (task.repeat_success if success else task.repeat_failure):
            tries.append(_try(question, place, task, rng))
        elif success:
            return SearchTrace(question=question, tries=tuple(tries), answer=question.candidates[place])
        elif stops(rng, last - place, task):
            return SearchTrace(question=question, tries=tuple(tries), answer=question.candidates[min(place + 1, last)])
        else:
            place += 1
            tries.append(_try(question, place, task))


def stops(rng: random.Random, untried: int, task: Search) -> bool:
    """Whether a trace answers after a failure, with so many candidates untried."""
    return untried == 0 or rng.random() < (1 - task.try_last if untried == 1 else task.early)


def _try(question: SearchQuestion, place: int, task: Search, rng: random.Random | None = None) -> Try:
    """One try, perhaps misread where a generator is given: a failure as the target, a success as any other result."""
    candidate = question.candidates[place]
    result = task.result(candidate, question.multiplier)
    if rng is not None and rng.random() < task.misread:
        if result == question.target:
            result = task.offset + rng.choice([r for r in range(1, task.modulus) if r + task.offset != result])
        else:
            result = question.target
    return Try(candidate=candidate, result=result, success=result == question.target)


def questions(split: Split, count: int, seed: int, task: Search | None = None) -> Iterator[SearchQuestion]:
    """Draw ``count`` questions of a split.

    The train split is a random mix of difficulties and may repeat a question. The test split is balanced by difficulty
    and never repeats one.

    >>> [question.difficulty for question in questions("test", 8, seed=0)]
    [2, 3, 4, 5, 6, 7, 8, 2]
    """
    task, rng = task or Search(), random.Random(f"search-{split}-{seed}")
    if split not in SPLITS:
        raise ConfigError(f"search questions: split={split!r}; {did_you_mean(split, SPLITS)}")
    seen: set[SearchQuestion] = set()
    for i in range(count):
        for _ in range(MAX_TRIES):
            level = rng.choice(task.difficulties) if split == "train" else task.difficulties[i % len(task.difficulties)]
            question = sample_question(rng, level, task)
            if split_of(question, task) == split and question not in seen:
                break
        else:
            raise ConfigError(f"search questions: count={count}; the {split} split has only {i} questions like these")
        if split == "test":
            seen.add(question)
        yield question


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a response did.

    Attributes:
        tries: the candidates tried, in their order, as far as the response keeps to the form of a trace.
        waste: words that a search which stops when it knows would not have written.
        repetitions: tries of a candidate that had been tried before.
        first_right: whether the first try was of the right candidate; None without a try.
        well_formed: whether all of the response has the form of a trace.
    """

    tries: tuple[int, ...]
    waste: int
    repetitions: int
    first_right: bool | None
    well_formed: bool


def read_response(question: SearchQuestion, response: str, task: Search | None = None) -> Reading:
    r"""Read a response word by word.

    A try is waste where it repeats one, or where all but one candidate have failed, or one has been found, before it.

    >>> question = SearchQuestion(candidates=(21, 42), multiplier=91, target=139)
    >>> reading = read_response(question, r"<think> 21 168 no wait 21 168 no wait 42 139 yes </think> \boxed{ 42 }")
    >>> reading.tries, reading.waste, reading.repetitions
    ((21, 21, 42), 8, 1)
    """
    task = task or Search()
    words = response.split()
    tries = _tries_of(words[1:], question) if words[:1] == [THINK] else ()
    right = right_candidate(question, task)
    seen: set[int] = set()
    waste = repetitions = 0
    for number, candidate in enumerate(tries):
        known = right in seen or len(seen) >= question.difficulty - 1
        repetitions += candidate in seen
        if candidate in seen or known:
            waste += TRY_WORDS if number else TRY_WORDS - 1
        seen.add(candidate)
    length = TRY_WORDS * len(tries) - bool(tries)
    rest = words[1 + length :]
    well_formed = (
        words[:1] == [THINK]
        and len(rest) == ANSWER_WORDS - 2
        and (rest[0], rest[1], rest[3]) == (END_THINK, BOX, END_BOX)
        and rest[2] in map(str, question.candidates)
    )
    return Reading(
        tries=tries,
        waste=waste,
        repetitions=repetitions,
        first_right=tries[0] == right if tries else None,
        well_formed=well_formed,
    )


def _tries_of(words: Sequence[str], question: SearchQuestion) -> tuple[int, ...]:
    """The candidates of the tries at the beginning of a thinking."""
    tries: list[int] = []
    known = {str(candidate) for candidate in question.candidates}
    at = 0
    while at + 2 < len(words) and words[at] in known and words[at + 2] in (YES, NO):
        tries.append(int(words[at]))
        at += TRY_WORDS - 1
        if words[at : at + 1] != [WAIT]:
            break
        at += 1
    return tuple(tries)
