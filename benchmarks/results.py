"""Write ``docs/explanation/results.md`` and its picture from two sweeps; ``make results`` trains their runs first.

``results_search.yaml`` is of the search task, where every run has a distance from the best possible, and
``results.yaml`` of the chains. What a run of the search task came to is kept in ``results_search.json``: seeds may be
trained one after the other, and the page is made anew without them.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from kept_runs import ended_runs
from result_tables import Summary, by_difficulty, spread, table_line, titled
from search_section import SEARCH_TITLE, draw, kept_text, of_folder, read_kept, search_section

from leanthink.commands.sweep import resolver
from leanthink.sweep.plan import Sweep, load_sweep
from leanthink.sweep.store import Store, outcome

HERE = Path(__file__).resolve().parent
CHAINS, SEARCH = HERE / "results.yaml", HERE / "results_search.yaml"
PAGE = HERE.parent / "docs" / "explanation" / "results.md"
PICTURE = PAGE.with_suffix(".png")
KEPT = HERE / "results_search.json"


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table of the page: variants of the sweep, and what each one's paper reports."""

    title: str
    text: str
    papers: Mapping[str, str]


SECTIONS = (
    Section(
        title="The five families",
        text="Where the testbed shows less than the paper: VSRM pays each step of thinking its gain in accuracy, and a "
        "re-check gains next to none and loses next to none, so little speaks against it and responses grow as with "
        "grpo. GRPO-λ brevity comes from a fifth of the groups, the easy ones: short chains shrink, long ones hardly. "
        "DRPO stays just short of half at this number of steps, with 0.03 and 0.02 alike.",
        papers={
            "grpo": "grows longer",
            "trle, alpha 0.7": "10,177 → 2,629 tokens at -3.9 points (1.5B, by others)",
            "grpo_lambda": "-47.3 % at +1.5 points (Qwen3-8B)",
            "drpo, length temperature 0.02": "-67 % (1.5B), -51 % at -2.6 % (7B)",
            "vsrm_rpp": "-22 % to -37 % (7B, DeepScaleR)",
            "dler, limit 32": "-77 % at +4 points (1.5B)",
            "da_dler": "-80 % at +4 points (1.5B)",
        },
    ),
    Section(
        title="The collapse that GRPO-λ is made against",
        text="Four times Kimi's length term: a long right answer is worth less than a short wrong one.",
        papers={
            "the penalty on every group": "-90 % at -13.4 points (Qwen3-8B, LP*)",
            "grpo_lambda: on the best-solved fifth": "-47.3 % at +1.5 points (Qwen3-8B)",
            "the penalty on every group, guarded": "none: collapse_guard is our own",
        },
    ),
    Section(
        title="Adaptive and scheduled budgets, and the rest of the field",
        text="Each recipe as it ships, with the lengths of its block for the CPU. Where the testbed shows less than "
        "the paper: LASER-D and -DE pay easy prompts for a short chain, medium ones for a longer one and hard "
        "ones for any, as the table by length shows. PALU cuts a budget by the spread of a prompt's right "
        "lengths, a few tokens here. S-GRPO's exits answer with the last number so far, as a finished chain has "
        "to: the wrong ones among them punish that, and so does the path's own reward behind several right ones. "
        "Adaptive Deep Reasoning begins with a model that has both modes; this policy has one, so that half of "
        "the rollouts fail, and training on them costs accuracy. Surrogate signals pay a readable answer and its "
        "length, right or wrong: so small a policy forgets its arithmetic. UloRL, VL-Cogito and SIRI's "
        "expansions are made for longer output.",
        papers={
            "laser": "10,177 → 4,509 tokens at +3.3 points (1.5B, target 8192)",
            "laser_d": "10,177 → 3,520 tokens at +3.4 points (1.5B, target 4096)",
            "laser_de": "10,177 → 3,577 tokens at +2.6 points (1.5B, target 4096)",
            "palu": "10,280 → 3,537 tokens at +7.6 points (1.5B)",
            "siri_low": "12,333 → 7,093 tokens at +12.2 points (1.5B, AIME24)",
            "siri_high": "12,333 → 10,049 tokens at +15.4 points (1.5B, AIME24)",
            "curriculum": "258 → 89 tokens at +2.7 points (GSM8K)",
            "vl_cogito": "+0.5 points over GRPO; longer where it is hard",
            "surrogate": "+20.2 points; lengths are not tabulated (7B base)",
            "tldr": "about -50 % at little loss (reward reconstructed)",
            "adaptive_deep": "in words only",
            "crf": "-19.9 % at +8.1 % against GRPO (7B)",
            "ulorl": "made for longer output: +11.9 points (30B-A3B, AIME25)",
            "s_grpo": "9,147 → 3,556 tokens at +6.1 points (7B)",
            "long_short": "24,566 → 2,113 tokens at -3.9 points (7B against R1-Distill)",
            "gfpo": "54 % of GRPO's growth taken back at -0.4 points (14B, 8 of 24)",
            "gfpo_adaptive": "46 % of GRPO's growth taken back at +0.8 points (14B, 16 rollouts)",
            "lc_r1": "-46.3 % at -1.8 % (7B)",
        },
    ),
)

