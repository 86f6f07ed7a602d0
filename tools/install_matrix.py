"""Installs the built wheel and source archive into fresh environments, and tries in each what a stranger tries first.

``python tools/install_matrix.py`` builds what is missing in ``dist``, takes one case after another, and prints a table.
What passed or failed is kept in ``build/install_matrix`` under the sum of the archive, so that the same command goes on
where it was stopped; a failed case is tried again. Words after it choose a case by its name, or those whose names hold
all of them, as in ``tools/install_matrix.py 3.11 verl``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

ROOT: Final = Path(__file__).parents[1]
OLD_PIP: Final = "23.2.1"
"""Comes with Python 3.11.7; it passes over extras whose names it spells otherwise than a package does."""

Kind = Literal["wheel", "sdist"]
Run = Callable[[Sequence[str]], str]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One environment: a Python, a pip, an extra, and what is installed."""

    python: str
    pip: str
    extra: str = ""
    kind: Kind = "wheel"

    @property
    def name(self) -> str:
        """As in ``py3.11 pip23.2.1 wheel[verl]``."""
        extra = f"[{self.extra}]" if self.extra else ""
        return f"py{self.python} pip{self.pip} {self.kind}{extra}"


CASES: Final = (
    *(
        Case(python="3.11", pip=pip, extra=extra)
        for pip in (OLD_PIP, "newest")
        for extra in ("", "verl", "trl", "watch")
    ),
    *(Case(python="3.11", pip=pip, kind="sdist") for pip in (OLD_PIP, "newest")),
    Case(python="3.11", pip="newest", extra="slurm"),
    *(Case(python="3.12", pip="newest", extra=extra) for extra in ("", "verl", "trl")),
    Case(python="3.13", pip="newest"),
    Case(python="3.13", pip="newest", extra="trl"),
)

CORE: Final = r"""
from leanthink import RolloutBatch, Verdict, Verifier, load_recipe, recipe_names, score_step
if __name__ == "__main__":
    with Verifier(workers=1, deadline=60) as verifier:
        for gold, response, wanted in (("0.5", "50\\%", "CORRECT"), ("0.5", "0.6", "WRONG"), ("1/2", "0.5", "CORRECT")):
            found = verifier.check(gold, f"\\boxed{{{response}}}")
            assert found.verdict is Verdict[wanted], (gold, response, found)
    assert len(recipe_names()) > 30 and all(load_recipe(name) for name in recipe_names())
    batch = RolloutBatch.of(group=[0, 0, 0, 0], length=[10, 20, 30, 40], correct=[1, 1, 0, 1], step=1)
    rewards = score_step(load_recipe("trle"), batch).reward.tolist()
    assert rewards[2] == 0 and 1 > rewards[0] > rewards[1] > rewards[3] > 0, rewards
    print("ok")
"""
PROBES: Final[Mapping[str, str]] = {
    "": CORE,
    "verl": 'import leanthink.verl.plugin, verl, ray, tensordict; print("ok")',
    "trl": 'from leanthink.trl import LeanthinkGRPOTrainer, config; print("ok")',
    "watch": 'import leanthink.reporting.live.serve, starlette, uvicorn; print("ok")',
    "slurm": 'import leanthink.sweep.slurm, submitit; print("ok")',
}
"""Pieces of Python that print ok; the core's is run in every case."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a case: ``passed``, ``failed``, or ``not run``; seconds, gigabytes, and what was seen."""

    case: str
    state: str
    seconds: float = 0.0
    gigabytes: float = 0.0
    found: str = ""


class StepError(RuntimeError):
    """A command ended with an error; its last lines."""


def run_command(command: Sequence[str]) -> str:
    """What a command prints; it sees no environment that is active here, and no checkout.

    Raises:
        StepError: it failed.
    """
    hidden = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=tempfile.gettempdir()
    )
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise StepError(f"{' '.join(command)[:200]}: {' / '.join(lines[-3:])[:600]}")
    return done.stdout


def steps(case: Case, archive: Path, version: str, python: str) -> Iterator[tuple[str, list[str], str]]:
    """What is done in a fresh environment: a name, a command, and what its output has to hold."""
    pip = "pip" if case.pip == "newest" else f"pip=={case.pip}"
    extra = f"[{case.extra}]" if case.extra else ""
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    yield "pip", [*install, "--upgrade", pip], ""
    yield "install", [*install, f"leanthink{extra} @ {archive.absolute().as_uri()}"], ""
    yield "pip check", [python, "-m", "pip", "check", "--disable-pip-version-check"], "No broken requirements found"
    command = str(Path(python).parent / "leanthink")
    yield "--version", [command, "--version"], f"leanthink {version}"
    yield "verify", [command, "verify", "0.5", r"\boxed{50\%}"], "correct"
    for name in dict.fromkeys(("", case.extra)):
        yield f"import {name or 'core'}", [python, "-I", "-c", PROBES[name]], "ok"
    if case.extra == "verl":
        yield "show --verl", [command, "show", "trle", "--verl", "--profile", "cpu"], "leanthink.verl.cpu.main"
        yield "doctor", [command, "doctor", "--json"], '"ok"'


