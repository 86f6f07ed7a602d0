"""Train the methods from the same policy for the same number of steps, and write ``docs/results.md``.

``python benchmarks/results.py`` trains what is not trained yet, run after run, and goes on where it was stopped;
``--table-only`` writes the page from the runs that are there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from leanthink.runs import Run

PAGE = Path(__file__).resolve().parent.parent / "docs" / "results.md"


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row: a recipe with its changes, and what its paper reports."""

    label: str
    recipe: str
    paper: str
    overrides: tuple[str, ...] = ()


METHODS = (
    Method(label="grpo", recipe="grpo", paper="grows longer"),
    Method(
        label="trle, alpha 0.7",
        recipe="trle",
        overrides=("reward.sigmoid_length.alpha=0.7",),
        paper="10,177 → 2,629 tokens at -3.9 points (1.5B, by others)",
    ),
    Method(label="grpo_lambda", recipe="grpo_lambda", paper="-47.3 % at +1.5 points (Qwen3-8B)"),
    Method(
        label="drpo, length temperature 0.03",
        recipe="drpo",
        overrides=("loss.drpo.length_temperature=0.03",),
        paper="-67 % (1.5B), -51 % at -2.6 % (7B)",
    ),
    Method(label="vsrm_rpp", recipe="vsrm_rpp", paper="-22 % to -37 % (7B, DeepScaleR)"),
    Method(label="dler", recipe="dler", paper="-77 % at +4 points (1.5B)"),
    Method(label="da_dler", recipe="da_dler", paper="-80 % at +4 points (1.5B)"),
)

# Four times Kimi's length term: a long right answer is then worth less than a short wrong one.
STRONG = '{"sum":{"correct":"correct","length":{"scale":{"by":4.0,"of":"kimi_length"}}}}'
GUARDED = STRONG.replace('{"scale"', '{"collapse_guard":{"window":5,"of":{"scale"') + "}}"
COLLAPSE = tuple(
    Method(
        label=label,
        recipe="grpo_lambda",
        overrides=(f"reward.lambda_switch.top_fraction={share}", f"reward.lambda_switch.shaped={shaped}"),
        paper=paper,
    )
    for label, share, shaped, paper in (
        ("the penalty on every group", 1.0, STRONG, "-90 % at -13.4 points (Qwen3-8B, LP*)"),
        ("grpo_lambda: on the best-solved fifth", 0.2, STRONG, "-47.3 % at +1.5 points (Qwen3-8B)"),
        ("the penalty on every group, guarded", 1.0, GUARDED, "none: collapse_guard is our own"),
    )
)


def folder_of(root: Path, method: Method, seed: int) -> Path:
    """Where a run lies."""
    name = "".join(letter if letter.isalnum() else "-" for letter in method.label)
    return root / name / f"seed-{seed}"


def train(root: Path, method: Method, seed: int, steps: int) -> None:
    """Train one run, unless it has reached its end."""
    command = [sys.executable, "-m", "leanthink", "train", method.recipe, "--profile", "cpu", "--steps", str(steps)]
    command += ["--seed", str(seed), "--out", str(folder_of(root, method, seed)), *method.overrides]
    print("+", " ".join(command[1:]), flush=True)
    subprocess.run(command, check=True)


def summaries(root: Path, method: Method, seeds: Iterable[int], steps: int) -> list[Mapping[str, Any]]:
    """The summaries of a method's finished runs."""
    runs = [Run(folder=folder_of(root, method, seed)) for seed in seeds]
    found = [run.read_summary() | {"metrics": run.read_metrics()} for run in runs if run.summary.exists()]
    return [summary for summary in found if summary["steps"] == steps]


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean over the seeds, and how far they lie apart (sample deviation).

    >>> spread([1.0, 3.0]), spread([2.0])
    ('2.0 ± 1.4', '2.0')
    """
    mean = f"{fmean(values):.{digits}f}"
    return f"{mean} ± {stdev(values):.{digits}f}" if len(values) > 1 else mean


def probe_tokens(metrics: Iterable[Mapping[str, Any]]) -> float:
    """Tokens a step spends on probes, in the mean."""
    values = [row.get("leanthink/probe/written_tokens", 0.0) for row in metrics if row["step"] > 0]
    return fmean(values) if values else 0.0


def row_of(method: Method, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line of the main table."""
    before, after = ([run[moment] for run in runs] for moment in ("before", "after"))
    change = [100 * (b["mean_tokens"] / a["mean_tokens"] - 1) for a, b in zip(before, after, strict=True)]
    points = [100 * (b["accuracy"] - a["accuracy"]) for a, b in zip(before, after, strict=True)]
    return [
        f"`{method.label}`" if method.label == method.recipe else method.label,
        spread([100 * figures["accuracy"] for figures in after]),
        spread(points),
        spread([figures["mean_tokens"] for figures in after]),
        spread(change, 0),
        f"{fmean(probe_tokens(run['metrics']) for run in runs):.0f}",
        spread([run["seconds"]["per_step"]["step"] for run in runs]),
        method.paper,
    ]


