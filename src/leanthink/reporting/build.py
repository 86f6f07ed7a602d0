"""A report from sources: its tables, its pictures, its page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leanthink.core.errors import ConfigError, did_you_mean
from leanthink.files.writing import write_text
from leanthink.metrics import Interval, length_reduction
from leanthink.reporting.budgets import accuracy_by_budget, budgets_of
from leanthink.reporting.figures import (
    AES_WEIGHTS,
    Comparison,
    Figures,
    aes,
    by_question,
    compared,
    efficiency_figures,
    figures,
    last_samples,
    vote_figures,
)
from leanthink.reporting.fronts import SearchFigures, is_search, lines_of, mix_of, search_figures
from leanthink.reporting.page import Grid, Picture, Section, page
from leanthink.reporting.pictures import BEFORE, Budgets, Line, data_uri, pictures, saved
from leanthink.reporting.ran import ran_grid
from leanthink.reporting.sources import Sample, Source
from leanthink.reporting.tables import interval
from leanthink.reporting.turns import efforts_grid, turns_grid
from leanthink.reporting.variants import Variant, variants
from leanthink.verify.same import same_answers

MORE_SAMPLES: Final = "one sample a question: pass@k needs more, as with actor_rollout_ref.rollout.val_kwargs.n=8"
NO_ANSWERS: Final = "no votes: the dumps hold no extracted answers ('pred'), which leanthink's own have"


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything a report says.

    Attributes:
        variants: runs that differ in the seed only, together.
        baseline: what they are compared with, its name.
        start: the figures of the policy before training; None where no run evaluated it.
        overview: the runs' figures.
        efficiency: metrics of efficiency.
        comparisons: paired comparisons with the baseline.
        votes: voting rules, where questions have several samples.
        turns: what responses with tools cost beside their tokens.
        efforts: accuracy and tokens by the level of effort that prompts state, and whether the model obeys.
        search: on the search testbed, the distance from the front and what tells whether it holds.
        known: lines known by calculation, for the picture of accuracy against length.
        budgets: accuracy by token budget, by variant.
        ran: what was run.
        notices: what the reader should know.
    """

    variants: Sequence[Variant]
    baseline: str
    start: Figures | None
    overview: Grid
    efficiency: Grid
    comparisons: Grid
    votes: Grid
    turns: Grid
    efforts: Grid
    search: Grid
    known: Sequence[Line]
    budgets: Mapping[str, Sequence[Budgets]]
    ran: Grid
    notices: Sequence[str]


