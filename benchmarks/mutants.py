"""Plausible slips, put into the code one at a time by cosmic-ray: which of them do the tests notice?

The unit tests run once under coverage, which records the tests that reach each line; a mutant is then judged by the
tests of its line, those of its own module first, so that most cost seconds. Each area works on a copy of the tracked
files in build/mutants and has a session there, which goes on where it was stopped as long as no source has changed.
Annotations are left alone: nothing evaluates them.

    python benchmarks/mutants.py [--areas core rewards] [--sample 200] [--seed 7] [--jobs 2]

Lists every survivor with its difference. Many change nothing (an equal value at a bound, a message): what is left over
after those is what a test is missing for.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
BUILD: Final = ROOT / "build" / "mutants"
CLEAN: Final = BUILD / "clean"
AREAS: Final[Mapping[str, str]] = {  # what is changed
    "core": "src/leanthink/core",
    "training": "src/leanthink/training",
    "recipe": "src/leanthink/recipe",
    "rewards": "rewards",
    "algorithms": "algorithms",
    "metrics": "src/leanthink/metrics",
    "verify": "src/leanthink/verify",
    "files": "src/leanthink/files",
    "data": "src/leanthink/data",
    "reporting": "src/leanthink/reporting",
    "sweep": "src/leanthink/sweep",
    "driver": "src/leanthink/verl/driver",
    "update": "src/leanthink/verl/update",
    "rollout": "src/leanthink/verl/rollout",
}
QUICK: Final = "not verl and not long and not engine"
# Pages, packages and small trainings: minutes each, and no test of a line.
LEFT_OUT: Final = ("docs", "packaging", "browser", "examples", "engine", "testbed", "tools", "trl")
CONFIG: Final = """[cosmic-ray]
module-path = [{modules}]
timeout = {timeout}
excluded-modules = []
test-command = "{command}"

[cosmic-ray.distributor]
name = "local"
"""


def sources() -> str:
    """What all that is changed says, as a short name: sessions and records hold for this text only."""
    files = sorted(path for area in AREAS.values() for path in (ROOT / area).rglob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:10]


def prepared() -> None:
    """Copy the tracked files to where they stay as they are."""
    shutil.rmtree(CLEAN, ignore_errors=True)
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        (CLEAN / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, CLEAN / name, follow_symlinks=False)


def recorded(key: str, jobs: int) -> None:
    """Run the unit tests once under coverage: which of them reach which line, and which fail as it is."""
    if record(key).exists():
        return
    part = BUILD / "reached.part"
    ignored = [f"--ignore=tests/{name}" for name in LEFT_OUT]
    coverage = ["--cov=leanthink", "--cov-context=test", "--cov-report="]
    command = [sys.executable, "-m", "pytest", "-q", "-m", QUICK, "-n", str(jobs), "--dist", "loadfile"]
    traced = {**environment(CLEAN), "COVERAGE_FILE": str(part)}
    subprocess.run([*command, *coverage, *ignored], cwd=CLEAN, env=traced, check=False)
    last = CLEAN / ".pytest_cache" / "v" / "cache" / "lastfailed"
    failed = sorted({function(name) for name in json.loads(last.read_text())} if last.exists() else set())
    if failed:
        print("fail without any change, and judge nothing:", *failed, sep="\n  ")
    broken(key).write_text(json.dumps(failed), encoding="utf-8")
    part.replace(record(key))


def record(key: str) -> Path:
    """Where the record of these sources lies."""
    return BUILD / f"reached-{key}.coverage"


def broken(key: str) -> Path:
    """Where the tests lie that failed on these sources as they are."""
    return BUILD / f"failed-{key}.json"


def function(test: str) -> str:
    """A test without its parameters, whose texts a command line would not bear."""
    return test.partition("[")[0]


def session(area: str, tree: Path, key: str, sample: int, seed: int, timeout: float) -> Path:
    """The area's session, with a sample of its mutants to be tried; one that is there goes on."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import WorkerOutcome, WorkResult

    config, database = BUILD / f"{area}.toml", BUILD / f"{area}-{sample}-{seed}-{key}.sqlite"
    command = f"{sys.executable} {Path(__file__).resolve()} --judge {area} --key {key}"
    config.write_text(CONFIG.format(modules=f'"{AREAS[area]}"', timeout=timeout, command=command), encoding="utf-8")
    if not database.exists():
        part = database.with_suffix(".part")
        part.unlink(missing_ok=True)
        run(["init", str(config), str(part)], tree)
        with use_db(str(part), mode=WorkDB.Mode.open) as db:
            items = sorted(db.work_items, key=lambda item: str(item.mutations))
            acting = [item for item in items if not any(is_unevaluated(tree, one) for one in item.mutations)]
            chosen = {item.job_id for item in random.Random(seed).sample(acting, min(sample, len(acting)))}
            skipped = WorkResult(worker_outcome=WorkerOutcome.SKIPPED, output="not drawn")
            db.set_multiple_results((item.job_id for item in items if item.job_id not in chosen), skipped)
        part.replace(database)
    return database


def is_unevaluated(tree: Path, mutation: Any) -> bool:
    """Whether a mutation lies in what nothing evaluates."""
    start = tuple(mutation.start_pos)
    return any(first <= start < last for first, last in unevaluated(tree / mutation.module_path))


@cache
def unevaluated(module: Path) -> tuple[tuple[tuple[int, int], tuple[int, int]], ...]:
    """Where annotations, and ``@final``, begin and end, as (line, column); asked for each mutation of the module."""
    nodes = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
    found = [(0, getattr(node, name, None)) for node in nodes for name in ("annotation", "returns")]
    decorators = [each for node in nodes for each in getattr(node, "decorator_list", ())]
    found += [(1, each) for each in decorators if ast.unparse(each) == "final"]  # a slip begins at the sign before it
    return tuple(
        ((one.lineno, one.col_offset - before), (one.end_lineno, one.end_col_offset))
        for before, one in found
        if one is not None
    )


