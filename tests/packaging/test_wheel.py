"""What users install: the wheel and the source archive hold everything, links included."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "leanthink"
LINKS = ("rewards", "algorithms", "recipes")


def can_build_here() -> bool:
    """Whether the build backend is installed, so that no isolated environment has to be made."""
    try:
        return int(version("setuptools").split(".")[0]) >= 77
    except PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive, built from a copy of what belongs to the project."""
    folder = tmp_path_factory.mktemp("build")
    copy = folder / "project"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", *LINKS):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    command = [sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(copy)]
    result = subprocess.run(
        [*command, "--no-isolation"] if can_build_here() else command, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder / "dist"


def expected() -> set[str]:
    """Every file of the package that has to reach the user."""
    files = {path for folder in (PACKAGE, *(PACKAGE / link for link in LINKS)) for path in folder.rglob("*.py")}
    files |= set((PACKAGE / "recipes").rglob("*.yaml")) | {PACKAGE / "py.typed", PACKAGE / "recipes" / "README.md"}
    files |= {path for path in (PACKAGE / "testbed" / "policies").glob("*/*") if path.is_file()}
    return {str(path.relative_to(PACKAGE.parent)) for path in files if "__pycache__" not in path.parts}


def test_the_wheel_holds_every_file(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert expected() - names == set()
    assert {
        "leanthink/rewards/correct.py",
        "leanthink/algorithms/advantages.py",
        "leanthink/recipes/trle.yaml",
    } <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"leanthink"}


def test_the_source_archive_holds_every_file_as_a_file(built: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        members = {member.name.partition("/")[2]: member for member in archive.getmembers()}
    assert {f"src/{name}" for name in expected()} - members.keys() == set()
    assert all(member.isfile() or member.isdir() for member in members.values())


def test_the_entry_points_are_there(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        text = archive.read(name).decode()
    entries = configparser.ConfigParser()
    entries.read_string(text)
    assert entries["console_scripts"]["leanthink"] == "leanthink.cli:main"
    assert entries["verl.plugins"]["leanthink"] == "leanthink.verl.plugin"
    for section in entries.sections():
        for target in entries[section].values():
            module = Path(*target.partition(":")[0].split("."))
            assert (ROOT / "src" / module).with_suffix(".py").exists(), target