def try_case(case: Case, archive: Path, version: str, interpreter: str, run: Run = run_command) -> Result:
    """Make the environment, go through the steps, and remove it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="leanthink-install-") as folder:
        python = str(Path(folder) / "venv" / "bin" / "python")
        try:
            run([interpreter, "-m", "venv", str(Path(folder) / "venv")])
            for name, command, wanted in steps(case, archive, version, python):
                printed = run(command)
                if wanted not in printed:
                    raise StepError(f"{name}: no {wanted!r} in {printed.strip()[-300:]!r}")
            seen = run([python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"])
        except StepError as error:
            return Result(case=case.name, state="failed", seconds=time.monotonic() - began, found=str(error))
        return Result(
            case=case.name,
            state="passed",
            seconds=time.monotonic() - began,
            gigabytes=size_of(Path(folder)) / 1e9,
            found=told(json.loads(seen)),
        )


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def told(packages: Iterable[Mapping[str, str]]) -> str:
    """The versions that matter, of what pip lists.

    >>> told([{"name": "torch", "version": "2.13.0"}, {"name": "six", "version": "1.17.0"}])
    'torch 2.13.0'
    """
    found = {one["name"].lower(): one["version"] for one in packages}
    shown = ("pip", "torch", "antlr4-python3-runtime", "math-verify", "verl", "trl", "transformers", "ray")
    return ", ".join(f"{name} {found[name]}" for name in shown if name in found)


def interpreter_of(version: str, given: Mapping[str, str]) -> str | None:
    """A Python of that version: the one that was given, on the path, of pyenv, or this one; None without any."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [
        given.get(version),
        shutil.which(f"python{version}"),
        *(str(path / "bin" / "python") for path in sorted(pyenv.glob(f"{version}.*"))),
        sys.executable,
    ]
    code = "import sys; print('.'.join(map(str, sys.version_info[:2])), end='')"
    for candidate in filter(None, candidates):
        try:
            done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
        except OSError:
            continue
        if done.stdout == version:
            return candidate
    return None


def archives(folder: Path) -> dict[Kind, Path]:
    """The one wheel and the one source archive in a folder; they are built where there is none.

    Raises:
        SystemExit: there are several.
    """
    patterns: dict[Kind, str] = {"wheel": "leanthink-*.whl", "sdist": "leanthink-*.tar.gz"}
    if not any(list(folder.glob(pattern)) for pattern in patterns.values()):
        subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True)
    found: dict[Kind, Path] = {}
    for kind, pattern in patterns.items():
        paths = list(folder.glob(pattern))
        if len(paths) != 1:
            names = ", ".join(path.name for path in paths) or "none"
            raise SystemExit(f"{folder}: wanted one {kind}, there are {names}; empty the folder, and run this again")
        found[kind] = paths[0]
    return found


def version_of(archive: Path) -> str:
    """The version in the name of an archive.

    >>> version_of(Path("dist/leanthink-0.2.0-py3-none-any.whl")), version_of(Path("leanthink-0.2.0.tar.gz"))
    ('0.2.0', '0.2.0')
    """
    return archive.name.removesuffix(".tar.gz").removesuffix(".whl").split("-")[1]


def kept(folder: Path, case: Case, archive: Path) -> Path:
    """Where a case's result lies: under the archive's sum, so that another archive is tried anew."""
    total = hashlib.sha256(archive.read_bytes()).hexdigest()[:12]
    return folder / total / f"{case.name.replace(' ', '_').replace('[', '-').replace(']', '')}.json"


def table(results: Sequence[Result]) -> str:
    """The results as lines of a Markdown table.

    >>> print(table([Result(case="py3.11 pip23.2.1 wheel", state="passed", seconds=61, gigabytes=0.9, found="a")]))
    | case | state | seconds | GB | found |
    |---|---|---|---|---|
    | py3.11 pip23.2.1 wheel | passed | 61 | 0.9 | a |
    """
    rows = [f"| {one.case} | {one.state} | {one.seconds:.0f} | {one.gigabytes:.1f} | {one.found} |" for one in results]
    return "\n".join(["| case | state | seconds | GB | found |", "|---|---|---|---|---|", *rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the cases, print the table; 1 where one failed, or with ``--strict`` was not run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="take the cases whose names hold all of these")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where the archives lie, or are built")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "install_matrix", help="where results are kept")
    parser.add_argument("--python", action="append", default=[], metavar="3.12=PATH", help="an interpreter; repeatable")
    parser.add_argument("--strict", action="store_true", help="a Python that is not here is a failure")
    args = parser.parse_args(arguments)
    given = dict(one.split("=", 1) for one in args.python)
    found = archives(args.dist)
    results = []
    chosen = [case.name for case in CASES if case.name == " ".join(args.words)]
    chosen = chosen or [case.name for case in CASES if all(word in case.name for word in args.words)]
    for case in CASES:
        if case.name not in chosen:
            continue
        archive = found[case.kind]
        path = kept(args.out, case, archive)
        result = Result(**json.loads(path.read_text("utf-8"))) if path.exists() else None
        if result is None or result.state != "passed":
            interpreter = interpreter_of(case.python, given)
            if interpreter is None:
                result = Result(case=case.name, state="not run", found=f"no Python {case.python} here")
            else:
                print(f"{case.name} ...", file=sys.stderr, flush=True)
                result = try_case(case, archive, version_of(archive), interpreter)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
        results.append(result)
    if not results:
        print(f"no case holds {' and '.join(args.words)}; cases: {', '.join(case.name for case in CASES)}")
        return 1
    print(table(results))
    bad = {"failed", "not run"} if args.strict else {"failed"}
    return int(any(result.state in bad for result in results))


if __name__ == "__main__":
    sys.exit(main())