def environment(tree: Path) -> dict[str, str]:
    """This process's, in which the copy's package comes first."""
    before = os.environ.get("PYTHONPATH")  # an empty entry would be the current folder
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(tree / "src"), before]))}


def run(arguments: Sequence[str], tree: Path) -> None:
    """One command of cosmic-ray in the copy."""
    program = "from cosmic_ray.cli import main; main()"
    subprocess.run([sys.executable, "-c", program, *arguments], cwd=tree, env=environment(tree), check=True)


def judge(area: str, key: str) -> int:
    """Pytest's exit status for the mutant in the current folder."""
    module = max(Path(AREAS[area]).rglob("*.py"), key=lambda it: it.stat().st_mtime)
    tests = BUILD / f"{area}.tests"
    tests.write_text("\n".join(judges(module, key)), encoding="utf-8")
    if not tests.read_text():
        return 0  # no test comes by
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", QUICK, f"@{tests}"]
    status = subprocess.run(command, check=False).returncode
    return 0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else status


def judges(module: Path, key: str) -> list[str]:
    """The tests for what differs in a module: files named after it, whole, then those that reach its lines."""
    from coverage import CoverageData

    data = CoverageData(basename=str(record(key)))
    data.read()
    reached = data.contexts_by_lineno(str((CLEAN / module).resolve()))
    lines = [line for changed in differing(module) for line in statement(CLEAN / module, changed)]

    def tests(contexts: Iterable[Sequence[str]]) -> set[str]:
        return {function(test) for names in contexts for name in names if (test := name.partition("|")[0])}

    found = tests(reached.get(line, []) for line in lines) or tests(reached.values())  # else what an import runs
    found -= set(json.loads(broken(key).read_text()))
    near = sorted(str(path) for path in Path("tests").rglob("test_*.py") if module.stem in path.stem)
    own = [file for file in near if Path(file).parts[1] not in LEFT_OUT]
    names = public_names(module)
    others = sorted(
        (test for test in found if test.partition("::")[0] not in own),
        key=lambda test: (-knows(Path(test.partition("::")[0]), names), test),
    )
    return own + others


def differing(module: Path) -> Iterator[int]:
    """The lines of the clean module, from 1, that the one in the current folder has otherwise."""
    before, after = (path.read_text(encoding="utf-8").splitlines() for path in (CLEAN / module, module))
    for kind, first, last, _, _ in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind != "equal":
            yield from range(first + 1, max(first + 1, last) + 1)


def statement(module: Path, line: int) -> range:
    """The lines of the innermost statement around a line; of a compound one, those before its body."""
    found = range(line, line + 1)
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):  # outer ones come first
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or line):
            body = getattr(node, "body", None)
            end = body[0].lineno - 1 if body else node.end_lineno or line
            found = range(node.lineno, max(node.lineno, end) + 1)
    return found


def public_names(module: Path) -> tuple[str, ...]:
    """The functions and classes of a module that others may call."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    named = (ast.FunctionDef, ast.ClassDef)
    return tuple(node.name for node in tree.body if isinstance(node, named) and not node.name.startswith("_"))


@cache
def knows(test: Path, names: tuple[str, ...]) -> float:
    """The share of a module's names that a file of tests has; asked for each of its tests."""
    text = test.read_text(encoding="utf-8")
    return sum(name in text for name in names) / max(1, len(names))


def told(area: str, database: Path) -> None:
    """How many were noticed, each that was not, and how many no test could judge."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome

    with use_db(str(database), mode=WorkDB.Mode.open) as db:
        tried: list[Any] = [result for _, result in db.results if result.test_outcome is not None]
    survivors = [result for result in tried if result.test_outcome == TestOutcome.SURVIVED]
    noticed = [it for it in tried if it.test_outcome == TestOutcome.KILLED and it.output != "timeout"]
    for result in survivors:
        print(result.diff)
    judged = len(survivors) + len(noticed)
    share = f"{100 * len(noticed) / judged:.0f} %" if judged else "none"
    unjudged = f", {len(tried) - judged} more took too long or could not be tried" if len(tried) > judged else ""
    print(f"{area}: {len(noticed)} of {judged} noticed ({share}){unjudged}\n")


def main() -> None:
    """Try the areas."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--areas", nargs="+", choices=sorted(AREAS), default=list(AREAS))
    parser.add_argument("--sample", type=int, default=100, help="mutants of each area (default: 100)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--timeout", type=float, default=900, help="seconds for the tests of one mutant (default: 900)")
    parser.add_argument("--jobs", type=int, default=1, help="areas at a time (default: 1)")
    parser.add_argument("--judge", choices=sorted(AREAS), help=argparse.SUPPRESS)  # what cosmic-ray calls
    parser.add_argument("--key", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.judge:
        sys.exit(judge(args.judge, args.key))
    BUILD.mkdir(parents=True, exist_ok=True)
    prepared()
    recorded(key := sources(), args.jobs)

    def tried(area: str) -> tuple[str, Path]:
        tree = BUILD / area
        shutil.rmtree(tree, ignore_errors=True)  # a change that a kill has left there, too
        shutil.copytree(CLEAN, tree, symlinks=True)
        database = session(area, tree, key, args.sample, args.seed, args.timeout)
        run(["exec", str(BUILD / f"{area}.toml"), str(database)], tree)
        return area, database

    with ThreadPoolExecutor(args.jobs) as pool:
        for area, database in pool.map(tried, args.areas):
            told(area, database)


if __name__ == "__main__":
    main()
