"""The search task's section of the page of results: every method's distance from the best possible."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from result_tables import Summary, by_difficulty, spread, table_line, titled
from search_picture import picture

from leanthink.metrics import Interval
from leanthink.reporting.figures import Figures, figures
from leanthink.reporting.fronts import SearchFigures, search_figures
from leanthink.reporting.pictures import save
from leanthink.reporting.sources import Source, read_sources
from leanthink.runs.folder import Run
from leanthink.sweep.plan import Planned
from leanthink.testbed.front import front, waste_dropped

SEARCH_TITLE = "The search task: how far from the best possible"
SEARCH_TEXT = (
    "Guess and check among K candidates, two to eight: thinking is needed, and only as much as needed, and the least "
    "expected tokens for each accuracy is known by calculation ([the testbed](testbed.md)). Every method from the same "
    "policy, {steps} steps of 128 rollouts, real verl on the CPU, settings of the recipe but where "
    "`benchmarks/results_search.yaml` names others, none of them chosen on the held-out questions; ± is the sample "
    "deviation over the seeds. `benchmarks/results_search.json` has what each run came to, raw."
)
READING = (
    "Tokens above the front are those that a run takes beyond the least for its accuracy; accuracy below it is what "
    "its tokens could have bought. Waste is what a search that stops when it knows would not have written; tokens a "
    "candidate is how much longer responses are for one candidate more, {needed:.1f} of a search without waste. The "
    "front holds while first tries are right by chance."
)
IN_SHORT = (
    "In short: a limit (`dler`, `da_dler`) ends nearest to the best possible, with the highest accuracy. "
    "`grpo_lambda`, `laser_d`, `alp`, `hapo` and `trle` end within a token of `dler`, which is about what seeds differ "
    "by. `palu` and `drpo` keep more of the distance, `grpo` keeps more than half of the waste, and `vsrm_rpp` moves "
    "least in as many steps. A penalty that is too strong destroys the policy where it meets every group, costs "
    "nothing where it meets the best-solved fifth, and is held, not healed, by `collapse_guard`."
)
EXPLAINED = (
    "Where it does not show, and why. `grpo` first grows, as its paper has it, since at the start wrong responses are "
    "the shorter ones: many answer too early. Once those are gone, the wrong ones are the longest, which lost their "
    "way, and length falls again; a repetition leads astray now and then, so that a 0/1 reward has a reason against "
    "part of the waste, and what has none stays. Length by difficulty: whatever drops the waste ends near the slope "
    "that is needed, `trle` too, because a search without waste has it by itself; these methods have nothing left to "
    "show here, and their differences are those of seeds. `vsrm_rpp` goes the right way, and slowly: its gains are "
    "estimated by two answers a cut, and a try that is done again is paid nothing rather than charged. That collapse "
    "ends near the front is no praise: the front begins with guessing."
)
SEARCH_HEADINGS = (
    *("method", "seeds", "accuracy %", "tokens", "tokens above the front", "accuracy below it, points", "waste %"),
    *("repetitions", "tokens a candidate", "first try right % (chance)", "out of form %"),
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a method's paper lets expect on this task, and how to see whether it shows.

    Attributes:
        variant: of the sweep.
        expected: in words.
        seen: the numbers that say it, from the variant's runs.
        holds: whether they do; it gets the runs of all variants, too.
    """

    variant: str
    expected: str
    seen: Callable[[Runs], str]
    holds: Callable[[Runs, Mapping[str, Runs]], bool]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluation on the search task, for itself and beside the front."""

    figures: Figures
    search: SearchFigures


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run of the search task that came to its end; `KEPT` keeps it after its folder is gone.

    Attributes:
        variant: of the sweep.
        key: a hash of what the run is; one with another key is another run, and not shown for it.
        start: before training.
        last: after it.
        lengths: mean response length of each training step (tokens).
        summary: what the run says of itself, raw.
    """

    variant: str
    key: str
    start: Evaluation
    last: Evaluation
    lengths: Sequence[float]
    summary: Summary


