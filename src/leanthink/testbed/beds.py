"""The testbeds, by name: what a task gives to the data, the training and the evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from leanthink.core.errors import ConfigError, did_you_mean
from leanthink.testbed import search
from leanthink.testbed.effort import Effort
from leanthink.testbed.search import Search
from leanthink.testbed.task import WAIT, Question, Split, Task, answer, questions, recheck_words
from leanthink.testbed.tools import TOOL, Tools, read_calls

AnyTask = Task | Search


@dataclass(frozen=True, kw_only=True)
class Testbed:
    """A task by its functions; a question has ``text`` and ``difficulty``.

    Attributes:
        name: what ``--testbed`` calls it.
        task: its constants, as the shipped policy was trained with.
        data_source: what verl groups its validation metrics by.
        questions: (split, count, seed, task) to that many questions.
        answer: (question, task) to the right answer.
        wasted_words: (question, response) to how many words of it are waste.
        banned: the word without which nothing more is tried, or nothing is called.
    """

    __test__ = False  # no class of tests, whatever its name

    name: str
    task: AnyTask
    data_source: str
    questions: Callable[[Split, int, int, Any], Iterator[Any]]
    answer: Callable[[Any, Any], int]
    wasted_words: Callable[[Any, str], int]
    banned: str = WAIT


def _chains_answer(question: Question, _task: Task | None) -> int:
    return answer(question)


def _rechecks(_question: Question, response: str) -> int:
    return recheck_words(response)


def _search_waste(question: search.SearchQuestion, response: str) -> int:
    return search.read_response(question, response).waste


def _tools_waste(question: search.SearchQuestion, response: str) -> int:
    return read_calls(question, response).words


CHAINS: Final = Testbed(
    name="chains",
    task=Task(),
    data_source="leanthink/testbed",
    questions=questions,
    answer=_chains_answer,
    wasted_words=_rechecks,
)
SEARCH: Final = Testbed(
    name="search",
    task=Search(),
    data_source="leanthink/testbed-search",
    questions=search.questions,
    answer=search.right_candidate,
    wasted_words=_search_waste,
)
TOOLS: Final = Testbed(
    name="tools",
    task=Tools(),
    data_source="leanthink/testbed-tools",
    questions=search.questions,
    answer=search.right_candidate,
    wasted_words=_tools_waste,
    banned=TOOL,
)
EFFORT: Final = Testbed(
    name="effort",
    task=Effort(),
    data_source="leanthink/testbed-effort",
    questions=search.questions,
    answer=search.right_candidate,
    wasted_words=_search_waste,
)
TESTBEDS: Final[Mapping[str, Testbed]] = MappingProxyType({bed.name: bed for bed in (CHAINS, SEARCH, TOOLS, EFFORT)})


DEFAULT: Final = CHAINS.name


def testbed_named(name: str) -> Testbed:
    """A testbed by its name.

    >>> testbed_named("search").task.difficulties
    range(2, 9)
    """
    if name not in TESTBEDS:
        raise ConfigError(f"testbed: {name!r}; {did_you_mean(name, TESTBEDS)}")
    return TESTBEDS[name]


def testbed_of(task: AnyTask | None) -> Testbed:
    """The testbed that a task's constants belong to; the chains without any.

    >>> [testbed_of(task).name for task in (Search(min_candidates=4), Tools(), None)]
    ['search', 'tools', 'chains']
    """
    return next((bed for bed in (TOOLS, EFFORT, SEARCH) if isinstance(task, type(bed.task))), CHAINS)