def report_of(sources: Sequence[Source], baseline: str | None = None) -> Report:
    """The report on some sources.

    Args:
        sources: what to report on.
        baseline: the run to compare with, or a variant, whose seeds are taken together; without it the policy before
            training, or else the first run.

    Raises:
        ConfigError: no such run or variant.
    """
    together = variants(sources)
    start_samples = next((one.evaluations[0] for one in sources if 0 in one.evaluations), None)
    start = None if start_samples is None else figures(0, start_samples)
    evaluated = [
        (source, samples) for source in sources if (last := last_samples(source)) is not None for samples in [last[1]]
    ]
    name, base, of_base = _baseline(evaluated, baseline, start_samples)
    others = [(one.name, samples) for one, samples in evaluated if one.name not in of_base]
    pairs = [compared(name, base, *other) for other in others] if base else []
    notices = [notice for source in sources for notice in source.notices]
    notices += [f"{source.name} was stopped early: {source.stopped}" for source in sources if source.stopped]
    votes, told = _votes(evaluated)
    named = [(BEFORE, start_samples)] if start_samples else []
    named += [(source.name, samples) for source, samples in evaluated]
    notices += told
    if evaluated and not votes.rows:
        several = any(len(own) > 1 for _, samples in evaluated for own in by_question(samples).values())
        notices.append(NO_ANSWERS if several else MORE_SAMPLES)
    return Report(
        variants=together,
        baseline=name,
        start=start,
        overview=_overview(together, start),
        efficiency=_efficiency(name, base, evaluated),
        comparisons=_comparisons(name, pairs),
        votes=votes,
        turns=turns_grid(named),
        efforts=efforts_grid(named),
        search=_search(evaluated, start_samples),
        known=_known(evaluated),
        budgets=_budgets(together, evaluated, start_samples),
        ran=ran_grid(sources),
        notices=notices,
    )


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write ``report.html`` and the PNGs, all or none; returns their paths."""
    shown = pictures(report.variants, report.start, known=report.known, budgets=report.budgets)
    paths = {folder / f"{name}.png": figure for name, (figure, _) in shown.items()}
    addresses = {name: Picture(address=data_uri(figure), caption=caption) for name, (figure, caption) in shown.items()}
    sections = [
        Section(title=title, items=items)
        for title, wanted in (
            ("Accuracy and length", [addresses.get("pareto"), report.overview]),
            ("Turns and tools", [report.turns]),
            ("By level of effort", [report.efforts]),
            ("Distance from the best possible", [report.search]),
            ("Efficiency", [report.efficiency]),
            ("Accuracy over token budgets", [addresses.get("budgets")]),
            ("Paired comparison", [report.comparisons]),
            ("Training curves", [addresses.get("curves")]),
            ("Reward and its parts", [addresses.get("reward_parts")]),
            ("By difficulty", [addresses.get("difficulty")]),
            ("Several samples a question", [addresses.get("pass_at_k"), report.votes]),
            ("What was run", [report.ran]),
        )
        if (items := [item for item in wanted if isinstance(item, Picture) or (item is not None and item.rows)])
    ]
    runs = sum(len(variant.sources) for variant in report.variants)
    intro = f"{runs} runs, {len(report.variants)} settings. Accuracy is the raw verdict, never the shaped reward."
    html = folder / "report.html"
    with saved(paths):
        write_text(html, page("leanthink report", intro, sections, report.notices))
    return [html, *paths]


def _baseline(
    evaluated: Sequence[tuple[Source, Sequence[Sample]]], wanted: str | None, start: Sequence[Sample] | None
) -> tuple[str, Sequence[Sample] | None, set[str]]:
    """What runs are compared with: its name, its samples, and the runs that these are of."""
    runs = {source.name: samples for source, samples in evaluated}
    if wanted is None and start is not None:
        return BEFORE, start, set()
    if wanted is None and not runs:
        return "nothing", None, set()
    name = next(iter(runs)) if wanted is None else wanted
    if name in runs:
        return name, runs[name], {name}
    labels = {source.name: source.label for source, _ in evaluated}
    seeds = {run for run, label in labels.items() if label == name}
    if not seeds:
        known = did_you_mean(name, sorted({*runs, *labels.values()}))
        raise ConfigError(f"--baseline {name}: no such run or variant with an evaluation; {known}")
    return name, [one for run in runs if run in seeds for one in runs[run]], seeds


def _overview(together: Sequence[Variant], start: Figures | None) -> Grid:
    rows = [_row(BEFORE, "-", start)] if start is not None else []
    for variant in together:
        for source, own in zip(variant.sources, variant.last, strict=True):
            if own is not None:
                name = source.name if source.name == variant.label else f"{variant.label} ({source.name})"
                rows.append(_row(name + (" [stopped early]" if source.stopped else ""), str(own.step), own))
    heads = ("run", "step", "questions", "responses", "accuracy %", "tokens", "tokens, right", "tokens, wrong", "cut %")
    return Grid(
        heads=heads,
        rows=rows,
        note="Last evaluation of each run; in brackets 95 % bootstrap intervals over questions. Cut: by the limit.",
    )


def _row(name: str, step: str, own: Figures) -> list[str]:
    return [
        name,
        step,
        str(own.questions),
        f"{own.samples}{f' (+{own.unknown} unknown)' if own.unknown else ''}",
        interval(own.accuracy, 100),
        interval(own.tokens),
        interval(own.tokens_right),
        interval(own.tokens_wrong),
        interval(own.truncated, 100),
    ]


def _efficiency(name: str, base: Sequence[Sample] | None, evaluated: Sequence[tuple[Source, Sequence[Sample]]]) -> Grid:
    rows = []
    extra: dict[str, None] = {}
    for source, samples in evaluated:
        values = efficiency_figures(samples)
        extra |= dict.fromkeys(values)
        score = Interval(value=math.nan, low=math.nan, high=math.nan) if base is None else aes(base, samples)
        saved = math.nan
        if base is not None:
            saved = length_reduction(_mean_length(base), _mean_length(samples))
        shorter = "-" if math.isnan(saved) else f"{100 * saved:.1f}"
        rows.append((source.name, interval(score, digits=3), shorter, values))
    weights = ", ".join(f"{value:g}" for value in AES_WEIGHTS)
    return Grid(
        heads=("run", "AES", "tokens saved %", *(f"{head} %" for head in extra)),
        rows=[
            [*texts, *(f"{100 * values[head]:.1f}" if head in values else "-" for head in extra)]
            for *texts, values in rows
        ],
        note=f"AES (alpha, beta, gamma = {weights}) and tokens saved against: {name}, on shared questions."
        + (" Efficiencies by a rule-based splitter: approximate, read them next to accuracy." if extra else ""),
    )


def _mean_length(samples: Sequence[Sample]) -> float:
    lengths = [one.length for one in samples if one.correct is not None]
    return sum(lengths) / len(lengths) if lengths else math.nan


def _comparisons(name: str, pairs: Sequence[Comparison]) -> Grid:
    rows = [
        [
            one.second,
            str(one.accuracy.questions),
            interval(one.accuracy.difference, 100),
            _p(one.accuracy.p_value),
            interval(one.tokens.difference),
            _p(one.tokens.p_value),
        ]
        for one in pairs
    ]
    heads = ("run", "shared questions", "accuracy, points", "p", "tokens", "p")
    note = (
        f"Difference to: {name}, on the same questions, 95 % bootstrap intervals over questions; p of a two-sided "
        "sign-flip test, not corrected for the number of comparisons."
    )
    return Grid(heads=heads, rows=rows, note=note)


def _p(value: float) -> str:
    return "-" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _votes(evaluated: Sequence[tuple[Source, Sequence[Sample]]]) -> tuple[Grid, list[str]]:
    """The table of voting rules, and what to know of the answers."""
    rows, notices = [], []
    for source, samples in evaluated:
        votes = vote_figures(samples, same_answers(**source.judged_by))
        rows += [
            [source.name, rule, interval(accuracy, 100), f"{spent:.0f}"]
            for rule, (accuracy, spent) in votes.rules.items()
        ]
        if votes.conflicts:
            answer, question = votes.conflicts[0]
            notices.append(
                f"{source.name}: answers with two verdicts: {len(votes.conflicts)}, as {answer!r:.60} to "
                f"{question.partition(chr(10))[0]!r:.80}; each counts by the verdict of most of its samples"
            )
    note = (
        "Rules over the stored samples; whole responses stand for their thinking. Answers vote together where the "
        "verifier judges them equal; a tie goes to the answer seen first, in short-m to the shortest response's."
    )
    return Grid(heads=("run", "rule", "accuracy %", "tokens a question"), rows=rows, note=note), notices


def _search(evaluated: Sequence[tuple[Source, Sequence[Sample]]], start: Sequence[Sample] | None) -> Grid:
    """Where each run on the search testbed ends beside its front."""
    ends = [(source.name, samples) for source, samples in evaluated if is_search(samples)]
    if ends and start is not None and is_search(start):
        ends.insert(0, (BEFORE, start))
    heads = (
        *("run", "tokens above the front", "accuracy below it, points", "waste %", "repetitions a response"),
        *("first try right %", "by chance %", "out of form %", "tokens a candidate"),
    )
    note = (
        "The front is the least expected tokens for each accuracy, and the most accuracy for each number of tokens, by "
        "calculation. It holds while first tries are right by chance and responses keep the form of the traces. Tokens "
        "a candidate: how much longer a response is for one candidate more; in brackets what a search without waste "
        "takes."
    )
    return Grid(heads=heads, rows=[_search_row(name, search_figures(samples)) for name, samples in ends], note=note)


def _search_row(name: str, own: SearchFigures) -> list[str]:
    return [
        name,
        interval(own.tokens_above),
        interval(own.accuracy_below, 100),
        interval(own.waste, 100),
        interval(own.repetitions, digits=2),
        interval(own.first_right, 100),
        f"{100 * own.chance:.1f}",
        interval(own.malformed, 100),
        f"{own.slope:.2f} ({own.slope_needed:.2f})",
    ]


def _known(evaluated: Sequence[tuple[Source, Sequence[Sample]]]) -> list[Line]:
    """The front, where all runs were evaluated on the search testbed with one mix of difficulties."""
    ends = [samples for _, samples in evaluated]
    if not ends or not all(map(is_search, ends)):
        return []
    mixes = [{k: count / sum(mix.values()) for k, count in mix.items()} for mix in map(mix_of, ends)]
    if any(mix != mixes[0] for mix in mixes):
        return []
    best, dropped = lines_of(ends[0])
    return [
        Line(label="the best possible, by calculation", points=best.corners),
        Line(label="the start's traces as they drop waste alone", points=dropped),
    ]


def _budgets(
    together: Sequence[Variant],
    evaluated: Sequence[tuple[Source, Sequence[Sample]]],
    start: Sequence[Sample] | None,
) -> dict[str, list[Budgets]]:
    """Accuracy by token budget of each variant's runs, and of the policy before training."""
    wanted = sorted({budget for _, samples in evaluated for budget in budgets_of(samples)})
    found: dict[str, list[Budgets]] = {variant.label: [] for variant in together}
    for source, samples in evaluated:
        found[source.label].append(accuracy_by_budget(samples, same_answers(**source.judged_by), wanted))
    if start is not None and evaluated:
        found[BEFORE] = [accuracy_by_budget(start, same_answers(**evaluated[0][0].judged_by), wanted)]
    return found
