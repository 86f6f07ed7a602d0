"""Which module may import which; read from the sources, imports inside functions included."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import leanthink

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "leanthink"
LINKS = ("rewards", "algorithms", "recipes")

KERNEL = {
    *("errors", "functions", "groups", "schedules", "batch", "placement", "module", "measured", "control", "history"),
    *("limits", "stopping", "boxes"),
}
ALLOWED = {  # top-level part -> the parts of leanthink it may import
    "errors": set(),
    "functions": {"errors"},
    "groups": {"errors"},
    "schedules": {"errors"},
    "batch": {"errors", "groups"},
    "placement": set(),
    "module": {"errors", "groups", "schedules", "batch", "placement"},
    "measured": {"batch", "module"},
    "control": {"errors", "groups", "schedules", "batch", "placement", "module"},
    "history": {"errors", "groups", "batch"},
    "limits": {"errors", "groups", "schedules", "batch", "placement", "module", "control", "history"},
    "stopping": {"errors"},
    "boxes": set(),
    "rewards": {*KERNEL, "rewards"},
    "algorithms": {"errors", "groups", "schedules", "algorithms"},
    "metrics": {"errors", "metrics"},
    "recipes": set(),
    "config": {*KERNEL, "rewards", "algorithms"},
    "recipe": {*KERNEL, "rewards", "algorithms", "config"},
    "scoring": {*KERNEL, "rewards", "algorithms", "config", "recipe"},
    "testing": {*KERNEL, "rewards", "algorithms", "config", "recipe", "scoring"},
    "__init__": {"batch", "measured", "module", "placement"},
}
MAY_IMPORT_OUR_VERL = {"cli", "commands", "verl"}
HOSTS = {"verl", "ray", "transfer_queue", "vllm"}


def sources() -> Iterator[tuple[str, Path]]:
    """Every source file with the top-level part of leanthink it belongs to."""
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for file in sorted(files):
            path = Path(folder) / file
            if path.suffix == ".py":
                yield path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a file imports, by statement or by name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            given = node.args[0] if node.args else None
            if isinstance(given, ast.Constant):
                yield node.lineno, str(given.value)


FILES = [pytest.param(part, path, id=str(path.relative_to(PACKAGE))) for part, path in sources()]


@pytest.mark.parametrize(("part", "path"), FILES)
def test_imports_point_one_way(part: str, path: Path) -> None:
    for line, name in imported(path):
        first, _, rest = name.partition(".")
        ours = rest.partition(".")[0]
        where = f"{path.relative_to(ROOT)}:{line} imports {name}"
        if first == "leanthink" and part in ALLOWED:
            known = ours in ALLOWED or (PACKAGE / ours).exists() or (PACKAGE / f"{ours}.py").exists()
            assert not known or ours in ALLOWED[part], f"{where}; {part} may import {sorted(ALLOWED[part])}"
        if first == "leanthink" and ours == "verl":
            assert part in MAY_IMPORT_OUR_VERL, where
        if first in HOSTS:
            assert part == "verl", where


@pytest.mark.parametrize(("part", "path"), FILES)
def test_no_module_is_longer_than_400_lines(part: str, path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_the_rules_see_imports_in_functions_and_by_name(tmp_path: Path) -> None:
    path = tmp_path / "sly.py"
    path.write_text("def f():\n    from verl import x\n    import ray.util\n    importlib.import_module('vllm.a')\n")
    assert sorted(imported(path)) == [(2, "verl.x"), (3, "ray.util"), (4, "vllm.a")]


def run(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)


def test_using_the_library_imports_no_host(tmp_path: Path) -> None:
    code = """
import sys
import leanthink, leanthink.rewards, leanthink.algorithms, leanthink.recipe, leanthink.scoring, leanthink.testing
leanthink.recipe.load_recipe("trle")
hosts = {"verl", "ray", "vllm", "transformers", "transfer_queue", "tensordict", "hydra", "omegaconf", "safetensors"}
print(sorted(hosts & {name.partition(".")[0] for name in sys.modules}))
"""
    result = run(code, tmp_path)
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.parametrize("name", LINKS)
def test_the_links_resolve_to_the_folders_at_the_root(name: str) -> None:
    link = PACKAGE / name
    assert link.is_symlink() and link.resolve() == (ROOT / name).resolve()
    assert not Path(os.readlink(link)).is_absolute()


@pytest.mark.parametrize("name", LINKS)
def test_importing_a_root_folder_by_itself_is_refused(name: str) -> None:
    result = run(f"import {name}", ROOT)
    assert result.returncode != 0
    assert f"ImportError: import leanthink.{name}, not {name}" in result.stderr


def test_public_names_are_there() -> None:
    assert all(hasattr(leanthink, name) for name in leanthink.__all__)
    assert (PACKAGE / "py.typed").exists()
