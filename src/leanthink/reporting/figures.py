"""The numbers of a report: every one with its interval, over questions."""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import Any, Final

from leanthink.metrics import (
    Interval,
    PairedComparison,
    accuracy_efficiency_score,
    as_judged,
    bootstrap,
    maj_at_k,
    majority_vote,
    outcome_efficiency,
    overthinking_frequency,
    paired_comparison,
    pass_at_k,
    process_efficiency,
    short_m_at_k,
    short_m_vote,
)
from leanthink.metrics.intervals import Sums
from leanthink.metrics.solutions import split_solutions
from leanthink.reporting.sources import Sample, Source
from leanthink.verify.same import Same

AES_WEIGHTS: Final = (1.0, 3.0, 5.0)
SHORT: Final = (1, 3)  # the m of short-m@k

ByQuestion = dict[str, list[Sample]]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One evaluation in numbers; intervals are 95 % bootstrap intervals over questions.

    Attributes:
        step: of the evaluation.
        questions: how many.
        samples: responses with a verdict.
        unknown: responses without, left out.
        accuracy: share of right responses.
        tokens: mean length of all, of ``tokens_right`` and of ``tokens_wrong`` responses.
        truncated: share ended by the limit; NaN where that is not known of all.
        by_difficulty: the same by difficulty.
        pass_at_k: by k, over questions with as many samples.
    """

    step: int
    questions: int
    samples: int
    unknown: int
    accuracy: Interval
    tokens: Interval
    tokens_right: Interval
    tokens_wrong: Interval
    truncated: Interval
    by_difficulty: Mapping[str, Figures] = field(default_factory=dict)
    pass_at_k: Mapping[int, Interval] = field(default_factory=dict)


def by_question(samples: Iterable[Sample]) -> ByQuestion:
    """The samples with a verdict, by question."""
    questions: ByQuestion = defaultdict(list)
    for sample in samples:
        if sample.correct is not None:
            questions[sample.question].append(sample)
    return dict(questions)


def figures(step: int, samples: Sequence[Sample], *, levels: bool = True) -> Figures:
    """The figures of one evaluation."""
    questions = by_question(samples)
    sums = _sums(questions.values())
    ratio = partial(_ratio, sums)
    kinds = sorted({sample.difficulty for sample in samples if sample.difficulty}, key=_natural) if levels else []
    return Figures(
        step=step,
        questions=len(questions),
        samples=sum(map(len, questions.values())),
        unknown=sum(sample.correct is None for sample in samples),
        accuracy=ratio("right", "count"),
        tokens=ratio("tokens", "count"),
        tokens_right=ratio("right_tokens", "right"),
        tokens_wrong=ratio("wrong_tokens", "wrong"),
        truncated=ratio("truncated", "count"),
        by_difficulty={
            kind: figures(step, [one for one in samples if one.difficulty == kind], levels=False) for kind in kinds
        },
        pass_at_k=_pass_at_k(questions) if levels else {},
    )


def _sums(questions: Iterable[Sequence[Sample]]) -> dict[str, list[float]]:
    """Per question, the sums that the bootstrap draws."""
    sums: dict[str, list[float]] = defaultdict(list)
    for samples in questions:
        right = [sample.correct == 1 for sample in samples]
        pairs = list(zip(samples, right, strict=True))
        sums["count"].append(len(samples))
        sums["right"].append(sum(right))
        sums["wrong"].append(len(samples) - sum(right))
        sums["tokens"].append(sum(sample.length for sample in samples))
        sums["right_tokens"].append(sum(sample.length for sample, is_right in pairs if is_right))
        sums["wrong_tokens"].append(sum(sample.length for sample, is_right in pairs if not is_right))
        sums["truncated"].append(sum(math.nan if one.truncated is None else one.truncated for one in samples))
    return sums


def _ratio(sums: Mapping[str, Sequence[float]], over: str, under: str) -> Interval:
    wanted = {name: sums.get(name, []) for name in {over, under}}
    return bootstrap(wanted, lambda drawn: drawn[over] / drawn[under])


def _mean(values: Sequence[float]) -> Interval:
    return _ratio({"value": values, "count": [1.0] * len(values)}, "value", "count")


def _pass_at_k(questions: ByQuestion) -> dict[int, Interval]:
    """By powers of two up to what every question has, and that number itself."""
    most = min((len(samples) for samples in questions.values()), default=0)
    ks = sorted({2**power for power in range(most.bit_length()) if 2**power <= most} | ({most} if most else set()))
    return {
        k: _mean(
            [pass_at_k(len(samples), sum(one.correct == 1 for one in samples), k) for samples in questions.values()]
        )
        for k in ks
    }


@dataclass(frozen=True, kw_only=True)
class Votes:
    """What voting rules make of an evaluation.

    Attributes:
        rules: accuracy, and mean tokens a question, by rule; none where questions have one sample.
        conflicts: the answers with two verdicts, each with its question.
    """

    rules: Mapping[str, tuple[Interval, float]] = field(default_factory=dict)
    conflicts: Sequence[tuple[str, str]] = ()


def vote_figures(samples: Sequence[Sample], same: Same | None = None) -> Votes:
    """Majority and short-m voting, where questions have several samples.

    Lengths stand for thinking lengths; a truncated sample never finishes. Answers vote as they are judged:
    `leanthink.metrics.as_judged`, with ``same`` for its equality.
    """
    questions = by_question(samples)
    k = min((len(own) for own in questions.values()), default=0)
    if k < 2 or all(one.answer is None for own in questions.values() for one in own):
        return Votes()
    right: dict[str, list[float]] = defaultdict(list)
    spent: dict[str, list[float]] = defaultdict(list)
    conflicts: list[tuple[str, str]] = []
    for question, own in questions.items():
        own = own[:k]
        lengths, finished = [one.length for one in own], [not one.truncated for one in own]
        judged = as_judged([one.answer for one in own], [one.correct or 0.0 for one in own], same)
        conflicts += [(str(answer), question) for answer in judged.conflicts]
        answers, correct = judged.answers, judged.correct
        right[f"majority@{k}"].append(maj_at_k(answers, correct, k, same=operator.eq))
        spent[f"majority@{k}"].append(majority_vote(lengths, answers, same=operator.eq).compute)
        for m in (m for m in SHORT if m <= k):
            value = short_m_at_k(lengths, answers, correct, finished, m, k, same=operator.eq)
            right[f"short-{m}@{k}"].append(value)
            spent[f"short-{m}@{k}"].append(short_m_vote(lengths, answers, finished, m, same=operator.eq).compute)
    return Votes(rules={name: (_mean(right[name]), fmean(spent[name])) for name in right}, conflicts=conflicts)


def efficiency_figures(samples: Sequence[Sample]) -> dict[str, float]:
    """Outcome and process efficiency by the rule-based splitter (approximate); overthinking by a judge's flags."""
    responses = [split_solutions(one.text, one.gold) for one in samples if one.text and one.correct is not None]
    values: dict[str, float] = {}
    if any(len(solutions) > 1 for solutions in responses):  # else they say nothing that accuracy does not
        values["outcome efficiency"] = outcome_efficiency(responses)
        values["process efficiency"] = process_efficiency(responses)
    if any(one.overthinking is not None for one in samples):
        values["overthinking frequency"] = overthinking_frequency([one.overthinking for one in samples])
    return values


