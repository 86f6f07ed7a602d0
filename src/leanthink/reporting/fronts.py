"""On the search testbed: each run beside the best trade of tokens for accuracy, which is known there.

Whether a run is on that task is read off its questions. The front holds for policies that search as the traces do; the
table says how many first tries were right, which a policy that has learnt the inverse raises above chance, and how many
responses left the traces' form.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy

from leanthink.metrics import Interval, bootstrap
from leanthink.metrics.intervals import Sums
from leanthink.reporting.sources import Sample
from leanthink.rewards.counted import CALLS
from leanthink.testbed.front import Front, Point, front, waste_dropped
from leanthink.testbed.search import Search, SearchQuestion, read_response
from leanthink.testbed.tools import Calls, read_calls

_QUESTION: Final = re.compile(r"((?:\d{1,9} ){1,64})times (\d{1,9}) is (\d{1,9}) \?")  # bounded: linear in any prompt


@dataclass(frozen=True, kw_only=True)
class SearchFigures:
    """An evaluation on the search task in numbers; intervals are 95 % bootstrap intervals over questions.

    Attributes:
        tokens_above: tokens above the front at the run's accuracy.
        accuracy_below: accuracy below the front at the run's tokens, a share.
        waste: share of all tokens.
        repetitions: tries a response of a candidate that had been tried.
        first_right: share of first tries that are right.
        chance: what that share is for a policy that knows nothing before it tries.
        malformed: share of responses that leave the form of a trace.
        slope: tokens more for one candidate more, by least squares; ``slope_needed`` of a search without waste.
        slope_needed: as said.
    """

    tokens_above: Interval
    accuracy_below: Interval
    waste: Interval
    repetitions: Interval
    first_right: Interval
    chance: float
    malformed: Interval
    slope: float
    slope_needed: float


def question_of(text: str) -> SearchQuestion | None:
    r"""The question in a prompt's text; None where it is of another task.

    >>> question_of("21 42 times 91 is 139 ?\n42")
    SearchQuestion(candidates=(21, 42), multiplier=91, target=139)
    """
    found = _QUESTION.search(text)
    if found is None:
        return None
    candidates, multiplier, target = tuple(map(int, found[1].split())), int(found[2]), int(found[3])
    if [Search().result(candidate, multiplier) for candidate in candidates].count(target) != 1:
        return None
    return SearchQuestion(candidates=candidates, multiplier=multiplier, target=target)


def is_search(samples: Sequence[Sample]) -> bool:
    """Whether all questions of an evaluation are of the search task, and nothing was called to answer them."""
    return _all_known(samples) and not any(CALLS in one.costs for one in samples)


def calls_of(samples: Sequence[Sample]) -> list[Calls] | None:
    """What the calls of each response of an evaluation on the tool testbed were; None of any other evaluation."""
    if not _all_known(samples) or not all(CALLS in one.costs for one in samples):
        return None
    pairs = ((question_of(one.question), one.text) for one in samples)
    return [read_calls(question, text) for question, text in pairs if question is not None]


def _all_known(samples: Sequence[Sample]) -> bool:
    return bool(samples) and all(question_of(text) is not None for text in {one.question for one in samples})


def mix_of(samples: Sequence[Sample]) -> Mapping[int, float]:
    """Numbers of candidates with their numbers of responses."""
    questions = [question_of(one.question) for one in samples if one.correct is not None]
    return Counter(question.difficulty for question in questions if question is not None)


def lines_of(samples: Sequence[Sample]) -> tuple[Front, list[Point]]:
    """The front of an evaluation's mix, and the traces as they drop their waste."""
    mix = mix_of(samples)
    return front(mix), waste_dropped(mix)


def search_figures(samples: Sequence[Sample]) -> SearchFigures:
    """The figures of an evaluation on the search task; a response without a verdict is left out."""
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    levels: dict[int, list[float]] = defaultdict(list)
    for one in samples:
        question = question_of(one.question)
        if one.correct is None or question is None:
            continue
        reading, own = read_response(question, one.text), sums[one.question]
        own["count"] += 1
        own["right"] += one.correct
        own["tokens"] += one.length
        own["waste"] += reading.waste
        own["repetitions"] += reading.repetitions
        own["tried"] += reading.first_right is not None
        own["first_right"] += bool(reading.first_right)
        own["chance"] += reading.first_right is not None and 1 / question.difficulty
        own["malformed"] += not reading.well_formed
        levels[question.difficulty].append(one.length)
    names = sorted({name for own in sums.values() for name in own})
    columns = {name: [own.get(name, 0.0) for own in sums.values()] for name in names}
    best = front(mix_of(samples))

    def ratio(over: str, under: str) -> Interval:
        return bootstrap({name: columns[name] for name in {over, under}}, lambda drawn: drawn[over] / drawn[under])

    tried = sum(columns["tried"])
    return SearchFigures(
        tokens_above=bootstrap(columns, partial(_tokens_above, best)),
        accuracy_below=bootstrap(columns, partial(_accuracy_below, best)),
        waste=ratio("waste", "tokens"),
        repetitions=ratio("repetitions", "count"),
        first_right=ratio("first_right", "tried"),
        chance=sum(columns["chance"]) / tried if tried else float("nan"),
        malformed=ratio("malformed", "count"),
        slope=_slope({k: sum(own) / len(own) for k, own in levels.items()}),
        slope_needed=_slope({k: front(k).corners[-1][0] for k in levels}),
    )


def _tokens_above(best: Front, drawn: Sums) -> Any:
    accuracy, tokens = drawn["right"] / drawn["count"], drawn["tokens"] / drawn["count"]
    return numpy.array(
        [best.distance(x, y).tokens_above for x, y in zip(tokens.tolist(), accuracy.tolist(), strict=True)]
    )


def _accuracy_below(best: Front, drawn: Sums) -> Any:
    accuracy, tokens = drawn["right"] / drawn["count"], drawn["tokens"] / drawn["count"]
    found = [best.distance(x, y).accuracy_below for x, y in zip(tokens.tolist(), accuracy.tolist(), strict=True)]
    return numpy.array([numpy.nan if one is None else one for one in found])


def _slope(values: Mapping[int, float]) -> float:
    """Of a line through values by their places, by least squares; NaN of fewer than two.

    >>> round(_slope({2: 1.0, 3: 3.0, 4: 5.0}), 6)
    2.0
    """
    if len(values) < 2:
        return float("nan")
    return float(numpy.polyfit(list(values), list(values.values()), 1)[0])
