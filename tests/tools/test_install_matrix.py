"""The install matrix: what it does in an environment, what it keeps, and when it says no."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install_matrix", ROOT / "tools/install_matrix.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["install_matrix"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    folder.mkdir()
    for name in ("leanthink-0.2.0-py3-none-any.whl", "leanthink-0.2.0.tar.gz"):
        (folder / name).write_text(name)
    return folder


class Commands:
    """Stands for the commands of an environment: remembers them, answers as a sound one, fails where it is told."""

    def __init__(self, tool: ModuleType, fails: str = "", **answers: str) -> None:
        self.tool, self.fails, self.asked = tool, fails, list[str]()
        self.answers = {"pip check": "No broken requirements found.", "--version": "leanthink 0.2.0", **answers}

    def __call__(self, command: Sequence[str]) -> str:
        text = " ".join(command)
        self.asked.append(text)
        if self.fails and self.fails in text:
            raise self.tool.StepError("no matching distribution")
        if "pip list" in text:
            return json.dumps([{"name": "antlr4-python3-runtime", "version": "4.9.3"}])
        known = next((answer for words, answer in self.answers.items() if words in text), None)
        return known or 'ok correct leanthink.verl.cpu.main "ok"'


def test_every_extra_pip_and_python_is_a_case(tool: ModuleType) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = project.partition("optional-dependencies]")[2].partition("[project")[0]
    ours = {"gpu", "dev", "docs"}  # gpu's packages run on none of our machines; the others are for a checkout
    assert set(re.findall(r"^(\w+) = \[", listed, re.M)) - {case.extra for case in tool.CASES} == ours
    for pip in (tool.OLD_PIP, "newest"):
        assert {case.extra for case in tool.CASES if case.pip == pip} >= {"", "verl", "trl", "watch"}
        assert {case.kind for case in tool.CASES if case.pip == pip} == {"wheel", "sdist"}
    assert not any(case.extra == "verl" for case in tool.CASES if case.python == "3.13")
    names = [case.name for case in tool.CASES]
    assert len(set(names)) == len(names)


def test_a_case_installs_the_archive_with_its_pip_and_judges_percent(tool: ModuleType, dist: Path) -> None:
    run = Commands(tool)
    case = tool.Case(python="3.11", pip="23.2.1", extra="verl")
    archive = dist / "leanthink-0.2.0-py3-none-any.whl"
    result = tool.try_case(case, archive, "0.2.0", "python3.11", run)
    assert (result.state, result.found) == ("passed", "antlr4-python3-runtime 4.9.3")
    venv, pip, install, check, *tried = run.asked
    assert venv.startswith("python3.11 -m venv ") and pip.endswith("--upgrade pip==23.2.1")
    assert install.endswith(f"leanthink[verl] @ {archive.as_uri()}") and check.count("pip check")
    assert any(one.endswith(r"verify 0.5 \boxed{50\%}") for one in tried)
    assert sum(" -I -c " in one for one in tried) == 2 and any("doctor --json" in one for one in tried)
    assert not Path(venv.rpartition(" ")[2]).exists()


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ({"fails": "pip install"}, "no matching distribution"),
        ({"verify 0.5": "wrong: number, 50 is not 0.5"}, "verify: no 'correct'"),
        ({"--version": "leanthink 0.1.0"}, "--version: no 'leanthink 0.2.0'"),
        ({"pip check": "omegaconf 2.3 has requirement antlr4-python3-runtime==4.9.*"}, "pip check: no"),
    ],
)
def test_what_is_not_as_it_should_be_fails_the_case(
    tool: ModuleType, dist: Path, trouble: dict[str, str], told: str
) -> None:
    run = Commands(tool, **trouble)
    case = tool.Case(python="3.11", pip="newest")
    result = tool.try_case(case, dist / "leanthink-0.2.0-py3-none-any.whl", "0.2.0", "python3.11", run)
    assert result.state == "failed" and told in result.found


def test_what_passed_is_kept_and_what_failed_is_tried_again(
    tool: ModuleType, dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[str] = []
    states = {"py3.11 pipnewest wheel[trl]": "failed"}

    def try_case(case, archive, version, interpreter):
        tried.append(case.name)
        return tool.Result(case=case.name, state=states.get(case.name, "passed"), found=version)

    monkeypatch.setattr(tool, "try_case", try_case)
    monkeypatch.setattr(
        tool, "interpreter_of", lambda version, given: None if version == "3.13" else given.get(version)
    )
    words = ["--dist", str(dist), "--out", str(tmp_path / "kept"), "--python", "3.11=a", "--python", "3.12=b"]
    assert tool.main(words) == 1
    first, out = len(tried), capsys.readouterr().out
    assert first == sum(case.python != "3.13" for case in tool.CASES)
    assert "| py3.11 pipnewest wheel[trl] | failed |" in out and "| py3.13 pipnewest wheel | not run |" in out
    states.clear()
    assert tool.main(words) == 0
    assert tried[first:] == ["py3.11 pipnewest wheel[trl]"]
    assert tool.main([*words, "--strict"]) == 1  # no Python 3.13
    (dist / "leanthink-0.2.0.tar.gz").write_text("another")
    assert tool.main([*words, "3.11"]) == 0
    assert all("sdist" in name for name in tried[first + 1 :]) and len(tried) == first + 3
    assert tool.main([*words, "2.7"]) == 1
    capsys.readouterr()
    assert tool.main([*words, "py3.11", "pipnewest", "wheel"]) == 0  # a whole name: that case alone
    assert capsys.readouterr().out.count("| py") == 1


def test_two_wheels_are_refused_by_name(tool: ModuleType, dist: Path) -> None:
    (dist / "leanthink-0.1.0-py3-none-any.whl").write_text("")
    with pytest.raises(SystemExit, match=r"wanted one wheel, there are .*0\.1\.0"):
        tool.archives(dist)


def test_this_python_is_found_and_what_does_not_start_is_none(tool: ModuleType, tmp_path: Path) -> None:
    own = "{}.{}".format(*sys.version_info[:2])
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    found = tool.interpreter_of(own, {own: str(broken)})
    done = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Python {own}.")
    assert tool.interpreter_of("3.99", {}) is None


def test_a_command_that_fails_says_its_last_lines(tool: ModuleType) -> None:
    with pytest.raises(tool.StepError, match="at last"):
        tool.run_command([sys.executable, "-c", "raise SystemExit('at last')"])
    assert tool.run_command([sys.executable, "-c", "import os; print('PYTHONPATH' in os.environ)"]) == "False\n"
