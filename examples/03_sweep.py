"""Compare two penalties, mild and strong, over seeds: plan, run, and read the table.

What it would do: python examples/03_sweep.py
Do it:            python examples/03_sweep.py --run   (real verl on the CPU; killed? the same command goes on)
"""

import sys
from pathlib import Path

import pyarrow.parquet

from leanthink.cli import main as leanthink

SWEEP = Path(__file__).parent / "sweep.yaml"
OUT = Path("runs/sweep")


def compare(results: Path) -> None:
    """Accuracy and tokens after training, mean over the seeds, shortest first."""
    rows = [row for row in pyarrow.parquet.read_table(results).to_pylist() if row["moment"] == "after"]
    by_variant: dict[str, list[dict]] = {}
    for row in rows:
        by_variant.setdefault(row["variant"], []).append(row)
    means = {
        variant: [sum(row[name] for row in seeds) / len(seeds) for name in ("mean_tokens", "accuracy")]
        for variant, seeds in by_variant.items()
    }
    for variant, (tokens, accuracy) in sorted(means.items(), key=lambda item: item[1]):
        statuses = sorted({row["status"] for row in by_variant[variant]})
        print(
            f"{variant:>20}  {tokens:5.1f} tokens  {accuracy:5.1%} right  "
            f"{len(by_variant[variant])} seeds, {' and '.join(statuses)}"
        )


def main() -> None:
    if "--run" not in sys.argv:
        leanthink(["sweep", str(SWEEP), "--out", str(OUT), "--dry-run"])
        print("nothing was started; --run does")
        return
    code = leanthink(["sweep", str(SWEEP), "--out", str(OUT), "--jobs", "2"])
    compare(OUT / "results.parquet")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