INTRODUCTION = (
    "Written by `make results`: every method from the same policy, {steps} steps of 128 rollouts, real verl on the "
    "CPU, held-out questions at temperature 1; ± is the sample deviation over the seeds. The last column is what the "
    "paper reports for large models, which [the testbed](testbed.md) cannot promise. Runs shared two cores "
    "with others, so that seconds a step compare loosely.",
    "Accuracy rises here together with brevity, more than on large models: the policy half knows what its first "
    "attempts get wrong, and training teaches it that. So the tables show that a method trains, what it does to long "
    "and short chains, and what collapses; they do not rank methods.",
)
ELSEWHERE = "Of a real pretrained model, on verl's vLLM server: [Results on a real model](results_real.md)."
EARLIER = (
    "These runs are of an earlier state of the library, and `laser`, `laser_d`, `laser_de`, `surrogate` and `ulorl` "
    "sampled at their papers' temperatures then, not at 1."
)
HEADINGS = ("method", "seeds", "accuracy %", "points", "tokens", "change %", "probe tokens a step", "s a step", "paper")


def summaries(sweep: Sweep, store: Store, variant: str) -> list[Summary]:
    """The summaries of a variant's finished runs, each with its metrics."""
    runs = [(planned, store.run(planned)) for planned in sweep.runs if planned.variant == variant]
    if not runs:
        raise SystemExit(
            f"{sweep.file} has no variant {variant!r}, which the page shows; add it, or take it off the page"
        )
    return [
        run.read_summary() | {"metrics": run.read_metrics()}
        for planned, run in runs
        if outcome(run, planned) == "finished"
    ]


def probe_tokens(metrics: Iterable[Mapping[str, Any]]) -> float:
    """Tokens a step spends on probes, in the mean."""
    values = [row.get("leanthink/probe/written_tokens", 0.0) for row in metrics if row["step"] > 0]
    return fmean(values) if values else 0.0


def row_of(variant: str, paper: str, runs: Sequence[Summary]) -> list[str]:
    """One line of a section's main table."""
    before, after = ([run[moment] for run in runs] for moment in ("before", "after"))
    change = [100 * (b["mean_tokens"] / a["mean_tokens"] - 1) for a, b in zip(before, after, strict=True)]
    points = [100 * (b["accuracy"] - a["accuracy"]) for a, b in zip(before, after, strict=True)]
    return [
        titled(variant, runs[0]["recipe"]),
        str(len(runs)),
        spread([100 * figures["accuracy"] for figures in after]),
        spread(points),
        spread([figures["mean_tokens"] for figures in after]),
        spread(change, 0),
        f"{fmean(probe_tokens(run['metrics']) for run in runs):.0f}",
        spread([run["seconds"]["per_step"]["step"] for run in runs]),
        paper,
    ]


def sections_of(text: str) -> dict[str, str]:
    """The sections of a page by their titles."""
    parts = [part.partition("\n") for part in f"\n{text}".split("\n## ")[1:]]
    return {title: body.strip() for title, _, body in parts}


def page(sweep: Sweep, store: Store, before: str = "", search: Sequence[str] = ()) -> str:
    """The page, from the runs that are there; a section of which there are none stays as it was ``before``."""
    kept = sections_of(before)
    lines = ["# Results on the testbeds", "", ELSEWHERE, ""]
    found_before = [kept[SEARCH_TITLE], ""] if SEARCH_TITLE in kept else []
    if search or found_before:
        lines += [f"## {SEARCH_TITLE}", "", *(search or found_before)]
    lines += ["## The chains", ""]
    for paragraph in INTRODUCTION:
        lines += [paragraph.format(steps=sweep.runs[0].steps), ""]
    found_in = [{variant: summaries(sweep, store, variant) for variant in section.papers} for section in SECTIONS]
    if not any(own for found in found_in for own in found.values()):
        lines += [EARLIER, ""]
    for section, found in zip(SECTIONS, found_in, strict=True):
        lines += [f"## {section.title}", ""]
        runs = {variant: own for variant, own in found.items() if own}
        if not runs and section.title in kept:
            lines += [kept[section.title], ""]
            continue
        if section.text:
            lines += [section.text, ""]
        if runs:
            start = [run["before"] for run in next(iter(runs.values()))]
            accuracy, accuracy_error, tokens, tokens_error = (
                fmean(figures[name] for figures in start)
                for name in ("accuracy", "accuracy_error", "mean_tokens", "mean_tokens_error")
            )
            lines += [
                f"The start: {100 * accuracy:.1f} ± {100 * accuracy_error:.1f} % at {tokens:.1f} ± {tokens_error:.1f} "
                f"tokens, {start[0]['questions']} questions (± the standard error of one evaluation).",
                "",
                table_line(HEADINGS),
                table_line(["---"] * len(HEADINGS)),
                *(table_line(row_of(variant, section.papers[variant], own)) for variant, own in runs.items()),
                "",
                "Accuracy and tokens by length of the chain:",
                "",
                *by_difficulty(runs),
                "",
            ]
        if missing := [variant for variant, own in found.items() if not own]:
            lines += [f"Not run: {', '.join(missing)}.", ""]
    return "\n".join(lines)


def main() -> None:
    """Write the page and its picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chains", type=Path, help="the folder of the chains' sweep")
    parser.add_argument("search", type=Path, help="the folder of the search task's sweep")
    args = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `leanthink sweep` has told what is to be said about the recipes
        chains, search = (load_sweep(file, resolver()) for file in (CHAINS, SEARCH))
    kept = read_kept(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else []
    names = dict.fromkeys(planned.variant for planned in search.runs)
    ended = ended_runs(search, Store(folder=args.search), kept, of_folder)
    runs_of = {name: own for name in names if (own := [run for run in ended if run.variant == name])}
    section: list[str] = []
    if runs_of:
        section = search_section(runs_of, [name for name in names if name not in runs_of])
        draw(runs_of, PICTURE)
        KEPT.write_text(kept_text(ended), encoding="utf-8")
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    PAGE.write_text(page(chains, Store(folder=args.chains), before, section), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