def aes(base: Sequence[Sample], samples: Sequence[Sample]) -> Interval:
    """The Accuracy-Efficiency Score against a baseline on the questions that both have, drawn together."""
    first, second = by_question(base), by_question(samples)
    shared = [question for question in first if question in second]
    sums = {f"base_{name}": values for name, values in _sums(first[question] for question in shared).items()}
    sums |= _sums(second[question] for question in shared)
    if not shared:
        return Interval(value=math.nan, low=math.nan, high=math.nan)
    return bootstrap(sums, _aes_of)


def _aes_of(drawn: Sums) -> Any:
    import numpy

    alpha, beta, gamma = AES_WEIGHTS
    base_accuracy, accuracy = drawn["base_right"] / drawn["base_count"], drawn["right"] / drawn["count"]
    base_length, length = drawn["base_tokens"] / drawn["base_count"], drawn["tokens"] / drawn["count"]
    score = partial(accuracy_efficiency_score, alpha=alpha, beta=beta, gamma=gamma)
    return numpy.array([score(*each) for each in zip(base_accuracy, base_length, accuracy, length, strict=True)])


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs' last evaluations on the same questions: accuracy (shares) and length (tokens), second minus first."""

    first: str
    second: str
    accuracy: PairedComparison
    tokens: PairedComparison


def compared(first: str, base: Sequence[Sample], second: str, samples: Sequence[Sample]) -> Comparison:
    """Both compared, by question."""

    def means(of: Sequence[Sample], value: Callable[[Sample], float]) -> dict[Any, float]:
        return {question: fmean(map(value, own)) for question, own in by_question(of).items()}

    return Comparison(
        first=first,
        second=second,
        accuracy=paired_comparison(*(means(of, lambda one: one.correct or 0.0) for of in (base, samples))),
        tokens=paired_comparison(*(means(of, lambda one: one.length) for of in (base, samples))),
    )


def last_samples(source: Source) -> tuple[int, Sequence[Sample]] | None:
    """The newest evaluation with its step; None without any, or where a run has so far evaluated its start only."""
    step = max(source.evaluations, default=None)
    if step is None or (step == 0 and any(row["step"] for row in source.metrics)):
        return None
    return step, source.evaluations[step]


def dominated(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether another point is at least as accurate with at most as many tokens, and better in one; (tokens, accuracy).

    >>> dominated([(10, 0.5), (20, 0.4), (30, 0.9)])
    [False, True, False]
    """
    return [
        any(other[0] <= point[0] and other[1] >= point[1] and other != point for other in points) for point in points
    ]


def _natural(name: str) -> tuple[float, str]:
    try:
        return float(name), name
    except ValueError:
        return math.inf, name
