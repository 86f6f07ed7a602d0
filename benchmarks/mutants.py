"""Plausible slips, put into the code one at a time by cosmic-ray: which of them do the tests notice?

Each area works on a copy of the tracked files in build/mutants and has a session there, which goes on where it was
stopped. The tests of what was changed come first, so that most slips cost seconds. Annotations are left alone: nothing
evaluates them.

    python benchmarks/mutants.py [--areas core rewards] [--sample 200] [--seed 7] [--jobs 2]

Lists every survivor with its difference. Many change nothing (an equal value at a bound, a message): what is left over
after those is what a test is missing for.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
BUILD: Final = ROOT / "build" / "mutants"
AREAS: Final[Mapping[str, tuple[Sequence[str], Sequence[str]]]] = {  # what is changed, and which tests should notice
    "core": (["src/leanthink/core"], ["tests/core", "tests/contract", "tests/rewards", "tests/recipe"]),
    "training": (
        ["src/leanthink/training"],
        [
            "tests/training",
            "tests/verl/driver",
            "tests/verl/rollout/test_facts.py",
            "tests/verl/rollout/test_template.py",
        ],
    ),
    "recipe": (["src/leanthink/recipe"], ["tests/recipe", "tests/recipes", "tests/files"]),
    "rewards": (["rewards"], ["tests/rewards", "tests/contract"]),
    "algorithms": (["algorithms"], ["tests/algorithms", "tests/contract", "tests/merge"]),
    "metrics": (["src/leanthink/metrics"], ["tests/metrics", "tests/reporting/test_report.py"]),
    "verify": (["src/leanthink/verify"], ["tests/verify"]),
    "files": (["src/leanthink/files"], ["tests/files"]),
}
CONFIG: Final = """[cosmic-ray]
module-path = [{modules}]
timeout = {timeout}
excluded-modules = []
test-command = "{command}"

[cosmic-ray.distributor]
name = "local"
"""


def prepared(area: str) -> Path:
    """A copy of the tracked files, to be changed."""
    tree = BUILD / area
    shutil.rmtree(tree, ignore_errors=True)  # a change that a kill has left there, too
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    return tree


def session(area: str, tree: Path, sample: int, seed: int, timeout: float) -> Path:
    """The area's session, with a sample of its mutants to be tried; one that is there goes on."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import WorkerOutcome, WorkResult

    config, database = BUILD / f"{area}.toml", BUILD / f"{area}-{sample}-{seed}.sqlite"
    command = f"{sys.executable} {Path(__file__).resolve()} --judge {area}"
    modules = ", ".join(f'"{path}"' for path in AREAS[area][0])
    config.write_text(CONFIG.format(modules=modules, timeout=timeout, command=command), encoding="utf-8")
    if not database.exists():
        part = database.with_suffix(".part")
        part.unlink(missing_ok=True)
        run(["init", str(config), str(part)], tree)
        with use_db(str(part), mode=WorkDB.Mode.open) as db:
            items = sorted(db.work_items, key=lambda item: str(item.mutations))
            acting = [item for item in items if not any(is_annotation(tree, one) for one in item.mutations)]
            chosen = {item.job_id for item in random.Random(seed).sample(acting, min(sample, len(acting)))}
            skipped = WorkResult(worker_outcome=WorkerOutcome.SKIPPED, output="not drawn")
            db.set_multiple_results((item.job_id for item in items if item.job_id not in chosen), skipped)
        part.replace(database)
    return database


def is_annotation(tree: Path, mutation: Any) -> bool:
    """Whether a mutation lies in an annotation, which nothing evaluates."""
    start = tuple(mutation.start_pos)
    return any(first <= start < last for first, last in annotations(tree / mutation.module_path))


@cache
def annotations(module: Path) -> tuple[tuple[tuple[int, int], tuple[int, int]], ...]:
    """Where a module's annotations begin and end, as (line, column); asked for each of its mutations."""
    nodes = ast.walk(ast.parse(module.read_text(encoding="utf-8")))
    found = (getattr(node, name, None) for node in nodes for name in ("annotation", "returns"))
    return tuple(
        ((one.lineno, one.col_offset), (one.end_lineno, one.end_col_offset)) for one in found if one is not None
    )


def run(arguments: Sequence[str], tree: Path) -> None:
    """One command of cosmic-ray in the copy."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree / "src"), os.environ.get("PYTHONPATH", "")])}
    program = "from cosmic_ray.cli import main; main()"
    subprocess.run([sys.executable, "-c", program, *arguments], cwd=tree, env=environment, check=True)


def judge(area: str) -> int:
    """Pytest's exit status for the mutant in the current folder; the tests that know the changed module come first."""
    paths, tests = AREAS[area]
    changed = max((module for path in paths for module in Path(path).rglob("*.py")), key=lambda it: it.stat().st_mtime)
    files = [file for name in tests for file in (sorted(Path(name).glob("test_*.py")) or [Path(name)])]
    first = sorted(files, key=lambda file: -knows(file, changed))
    quick = "not verl and not long and not engine"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", quick, *map(str, first)]
    return subprocess.run(command, check=False).returncode


def knows(test: Path, module: Path) -> float:
    """How much a file of tests has to do with a module: 2 if it is named after it, else its share of the names."""
    if module.stem in test.stem:
        return 2.0
    tree = ast.parse(module.read_text(encoding="utf-8"))
    named = (ast.FunctionDef, ast.ClassDef)
    names = [node.name for node in tree.body if isinstance(node, named) and not node.name.startswith("_")]
    text = test.read_text(encoding="utf-8")
    return sum(name in text for name in names) / max(1, len(names))


def told(area: str, database: Path) -> None:
    """How many were noticed, and each that was not."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome

    with use_db(str(database), mode=WorkDB.Mode.open) as db:
        tried: list[Any] = [result for _, result in db.results if result.test_outcome is not None]
    survivors = [result for result in tried if result.test_outcome == TestOutcome.SURVIVED]
    for result in survivors:
        print(result.diff)
    share = 100 * (1 - len(survivors) / len(tried)) if tried else 100
    print(f"{area}: {len(tried) - len(survivors)} of {len(tried)} noticed ({share:.0f} %)\n")


def main() -> None:
    """Try the areas."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--areas", nargs="+", choices=sorted(AREAS), default=list(AREAS))
    parser.add_argument("--sample", type=int, default=100, help="mutants of each area (default: 100)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--timeout", type=float, default=900, help="seconds for the tests of one mutant (default: 900)")
    parser.add_argument("--jobs", type=int, default=1, help="areas at a time (default: 1)")
    parser.add_argument("--judge", choices=sorted(AREAS), help=argparse.SUPPRESS)  # what cosmic-ray calls
    args = parser.parse_args()
    if args.judge:
        sys.exit(judge(args.judge))
    BUILD.mkdir(parents=True, exist_ok=True)

    def tried(area: str) -> tuple[str, Path]:
        tree = prepared(area)
        database = session(area, tree, args.sample, args.seed, args.timeout)
        run(["exec", str(BUILD / f"{area}.toml"), str(database)], tree)
        return area, database

    with ThreadPoolExecutor(args.jobs) as pool:
        for area, database in pool.map(tried, args.areas):
            told(area, database)


if __name__ == "__main__":
    main()