Runs = Sequence[Ended]
"""Those of one variant, one a seed."""


def at(runs: Runs, end: str, name: str) -> float:
    """The mean over seeds of a figure at the ``start`` or the ``last`` evaluation: a share where it is one."""
    one = [getattr(run, end) for run in runs]
    values = [getattr(each.figures, name, None) or getattr(each.search, name) for each in one]
    return fmean(value.value if isinstance(value, Interval) else value for value in values)


MOMENTS = ("before", "after")


def of_level(runs: Runs, moment: str, level: str) -> float:
    """Accuracy with so many candidates ``before`` or ``after`` training, over the seeds."""
    return fmean(run.summary[moment]["by_difficulty"][level]["accuracy"] for run in runs)


def extremes(runs: Runs) -> tuple[str, str]:
    """The fewest and the most candidates."""
    levels = sorted(runs[0].summary["before"]["by_difficulty"], key=int)
    return levels[0], levels[-1]


def change(name: str, label: str, scale: float = 1, digits: int = 1) -> Callable[[Runs], str]:
    """A figure before and after, as text."""

    def seen(runs: Runs) -> str:
        before, after = (f"{scale * at(runs, end, name):.{digits}f}" for end in ("start", "last"))
        return f"{label} {before} → {after}"

    return seen


def all_of(*texts: Callable[[Runs], str]) -> Callable[[Runs], str]:
    """Several of them in one cell."""
    return lambda runs: ", ".join(text(runs) for text in texts)


LENGTH = "leanthink/length/all"
ACCURACY, TOKENS = change("accuracy", "accuracy %", 100), change("tokens", "tokens")
WASTE = change("waste", "waste %", 100, 0)
ABOVE = change("tokens_above", "tokens above the front")
GUARDED, UNGUARDED = "the penalty on every group, guarded", "the penalty on every group"


WINDOW = 10
"""Training steps over which a length is averaged: a batch has its own mix of difficulties."""


def longest(runs: Runs) -> str:
    """The greatest mean length over `WINDOW` steps of training, over the seeds."""
    most = fmean(
        max(fmean(run.lengths[step : step + WINDOW]) for step in range(max(1, len(run.lengths) - WINDOW + 1)))
        for run in runs
    )
    return f"at most {most:.1f} on the way"


def needed_tokens(runs: Runs, end: str) -> float:
    """Tokens a response that are no waste."""
    return at(runs, end, "tokens") * (1 - at(runs, end, "waste"))


def collapses(runs: Runs, others: Mapping[str, Runs]) -> bool:
    """Accuracy ends below the start, and less of it is left where there are most candidates than where fewest."""
    few, many = (of_level(runs, "after", level) / of_level(runs, "before", level) for level in extremes(runs))
    return at(runs, "last", "accuracy") < at(runs, "start", "accuracy") and many < few


def levels_seen(runs: Runs) -> str:
    """Accuracy with the fewest and the most candidates."""
    each = ((level, *(100 * of_level(runs, moment, level) for moment in MOMENTS)) for level in extremes(runs))
    return ", ".join(f"of {level} candidates {before:.0f} → {after:.0f}" for level, before, after in each)


def keeps_accuracy(runs: Runs, others: Mapping[str, Runs]) -> bool:
    """Accuracy does not end below what the start's interval allows."""
    return at(runs, "last", "accuracy") >= fmean(run.start.figures.accuracy.low for run in runs)


def kept_seen(runs: Runs) -> str:
    """Accuracy, and the lower end of the start's interval."""
    low = fmean(run.start.figures.accuracy.low for run in runs)
    return f"{ACCURACY(runs)} (the start's interval: from {100 * low:.1f})"


def halves(runs: Runs, others: Mapping[str, Runs]) -> bool:
    """The distance from the front is half of what it was, or less."""
    return at(runs, "last", "tokens_above") <= at(runs, "start", "tokens_above") / 2


def slope_seen(runs: Runs) -> str:
    """How much longer responses are for one candidate more."""
    return f"{change('slope', 'tokens a candidate')(runs)}, needed {at(runs, 'last', 'slope_needed'):.1f}"