def by_difficulty(methods: Sequence[Method], runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Accuracy and tokens by the number of numbers in a chain."""
    start = next(iter(runs.values()))
    levels = list(start[0]["before"]["by_difficulty"])
    lines = [table_line(["", *(f"{level} numbers" for level in levels)]), table_line(["---"] * (len(levels) + 1))]
    columns = [("the start", [run["before"] for run in start])]
    columns += [(method.label, [run["after"] for run in runs[method.label]]) for method in methods]
    for label, figures in columns:
        cells = []
        for level in levels:
            own = [one["by_difficulty"][level] for one in figures]
            accuracy = fmean(100 * one["accuracy"] for one in own)
            cells.append(f"{accuracy:.0f} % at {fmean(one['mean_tokens'] for one in own):.0f}")
        lines.append(table_line([label, *cells]))
    return lines


def table_line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


HEADINGS = ("method", "accuracy %", "points", "tokens", "change %", "probe tokens a step", "s a step", "its paper")


def page(root: Path, seeds: Sequence[int], steps: int) -> str:
    """The page, from the runs that are there."""
    lines = [
        "# Results on the testbed",
        "",
        f"Written by `make results`: every method from the same policy, {steps} steps of 128 rollouts, real verl on "
        f"the CPU, {len(seeds)} seeds (± their sample deviation), held-out questions at temperature 1. The last column "
        "is what the paper reports for large models, which [the testbed](testbed.md) cannot promise. Seconds a step "
        "are comparable only where the machine had nothing else to do.",
        "",
        "Accuracy rises here together with brevity, more than on large models: the policy half knows what its first "
        "attempts get wrong, and training teaches it that. So the table shows that a method trains, what it does to "
        "long and short chains, and what collapses; it does not rank methods.",
        "",
    ]
    for title, methods in (("The methods", METHODS), ("The collapse that GRPO-λ is made against", COLLAPSE)):
        runs = {method.label: summaries(root, method, seeds, steps) for method in methods}
        done = [method for method in methods if runs[method.label]]
        missing = [method.label for method in methods if len(runs[method.label]) < len(seeds)]
        lines += [f"## {title}", ""]
        if done:
            start = runs[done[0].label][0]["before"]
            lines += [
                f"The start: {100 * start['accuracy']:.1f} ± {100 * start['accuracy_error']:.1f} % at "
                f"{start['mean_tokens']:.1f} ± {start['mean_tokens_error']:.1f} tokens, {start['questions']} questions "
                "(± the standard error of one evaluation).",
                "",
            ]
            lines += [table_line(HEADINGS), table_line(["---"] * len(HEADINGS))]
            lines += [table_line(row_of(method, runs[method.label])) for method in done]
            lines += ["", "Accuracy and tokens by length of the chain:", ""]
            lines += [*by_difficulty(done, {method.label: runs[method.label] for method in done}), ""]
        if missing:
            lines += [f"Not all seeds were run of: {', '.join(missing)}.", ""]
    return "\n".join(lines)


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=70)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/results"))
    parser.add_argument("--only", nargs="+", metavar="RECIPE", help="train these recipes only")
    parser.add_argument("--table-only", action="store_true", help="train nothing")
    args = parser.parse_args()
    methods = [method for method in (*METHODS, *COLLAPSE) if not args.only or method.recipe in args.only]
    if not args.table_only:
        for seed in args.seeds:
            for method in methods:
                train(args.out, method, seed, args.steps)
    text = page(args.out, args.seeds, args.steps)
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
