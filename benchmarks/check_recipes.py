"""Train every shipped recipe for a few steps with real verl on the CPU profile; say which fail, and why.

With ``--record`` what passed is written into ``evidence.yaml``, of which ``make docs`` makes the table of evidence.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import yaml

from leanthink.recipe.definition import recipe_names
from leanthink.recipe.yaml import read_yaml
from leanthink.runs.folder import Run

QUESTIONS = 32  # held-out; how well it trains is not the question here
RECORDS: Final = Path(__file__).parent / "evidence.yaml"
COLUMNS: Final = {"tiny": "cpu", "vllm": "vllm"}
"""Where a run on each engine stands in the records."""


def check(run: Run, name: str, steps: int, engine: str) -> str | None:
    """What is wrong with a recipe's run, or None."""
    command = [sys.executable, "-m", "leanthink", "train", name, "--profile", "cpu", "--steps", str(steps)]
    command += ["--engine", engine, "--out", str(run.folder), f"data.val_max_samples={QUESTIONS}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return (done.stderr.strip() or done.stdout.strip())[-2000:]
    trained = [row for row in run.read_metrics() if row["step"] > 0]
    if [row["step"] for row in trained] != list(range(1, steps + 1)):
        return f"steps {[row['step'] for row in trained]} instead of 1 to {steps}"
    for row in trained:
        if "leanthink/reward/all" not in row or "actor/grad_norm" not in row:
            return f"step {row['step']} has no reward or no gradient in its metrics"
    return None


def facts_of(versions: Mapping[str, Any], steps: int, engine: str) -> dict[str, Any]:
    """What is recorded of a run: the steps, and the versions that they ran on.

    >>> facts_of({"leanthink": "0.1.0", "verl": "0.9.1", "torch": "2.13.0"}, 3, "tiny")
    {'steps': 3, 'leanthink': '0.1.0', 'verl': '0.9.1', 'engine': 'tiny, torch 2.13.0'}
    """
    shown = f"tiny, torch {versions['torch']}" if engine == "tiny" else f"vllm {versions['vllm']}"
    return {"steps": steps, "leanthink": versions["leanthink"], "verl": versions["verl"], "engine": shown}


def record(name: str, column: str, facts: Mapping[str, Any], path: Path = RECORDS) -> None:
    """Write down that a recipe has been run; the file's head, and what else it says, stay."""
    text = path.read_text(encoding="utf-8")
    head = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    found = {recipe: dict(columns) for recipe, columns in (read_yaml(path) or {}).items()}
    found.setdefault(name, {})[column] = dict(facts)
    lines = []
    for recipe in sorted(found):
        lines.append(f"{recipe}:\n")
        for one in sorted(found[recipe]):
            flow = yaml.safe_dump(dict(found[recipe][one]), default_flow_style=True, sort_keys=False, width=999)
            lines.append(f"  {one}: {flow}")
    path.write_text(head + "".join(lines), encoding="utf-8")


def main() -> int:
    """Check the recipes; the exit status is the number of those that fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", help="default: all")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time; two suit two cores")
    parser.add_argument("--engine", choices=tuple(COLUMNS), default="tiny", help="writes responses (default: tiny)")
    parser.add_argument("--record", action="store_true", help=f"write what passed into {RECORDS.name}")
    args = parser.parse_args()
    failed = 0

    def timed(name: str) -> tuple[str | None, float, Run]:
        started, run = time.monotonic(), Run(folder=Path(folder) / name)
        return check(run, name, args.steps, args.engine), time.monotonic() - started, run

    names = args.recipes or recipe_names()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.jobs) as pool:
        for name, (wrong, seconds, run) in zip(names, pool.map(timed, names), strict=True):
            failed += wrong is not None
            if args.record and wrong is None:
                facts = facts_of(run.read_summary()["versions"], args.steps, args.engine)
                record(name, COLUMNS[args.engine], facts)
            print(f"{name}: {'ok' if wrong is None else wrong} ({seconds:.0f} s)", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
