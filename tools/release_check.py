"""Everything that a release is held to, one after another, with a table at the end: ``make release-check``.

The archives are built from a fresh clone of HEAD into ``build/release/dist``. ``--tag v0.2.0`` also asks whether the
tag, the changelog and the rest name that version and a day. ``--only`` and ``--skip`` take names of steps; what was
skipped is said, and a release is what passes with nothing skipped.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
WORK: Final = ROOT / "build" / "release"
DIST: Final = WORK / "dist"
LINKED: Final = ("rewards", "algorithms", "recipes")
"""Folders of the root that the package links to, and the archives hold as files."""


class CheckError(RuntimeError):
    """A step found something; the text says what, and the cure."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A step, ``passed``, ``FAILED`` or ``skipped``, and what it says."""

    step: str
    state: str
    seconds: float = 0.0
    found: str = ""


def run(*command: str, cwd: Path = ROOT) -> str:
    """What a command prints.

    Raises:
        CheckError: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise CheckError(f"{' '.join(command[:4])}: {' / '.join(lines[-5:])[:800]}")
    return done.stdout


def version() -> str:
    """The version, from its one place."""
    text = (ROOT / "src" / "leanthink" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise CheckError("src/leanthink/__init__.py has no __version__")
    return found[1]


def check_tree(tag: str | None) -> str:
    """Nothing uncommitted."""
    if changed := run("git", "status", "--porcelain"):
        raise CheckError(f"not committed: {', '.join(changed.split()[1::2][:5])}; commit it, or take it away")
    return run("git", "rev-parse", "--short", "HEAD").strip()


def check_versions(tag: str | None) -> str:
    """One version everywhere; with a tag, a day as well."""
    own = version()
    places = {
        "CHANGELOG.md": rf"^## \[{re.escape(own)}\]",
        "CITATION.cff": rf"^version: {re.escape(own)}$",
        "docs/reference/compatibility.md": rf"^leanthink {re.escape(own.rpartition('.')[0])}\.",
    }
    if tag is not None:
        if tag != f"v{own}":
            raise CheckError(f"the tag is {tag}, the version {own}; tag v{own}, or change src/leanthink/__init__.py")
        places["CHANGELOG.md"] += r" - \d{4}-\d\d-\d\d$"
    for name, pattern in places.items():
        if not re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE):
            raise CheckError(f"{name} has no line {pattern}; write it")
    return own


def check_build(tag: str | None) -> str:
    """Archives from a fresh clone."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    run("git", "clone", "--quiet", str(ROOT), str(WORK / "clone"))
    run(sys.executable, "-m", "build", "--outdir", str(DIST), str(WORK / "clone"))
    return ", ".join(f"{path.name} {path.stat().st_size / 1e6:.1f} MB" for path in sorted(DIST.iterdir()))


def check_twine(tag: str | None) -> str:
    """What the package index would say of the archives."""
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(DIST.iterdir())))
    return "metadata and description render"


def expected(clone: Path) -> set[str]:
    """What of the package has to be in the archives, as paths below ``src``."""
    package = clone / "src" / "leanthink"
    listed = run("git", "ls-files", "-z", cwd=clone).split("\0")
    names = {name.removeprefix("src/") for name in listed if name.startswith("src/leanthink/")}
    linked = {f"leanthink/{name}" for name in listed if name.split("/")[0] in LINKED}
    wanted = {name for name in names | linked if not (package.parent / name).is_symlink()}
    return {name for name in wanted if Path(name).suffix in (".py", ".yaml", ".typed") or "/policies/" in name}


def check_contents(tag: str | None) -> str:
    """Every file of the package is in both archives, and the wheel holds nothing beside the package."""
    wanted = expected(WORK / "clone")
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    with tarfile.open(sdist) as source:
        sources = {one.name.partition("/")[2] for one in source.getmembers() if one.isfile()}
    missing = sorted(wanted - held) + sorted(f"src/{name}" for name in wanted if f"src/{name}" not in sources)
    beside = sorted(name for name in held if not name.startswith(("leanthink/", f"leanthink-{version()}.dist-info/")))
    if missing or beside:
        raise CheckError(
            f"missing: {', '.join(missing[:5]) or '-'}; beside the package: {', '.join(beside[:5]) or '-'}"
        )
    return f"{len(wanted)} files of the package in both"


def check_links(tag: str | None) -> str:
    """Links within the checkout."""
    return run(sys.executable, "tools/links.py").strip()


def check_installs(tag: str | None) -> str:
    """Both archives in fresh environments, on every Python and pip of the matrix."""
    command = [sys.executable, "tools/install_matrix.py", "--dist", str(DIST), "--strict"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    rows = [line for line in printed.stdout.splitlines() if line.startswith("| py")]
    print(printed.stdout)
    if printed.returncode:
        bad = [line.split("|")[1].strip() for line in rows if "| passed |" not in line]
        raise CheckError(f"not installed and tried: {', '.join(bad) or printed.stdout[-300:]}")
    return f"{len(rows)} environments"


def check_docs(tag: str | None) -> str:
    """The pages are built, and what of them is written by hand nowhere was fresh."""
    run("make", "docs")
    if changed := run("git", "status", "--porcelain"):
        raise CheckError(f"make docs changed {', '.join(changed.split()[1::2][:5])}; commit that")
    return "built, nothing was stale"


def check_notebooks(tag: str | None) -> str:
    """The notebooks run from the top down."""
    return run(sys.executable, "-m", "pytest", "-q", "tests/examples").strip().splitlines()[-1]


STEPS: Final[dict[str, Callable[[str | None], str]]] = {
    "tree": check_tree,
    "versions": check_versions,
    "links": check_links,
    "build": check_build,
    "twine": check_twine,
    "contents": check_contents,
    "docs": check_docs,
    "notebooks": check_notebooks,
    "installs": check_installs,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the steps, print the table; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tag", metavar="v0.2.0", help="the tag that is to be released")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=[], help="these steps alone")
    parser.add_argument("--skip", nargs="+", choices=STEPS, default=[], help="not these steps")
    args = parser.parse_args(arguments)
    results = []
    for name, step in STEPS.items():
        if name in args.skip or (args.only and name not in args.only):
            results.append(Result(step=name, state="skipped"))
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            state, found = "passed", step(args.tag or None)
        except (CheckError, OSError, ValueError) as error:
            state, found = "FAILED", str(error) or type(error).__name__
        results.append(Result(step=name, state=state, seconds=time.monotonic() - began, found=found))
    for one in results:
        print(f"{one.step:10} {one.state:8} {one.seconds:6.0f} s  {one.found}".rstrip())
    return int(any(one.state == "FAILED" for one in results))


if __name__ == "__main__":
    sys.exit(main())
