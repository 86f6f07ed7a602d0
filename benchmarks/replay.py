"""How long `leanthink score --stream` takes, and how much memory: made-up responses that carry verdicts, on one core.

OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/replay.py --responses 100000
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GROUP = 8
STEP = 512


def main() -> None:
    """Write the file, score it in a process of its own, print seconds and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--responses", type=int, default=100_000)
    parser.add_argument("--recipe", action="append", default=[])
    parser.add_argument("--words", type=int, default=400, help="of each response's text")
    args = parser.parse_args()
    recipes = args.recipe or ["grpo", "trle", "kimi"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rollouts.jsonl"
        write(path, args.responses, args.words)
        given = [word for name in recipes for word in ("--recipe", name)]
        started = time.perf_counter()
        command = [sys.executable, "-m", "leanthink", "score", str(path), "--stream", *given]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"{args.responses} responses, {path.stat().st_size / 1e6:.0f} MB, recipes {', '.join(recipes)}: "
            f"{seconds:.1f} s ({usage.ru_utime + usage.ru_stime:.1f} s of CPU), peak {usage.ru_maxrss / 1024:.0f} MiB"
        )


def write(path: Path, responses: int, words: int) -> None:
    """Groups of 8 in steps of 512; lengths log-normal, every prompt with its own chance of a right answer."""
    generator = random.Random(1)
    text = "word " * words
    with path.open("w", encoding="utf-8") as file:
        for row in range(responses):
            if row % GROUP == 0:
                chance = generator.random()
            length = int(generator.lognormvariate(6, 0.6))
            fields = {
                "prompt_id": f"q{row // GROUP}",
                "step": row // STEP,
                "length": length,
                "correct": int(generator.random() < chance),
                "truncated": length > 2000,
                "response": text,
            }
            file.write(json.dumps(fields) + "\n")


if __name__ == "__main__":
    main()