def nearer_than_trle(runs: Runs, others: Mapping[str, Runs]) -> bool:
    """Whether that is nearer to what is needed than with TRLE; nothing to say where that was not run."""
    needed = at(runs, "last", "slope_needed")
    mine, theirs = (abs(at(own, "last", "slope") - needed) for own in (runs, others[TRLE]))
    return mine < theirs


TRLE = "trle, alpha 0.7"
CLAIMS = (
    Claim(
        variant="grpo",
        expected="longer, waste stays",
        seen=all_of(TOKENS, longest, WASTE, change("tokens_right", "right ones"), change("tokens_wrong", "wrong ones")),
        holds=lambda runs, others: (
            at(runs, "last", "tokens") > at(runs, "start", "tokens")
            and at(runs, "last", "waste") >= at(runs, "start", "waste")
        ),
    ),
    Claim(
        variant=UNGUARDED,
        expected="collapse, first where there are many candidates",
        seen=all_of(ACCURACY, levels_seen),
        holds=collapses,
    ),
    Claim(
        variant="grpo_lambda: on the best-solved fifth",
        expected="no collapse, 30 % shorter",
        seen=all_of(kept_seen, TOKENS),
        holds=lambda runs, others: (
            keeps_accuracy(runs, others) and at(runs, "last", "tokens") <= 0.7 * at(runs, "start", "tokens")
        ),
    ),
    *(
        Claim(variant=name, expected="half the distance or less", seen=ABOVE, holds=halves)
        for name in (TRLE, "drpo, length temperature 0.02", "dler, limit 36", "da_dler")
    ),
    Claim(
        variant="vsrm_rpp",
        expected="fewer repetitions, needed tries stay",
        seen=all_of(
            change("repetitions", "repetitions", 1, 2),
            lambda runs: f"needed tokens {needed_tokens(runs, 'start'):.1f} → {needed_tokens(runs, 'last'):.1f}",
        ),
        holds=lambda runs, others: (
            at(runs, "last", "repetitions") < at(runs, "start", "repetitions")
            and needed_tokens(runs, "last") >= needed_tokens(runs, "start")
        ),
    ),
    *(
        Claim(
            variant=name, expected="length by difficulty better than with trle", seen=slope_seen, holds=nearer_than_trle
        )
        for name in ("laser_d", "palu", "hapo", "alp")
    ),
    Claim(
        variant=GUARDED,
        expected="no collapse",
        seen=kept_seen,
        holds=keeps_accuracy,
    ),
)


def claims_table(runs_of: Mapping[str, Runs]) -> list[str]:
    """What is expected of each method that was run, what is seen, and whether it shows."""
    lines = [table_line(["method", "expected", "seen", "shown"]), table_line(["---"] * 4)]
    for claim in CLAIMS:
        runs = runs_of.get(claim.variant)
        if not runs or (claim.holds is nearer_than_trle and TRLE not in runs_of):
            continue
        shown = "yes" if claim.holds(runs, runs_of) else "no"
        lines.append(
            table_line([titled(claim.variant, runs[0].summary["recipe"]), claim.expected, claim.seen(runs), shown])
        )
    return lines


def of_folder(run: Run, planned: Planned) -> Ended:
    """What the page shows of a run, from its folder."""
    return ended_run(read_sources([run.folder])[0], planned, run.read_summary())


def ended_run(source: Source, planned: Planned, summary: Summary) -> Ended:
    """What the page shows of a run."""
    first, last = (
        Evaluation(figures=figures(step, samples, levels=False), search=search_figures(samples))
        for step, samples in ((step, source.evaluations[step]) for step in (0, max(source.evaluations)))
    )
    lengths = [row[LENGTH] for row in source.metrics if row["step"] > 0]
    return Ended(variant=planned.variant, key=planned.key, start=first, last=last, lengths=lengths, summary=summary)


