"""How long imports take beside ``import torch``, alternately, each in a fresh process: the median, and the ratio.

Run it: python benchmarks/import_time.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

TORCH = "import torch"
STATEMENTS = (
    "import leanthink",
    "from leanthink import Reward, RolloutBatch, Scope",
    "from leanthink import load_recipe, score_step, Verifier, batch_from_texts, kept_groups",
)


def seconds(statement: str) -> float:
    """How long a fresh interpreter takes to run a statement."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - started


def main(rounds: int) -> None:
    """Print a line for each statement."""
    seconds(TORCH)  # files into memory
    print(f"{'median of ' + str(rounds):<88} seconds   x torch")
    for statement in STATEMENTS:
        pairs = [(seconds(TORCH), seconds(statement)) for _ in range(rounds)]
        ratio = statistics.median(ours / torch for torch, ours in pairs)
        print(f"{statement:<88} {statistics.median(ours for _, ours in pairs):7.2f} {ratio:9.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
