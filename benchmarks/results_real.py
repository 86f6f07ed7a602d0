"""Write the page of results on a real pretrained model: five methods, on verl's vLLM server.

    python benchmarks/results_real.py runs/real/sweep

``make results-real`` makes the start, trains the runs of ``results_real.yaml`` that are not there yet, and calls this.
What a run came to is kept in ``results_real.json``, so that runs may be made one after the other, and are shown without
their folders.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from kept_runs import ended_runs
from result_tables import table_line, titled

from leanthink.commands.sweep import resolver
from leanthink.files.reading import read_json
from leanthink.reporting.pictures import save, styles, subplots
from leanthink.runs.folder import Run
from leanthink.sweep.plan import Planned, Sweep, load_sweep
from leanthink.sweep.store import Store

HERE: Final = Path(__file__).resolve().parent
SWEEP, KEPT, START = HERE / "results_real.yaml", HERE / "results_real.json", HERE / "real" / "start" / "start.json"
PAGE: Final = HERE.parent / "docs" / "explanation" / "results_real.md"
CURVES: Final = {"tokens": "leanthink/length/all", "accuracy": "leanthink/accuracy"}
WINDOW: Final = 5
"""Steps over which the picture averages: a batch has 64 responses only."""

TEXT: Final = (
    "SmolLM2-135M-Instruct, a language model that somebody else trained, on word problems made from templates: a "
    "count that changes once or twice. It learnt from {lessons:,} right and wordy solutions first, of up to four "
    "changes: an adapter of rank 4 that lies in `benchmarks/real/start`. On {questions} further questions this start "
    "has {accuracy:.0f} % right at {tokens:.0f} tokens. Then {steps} steps of {rollouts} rollouts each, from that "
    "same start, with real verl, verl's vLLM server on a CPU, in bf16. 512 held-out questions at temperature 1, "
    "which no setting was chosen on, asked once after training, and of the start once before each run; ± is a standard "
    "error over questions. `make "
    "results-real` trains what is not trained yet; `benchmarks/results_real.yaml` has the settings, "
    "`benchmarks/results_real.json` what each run came to."
)
READING: Final = (
    "What it shows: the recipes train a model with a real tokenizer, chat template and vocabulary on the stack that "
    "GPUs have, and what each does to tokens and accuracy on one easy task. What it does not: {seeds}, so few "
    "steps, a task of templates whose waste was taught. It ranks no methods; [the search task](results.md) has the "
    "front to rank by."
)
HEADINGS: Final = ("method", "seeds", "accuracy %", "points", "tokens", "change %", "cut off %", "seconds a step")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run that came to its end.

    Attributes:
        variant: of the sweep.
        key: a hash of what the run is.
        seed: of the run.
        summary: what it says of itself, raw.
        curves: ``tokens`` and ``accuracy`` of each training step.
    """

    variant: str
    key: str
    seed: int
    summary: dict[str, Any]
    curves: dict[str, list[float]]


def ended_run(run: Run, planned: Planned) -> Ended:
    """What is kept of a run."""
    rows = [row for row in run.read_metrics() if row["step"] > 0]
    curves = {name: [row[key] for row in rows] for name, key in CURVES.items()}
    summary = dict(run.read_summary())
    return Ended(variant=planned.variant, key=planned.key, seed=planned.seed, summary=summary, curves=curves)


def start_of(runs: Sequence[Ended]) -> dict[str, float]:
    """The start, which each run asked once: the mean, and its standard error as if none of the questions came again."""
    first = [run.summary["before"] for run in runs]
    means = {name: fmean(one[name] for one in first) for name in ("accuracy", "mean_tokens", "truncated_share")}
    errors = (f"{name}_error" for name in ("accuracy", "mean_tokens"))
    return means | {name: fmean(one[name] ** 2 for one in first) ** 0.5 / len(first) ** 0.5 for name in errors}