def kept_text(runs: Iterable[Ended]) -> str:
    """The runs as JSON, which has no NaN."""
    return json.dumps([_without_nan(asdict(one)) for one in runs], indent=1, allow_nan=False) + "\n"


def read_kept(text: str) -> list[Ended]:
    """The runs from `kept_text`."""

    def evaluation(node: Mapping[str, Any]) -> Evaluation:
        own, beside = ({name: _figure(value) for name, value in node[kind].items()} for kind in ("figures", "search"))
        return Evaluation(figures=Figures(**own), search=SearchFigures(**beside))

    return [
        Ended(**{**node, "start": evaluation(node["start"]), "last": evaluation(node["last"])})
        for node in json.loads(text)
    ]


def _figure(value: Any) -> Any:
    """A value of `Figures` or `SearchFigures` from `_without_nan`."""
    if isinstance(value, Mapping) and value:  # without any, it is the levels, which are not kept
        return Interval(**{name: _figure(end) for name, end in value.items()})
    return math.nan if value is None else value


def _without_nan(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {name: _without_nan(value) for name, value in node.items()}
    return None if isinstance(node, float) and math.isnan(node) else node


def search_section(runs_of: Mapping[str, Sequence[Ended]], missing: Sequence[str]) -> list[str]:
    """The table of the search task: the start, then each variant over its seeds."""
    starts = starts_of(runs_of)
    lines = [
        "![Accuracy against tokens on the search task: the best possible, the start, every method](results.png)",
        "",
        SEARCH_TEXT.format(steps=len(next(iter(runs_of.values()))[0].lengths)),
        "",
        IN_SHORT,
        "",
        READING.format(needed=starts[0].search.slope_needed),
        "",
        table_line(SEARCH_HEADINGS),
        table_line(["---"] * len(SEARCH_HEADINGS)),
        table_line(search_row("the start", "", starts)),
    ]
    for variant, runs in runs_of.items():
        lines.append(
            table_line(
                search_row(titled(variant, runs[0].summary["recipe"]), str(len(runs)), [run.last for run in runs])
            )
        )
    raw = {variant: [run.summary for run in runs] for variant, runs in runs_of.items()}
    lines += ["", "Accuracy and tokens by the number of candidates:", "", *by_difficulty(raw, "candidates"), ""]
    lines += ["### What the papers let expect, and what shows", "", *claims_table(runs_of), "", EXPLAINED, ""]
    return [*lines, f"Not run: {', '.join(missing)}.", ""] if missing else lines


def starts_of(runs_of: Mapping[str, Sequence[Ended]]) -> list[Evaluation]:
    """The start by seed: that of the variant with most of them, as each run begins with the same policy."""
    return [run.start for run in max(runs_of.values(), key=len)]


def search_row(name: str, seeds: str, ends: Sequence[Evaluation]) -> list[str]:
    """One line of the search task's table."""
    own = [one.search for one in ends]

    def of(name: str, scale: float = 1, digits: int = 1) -> str:
        return spread([scale * getattr(one, name).value for one in own], digits)

    tried = [100 * one.chance for one in own if not math.isnan(one.chance)]
    first = f"{of('first_right', 100, 0)} ({fmean(tried):.0f})" if tried else "none tried"
    return [
        name,
        seeds,
        spread([100 * one.figures.accuracy.value for one in ends]),
        spread([one.figures.tokens.value for one in ends]),
        of("tokens_above"),
        of("accuracy_below", 100),
        of("waste", 100, 0),
        of("repetitions", 1, 2),
        spread([one.slope for one in own]),
        first,
        of("malformed", 100),
    ]


def draw(runs_of: Mapping[str, Runs], path: Path) -> None:
    """The picture of the section."""
    levels = next(iter(runs_of.values()))[0].summary["before"]["by_difficulty"]
    mix = {int(candidates): float(own["questions"]) for candidates, own in levels.items()}
    start = starts_of(runs_of)[0].figures
    last = {name: [run.last.figures for run in runs] for name, runs in runs_of.items()}
    save(picture(last, start, front(mix), waste_dropped(mix)), path)
