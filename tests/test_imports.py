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

ALLOWED = {  # a room, or a file beside the rooms -> those it may import
    "core": set(),
    "algorithms": {"core"},
    "files": {"core"},
    "terminal": {"core"},
    "recipes": set(),
    "rewards": {"core"},
    "runs": {"core", "files"},
    "verify": {"core"},
    "__init__": {"core", "algorithms", "recipe", "replay", "training", "verify"},  # what an author needs, named
    "cli": {"core", "terminal", "__init__", "doctor"},
    "__main__": {"cli"},
    "metrics": {"core", "verify"},
    "merge": {"core", "files", "algorithms", "__init__"},
    "data": {"core", "files", "rewards", "verify"},
    "recipe": {"core", "files", "algorithms", "rewards"},
    "replay": {"core", "files", "algorithms", "data", "recipe", "rewards", "verify"},
    "testbed": {"core", "files", "data", "rewards"},
    "training": {"core", "files", "algorithms", "recipe", "rewards", "runs", "verify"},
    "testing": {"core", "algorithms", "recipe"},
    "doctor": {"core", "files", "testbed", "trl", "verify", "verl"},
    "reporting": {"core", "files", "data", "metrics", "recipe", "replay", "rewards", "runs", "testbed", "verify"},
    "sweep": {"core", "files", "recipe", "reporting", "runs"},
    "trl": {"core", "files", "algorithms", "data", "recipe", "rewards", "runs", "testbed", "training", "verify"},
    "verl": {"core", "files", "algorithms", "recipe", "rewards", "runs", "testbed", "training", "verify"},
}
VERL = {  # the same inside verl/, by the process a line runs in
    "hydra": set(),
    "settings": set(),
    "rollout": {"settings"},
    "update": {"hydra", "settings"},
    "driver": {"rollout", "settings", "update"},
    "cpu": {"driver", "hydra", "rollout"},
    "plugin": {"cpu", "driver", "hydra"},
    "start": {"cpu", "hydra", "rollout", "settings", "update"},
}
ALLOWED["commands"] = {*ALLOWED, "commands"} - {"__main__"}
HOSTS = {"verl": {"verl", "ray", "transfer_queue", "vllm"}, "trl": {"trl", "accelerate"}}
"""A room -> the packages that it alone imports."""


def sources() -> Iterator[tuple[str, ...]]:
    """Every source file of leanthink, as a path below the package without its ending."""
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for file in sorted(files):
            if file.endswith(".py"):
                yield (Path(folder) / file).relative_to(PACKAGE).with_suffix("").parts


def file_of(source: tuple[str, ...]) -> Path:
    return PACKAGE.joinpath(*source).with_suffix(".py")


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