def row_of(run: Ended, before: dict[str, float]) -> list[str]:
    """A line of the table: one run, held against the start."""
    after = run.summary["after"]
    points, error = (100 * figure for figure in _difference(after, before, "accuracy"))
    return [
        titled(run.variant, run.summary["recipe"]),
        str(run.seed),
        f"{100 * after['accuracy']:.1f} ± {100 * after['accuracy_error']:.1f}",
        f"{points:+.1f} ± {error:.1f}",
        f"{after['mean_tokens']:.1f} ± {after['mean_tokens_error']:.1f}",
        f"{100 * (after['mean_tokens'] / before['mean_tokens'] - 1):+.0f}",
        f"{100 * after['truncated_share']:.1f}",
        f"{run.summary['seconds']['per_step']['step']:.0f}",
    ]


def _difference(after: dict[str, Any], before: dict[str, Any], name: str) -> tuple[float, float]:
    """A difference of two evaluations, sampled apart, and its standard error."""
    error = (after[f"{name}_error"] ** 2 + before[f"{name}_error"] ** 2) ** 0.5
    return after[name] - before[name], error


def page(runs: Sequence[Ended], sweep: Sweep, start: dict[str, Any]) -> str:
    """The page, from the runs that are there."""
    first = start_of(runs)
    seeds = {run.seed for run in runs}
    began = start["start"]
    told = TEXT.format(
        lessons=start["lessons"],
        questions=began["questions"],
        accuracy=100 * began["accuracy"],
        tokens=began["tokens"],
        steps=sweep.runs[0].steps,
        rollouts=64,
    )
    lines = ["# Results on a real model", "", told, "", "![Tokens and accuracy by step](results_real.png)", ""]
    accuracy, tokens = (
        f"{scale * first[name]:.1f} ± {scale * first[f'{name}_error']:.1f}"
        for name, scale in (("accuracy", 100), ("mean_tokens", 1))
    )
    begun = ["the start", "", accuracy, "", tokens, "", f"{100 * first['truncated_share']:.1f}", ""]
    rows = [list(HEADINGS), ["---"] * len(HEADINGS), begun, *(row_of(run, first) for run in runs)]
    lines += map(table_line, rows)
    missing = dict.fromkeys(planned.variant for planned in sweep.runs if planned.key not in {run.key for run in runs})
    if missing:
        lines += ["", f"Not run: {', '.join(missing)}."]
    lines += ["", READING.format(seeds="one seed" if len(seeds) == 1 else f"{len(seeds)} seeds"), ""]
    return "\n".join(lines)


def draw(runs: Sequence[Ended], path: Path) -> None:
    """Tokens and accuracy of the training rollouts over the steps, averaged."""
    figure, axes = subplots(1, 2, 11, 4.4)
    for run, (name, colour, _) in zip(runs, styles([run.variant for run in runs]), strict=True):
        for axis, curve, scale in zip(axes, CURVES, (1, 100), strict=True):
            values = run.curves[curve]
            means = [scale * fmean(values[max(0, end - WINDOW) : end]) for end in range(1, len(values) + 1)]
            axis.plot(range(1, len(means) + 1), means, color=colour, label=name)
    for axis, label in zip(axes, ("tokens of a response", "accuracy %"), strict=True):
        axis.set_ylim(bottom=0)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_xlabel(f"training step (mean of the last {WINDOW})")
        axis.set_ylabel(label)
    axes[0].legend(fontsize=8)
    save(figure, path)


def main() -> None:
    """Write page, picture and what is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="the folder of the sweep")
    args = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `leanthink sweep` has told what is to be said about the recipes
        sweep = load_sweep(SWEEP, resolver())
    kept = [Ended(**node) for node in read_json(KEPT)] if KEPT.exists() else []
    runs = ended_runs(sweep, Store(folder=args.sweep), kept, ended_run)
    if not runs:
        raise SystemExit(f"{args.sweep} holds no run of {SWEEP} that ended; train them with `make results-real`")
    KEPT.write_text(json.dumps([asdict(run) for run in runs], indent=1, allow_nan=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(runs, sweep, read_json(START)), encoding="utf-8")
    draw(runs, PAGE.with_suffix(".png"))
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
