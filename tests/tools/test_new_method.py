"""``make method``: skeletons that fail until they are filled in, and names that are refused."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEW = ("rewards/my_method.py", "recipes/my_method.yaml", "tests/rewards/test_my_method.py")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a new method touches and is tried by, with the skeletons of ``my_method`` in it."""
    copy = tmp_path_factory.mktemp("project")
    folders = ("src", "rewards", "algorithms", "recipes", "tools")
    tests = ("rewards", "algorithms", "core", "contract", "recipes", "support", "conftest.py")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*folders, *(f"tests/{part}" for part in tests), "pyproject.toml", "conftest.py"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy / name)
    result = written(copy, "my_method")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[:5] == ["written:", "  rewards/__init__.py", *(f"  {path}" for path in NEW)]
    return copy


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    return subprocess.run(
        [sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def written(project: Path, name: str) -> subprocess.CompletedProcess[str]:
    return run(project, "tools/new_method.py", name)


def tried(project: Path, *selected: str) -> dict[str, str]:
    """What pytest says of each test: PASSED, FAILED or ERROR."""
    command = ("-m", "pytest", "-q", "-rA", "--tb=no", "-p", "no:cacheprovider", *selected)
    report = run(project, *command).stdout
    return {test: word for word, test in re.findall(r"^(PASSED|FAILED|ERROR) (\S+)", report, re.MULTILINE)}


OWN = ("tests/rewards/test_my_method.py", "src/leanthink/rewards/my_method.py")


def test_every_test_of_the_skeletons_fails(project: Path) -> None:
    outcomes = tried(project, *OWN)
    assert {test.rpartition("::")[2] for test in outcomes} == {
        "leanthink.rewards.my_method.MyMethod",
        "test_worked_example",
        "test_agrees_with_the_loop",
        "test_wrong_settings_are_refused",
    }
    assert set(outcomes.values()) == {"FAILED"}


def test_the_recipes_and_the_contracts_tests_do_not_pass_it_either(project: Path) -> None:
    """All but that the recipe is what its test file spells out, and goes to YAML and back."""
    outcomes = tried(project, "tests/contract/test_registry.py", "tests/recipes", "-k", "my_method or MyMethod")
    passed = {test.rpartition("::")[2] for test, word in outcomes.items() if word == "PASSED"}
    assert len(outcomes) > len(passed)
    assert passed <= {"test_the_yaml_is_the_python_object[my_method]", "test_it_goes_to_yaml_and_back[my_method]"}


def test_a_skeleton_that_is_filled_in_passes(project: Path, tmp_path: Path) -> None:
    filled = shutil.copytree(project, tmp_path / "project", symlinks=True)
    reward, _, test = (filled / path for path in NEW)
    fill(reward, r"raise NotImplementedError\(.*\)", "return -length_N / 1000 - (~correct_N).double() - 0 * group_N")
    fill(reward, r"(>>> MyMethod\(\)\(batch\)\[0\])\n", r"\1.tolist()\n    [-0.5, -2.0, -4.0]\n")
    fill(test, r"approx\(\[\]", "approx([-0.5, -2.0, -1.5, -3.0, -4.0, -2.5]")
    fill(test, r"raise NotImplementedError\(.*\)", "return [-n / 1000 - (not c) for n, c in zip(length, correct)]")
    fill(test, r"\n\n\ndef test_wrong_settings(.|\n)*", "\n")
    outcomes = tried(filled, *OWN)
    assert len(outcomes) == 3 and set(outcomes.values()) == {"PASSED"}


def fill(path: Path, pattern: str, text: str) -> None:
    """Replace the one match of a pattern in a file."""
    filled, count = re.subn(pattern, text, path.read_text())
    assert count == 1, f"{count} times {pattern} in {path}"
    path.write_text(filled)


def test_the_skeletons_are_formatted_and_their_lines_in_order(project: Path) -> None:
    for command in (["check"], ["format", "--check"]):
        result = run(project, "-m", "ruff", *command, "--no-cache", "rewards", "tests/rewards/test_my_method.py")
        assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("My-Method", "NAME is 'My-Method'; give lower-case words joined by _, as in make method NAME=kimi_length"),
        ("", "NAME is ''; give lower-case words"),
        ("lambda", "NAME is 'lambda'; give lower-case words"),
        ("on", "NAME is 'on'; give lower-case words"),
        ("by_2", "NAME is 'by_2'; give lower-case words"),
        ("kimi_length", "NAME is 'kimi_length', which is a registered reward already; choose another name"),
        ("linear", "NAME is 'linear', which is a registered schedule already; choose another name"),
        ("probed_reward", "NAME is 'probed_reward', and leanthink.rewards has a ProbedReward already; choose another"),
        ("trle", "NAME is 'trle', and recipes/trle.yaml is there already; choose another name, or remove the file"),
        ("segmentation", "NAME is 'segmentation', and rewards/segmentation.py is there already"),
    ],
)
def test_a_name_that_is_taken_or_is_none_is_refused(name: str, told: str) -> None:
    assert runpy.run_path(str(ROOT / "tools" / "new_method.py"))["refusal"](name).startswith(told)


def test_nothing_is_written_where_a_name_is_refused(project: Path) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    result = written(project, "my_method")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: NAME is 'my_method', ") and result.stderr.endswith("choose another name\n")
    assert {path: path.read_bytes() for path in before} == before
    assert {path for path in project.rglob("*") if path.is_file() and path.suffix != ".pyc"} == set(before)