def ours(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line and path below the package of every module of leanthink that a file imports."""
    for line, name in imported(path):
        first, *rest = name.split(".")
        if first != "leanthink":
            continue
        while rest and not (PACKAGE.joinpath(*rest).is_dir() or file_of(tuple(rest)).exists()):
            rest.pop()  # a name in a module
        yield line, tuple(rest) or ("__init__",)


SOURCES = sorted(sources())
FILES = [pytest.param(source, id="/".join(source)) for source in SOURCES]


@pytest.mark.parametrize("source", FILES)
def test_imports_point_one_way(source: tuple[str, ...]) -> None:
    room = source[0]
    assert room in ALLOWED, f"{room}: a new room; say in ALLOWED what it may import"
    for line, target in ours(file_of(source)):
        where = f"{'/'.join(source)}.py:{line} imports {'.'.join(target)}"
        if target[0] != room:
            assert target[0] in ALLOWED[room], f"{where}; {room} may import {sorted(ALLOWED[room])}"
        elif room == "verl" and source[1] != "__init__" and len(target) > 1 and target[1] != source[1]:
            assert target[1] in VERL[source[1]], f"{where}; verl/{source[1]} may import {sorted(VERL[source[1]])}"


@pytest.mark.parametrize("source", FILES)
def test_only_a_trainers_room_imports_its_trainer(source: tuple[str, ...]) -> None:
    owner = {host: room for room, hosts in HOSTS.items() for host in hosts}
    for line, name in imported(file_of(source)):
        host = name.partition(".")[0]
        assert owner.get(host, source[0]) == source[0], f"{'/'.join(source)}.py:{line} imports {name}"


def test_the_rules_themselves_have_no_circle() -> None:
    for rules in (ALLOWED, VERL):
        left = {room: below - {room} for room, below in rules.items()}
        while left:
            ground = {room for room, below in left.items() if not below & left.keys()}
            assert ground, f"these rooms may import each other in a circle: {sorted(left)}"
            left = {room: below for room, below in left.items() if room not in ground}


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = {source: {target for _, target in ours(file_of(source))} - {source} for source in SOURCES}
    while left:
        ground = {source for source, below in left.items() if not below & left.keys()}
        assert ground, f"these modules import each other in a circle, or stand above one: {sorted(left)}"
        left = {source: below for source, below in left.items() if source not in ground}


@pytest.mark.parametrize("source", FILES)
def test_no_module_is_longer_than_400_lines(source: tuple[str, ...]) -> None:
    assert len(file_of(source).read_text(encoding="utf-8").splitlines()) <= 400


def test_the_rules_see_imports_in_functions_and_by_name(tmp_path: Path) -> None:
    path = tmp_path / "sly.py"
    path.write_text("def f():\n    from verl import x\n    import ray.util\n    importlib.import_module('vllm.a')\n")
    assert sorted(imported(path)) == [(2, "verl.x"), (3, "ray.util"), (4, "vllm.a")]


def run(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)


def test_using_the_library_imports_no_host(tmp_path: Path) -> None:
    code = """
import sys
import leanthink.rewards, leanthink.algorithms, leanthink.recipe.definition, leanthink.recipe.scoring
import leanthink.testing
leanthink.recipe.definition.load_recipe("trle")
hosts = {"verl", "ray", "vllm", "transformers", "transfer_queue", "tensordict", "hydra", "omegaconf", "safetensors"}
print(sorted(hosts & {name.partition(".")[0] for name in sys.modules}))
"""
    result = run(code, tmp_path)
    assert result.stdout == "[]\n", result.stderr


def test_training_knows_no_trainer(tmp_path: Path) -> None:
    code = """
import sys
import leanthink.training
trainers = {"verl", "ray", "vllm", "trl", "transformers", "transfer_queue", "tensordict", "accelerate", "omegaconf"}
print(sorted(trainers & {name.partition(".")[0] for name in sys.modules}))
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


def test_importing_the_package_imports_nothing_else(tmp_path: Path) -> None:
    code = """
import sys
import leanthink
print([name for name in sys.modules if name.startswith(("leanthink.", "torch", "numpy"))])
from leanthink import Reward, Recipe, Verifier, batch_from_texts, kept_groups, load_recipe, schedules, score_step
hosts = {"verl", "ray", "vllm", "trl", "transformers", "transfer_queue", "hydra", "omegaconf"}
print(sorted(hosts & {name.partition(".")[0] for name in sys.modules}))
"""
    result = run(code, tmp_path)
    assert result.stdout == "[]\n[]\n", result.stderr


def test_what_starts_verl_lies_where_it_is_looked_for() -> None:
    """`make verl-tests` collects tests/verl alone: all others take a minute to collect."""
    mark = "pytest.mark." + "verl"
    files = [path for path in (ROOT / "tests").rglob("*.py") if mark in path.read_text(encoding="utf-8")]
    assert {path.relative_to(ROOT).parts[:2] for path in files} == {("tests", "verl")}


def test_public_names_are_there() -> None:
    """Those that type checkers see are those that are found when asked for."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    seen = next(node for node in tree.body if isinstance(node, ast.If))
    named = {alias.name for node in seen.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert named == set(leanthink.__all__) <= set(dir(leanthink))
    for name in leanthink.__all__:
        assert getattr(leanthink, name) is not None
    with pytest.raises(AttributeError, match="module 'leanthink' has no attribute 'Rewrad'"):
        _ = leanthink.Rewrad
    assert (PACKAGE / "py.typed").exists()
