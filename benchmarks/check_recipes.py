"""Train every shipped recipe for a few steps with real verl on the CPU profile; say which fail, and why."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from leanthink.recipe.definition import recipe_names
from leanthink.runs.folder import Run

QUESTIONS = 32  # held-out; how well it trains is not the question here


def check(name: str, steps: int, root: Path) -> str | None:
    """What is wrong with a recipe's run, or None."""
    run = Run(folder=root / name)
    command = [sys.executable, "-m", "leanthink", "train", name, "--profile", "cpu", "--steps", str(steps)]
    command += ["--out", str(run.folder), f"data.val_max_samples={QUESTIONS}"]
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


def main() -> int:
    """Check the recipes; the exit status is the number of those that fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", help="default: all")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time; two suit two cores")
    args = parser.parse_args()
    failed = 0

    def timed(name: str) -> tuple[str | None, float]:
        started = time.monotonic()
        return check(name, args.steps, Path(folder)), time.monotonic() - started

    names = args.recipes or recipe_names()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.jobs) as pool:
        for name, (wrong, seconds) in zip(names, pool.map(timed, names), strict=True):
            failed += wrong is not None
            print(f"{name}: {'ok' if wrong is None else wrong} ({seconds:.0f} s)", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
