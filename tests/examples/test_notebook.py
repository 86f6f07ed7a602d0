"""The notebooks' cells, from the top down, on a machine without a GPU."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import notebooks
from leanthink.cli import main

NOTEBOOK = Path(__file__).parents[2] / "examples" / "trl_colab.ipynb"


def cells() -> list[str]:
    """The code of each cell; what is said to Jupyter alone is left out."""
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]
    return ["\n".join(line for line in one.splitlines() if not line.startswith(("%", "!"))) for one in code]


def test_the_notebook_runs_from_the_top_down(tmp_path: Path) -> None:
    script = "import matplotlib\nmatplotlib.use('Agg')\nimport torch\ntorch.cuda.is_available = lambda: False\n"
    done = subprocess.run(
        [sys.executable, "-c", script + "\n".join(cells())], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "with the note\n" in done.stdout and "accuracy" in done.stdout
    summary = json.loads((tmp_path / "runs" / "trle" / "summary.json").read_text())
    assert (summary["recipe"], summary["steps"], summary["before"]["questions"]) == ("trle", 3, 80)
    assert (tmp_path / "report" / "report.html").exists()
    assert "Side by side" in done.stdout


def test_it_says_how_it_is_installed_and_holds_no_results() -> None:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert any("%pip install --quiet 'leanthink[trl]'" in "".join(cell["source"]) for cell in content["cells"])
    assert all(not cell.get("outputs") for cell in content["cells"])


QUICKSTART = NOTEBOOK.with_name("quickstart.ipynb")


def test_the_quickstart_prints_what_stands_below_its_cells(tmp_path: Path) -> None:
    shutil.copy(QUICKSTART.with_suffix(".jsonl"), tmp_path)
    script = Path(notebooks.__file__)
    command = [sys.executable, str(script), str(QUICKSTART)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout)
    cells = notebooks.code_cells(QUICKSTART)
    assert len(told) == len(cells) and sum(one["figures"] for one in told) == 1
    for one, cell in zip(told, cells, strict=True):
        kept = "".join("".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream")
        assert one["text"] == kept, cell["id"]
        assert one["figures"] == sum(output["output_type"] == "display_data" for output in cell["outputs"])


def test_the_quickstart_is_small_and_needs_the_core_alone() -> None:
    assert QUICKSTART.stat().st_size < 100_000 and QUICKSTART.with_suffix(".jsonl").stat().st_size < 120_000
    code = "\n".join(cell["source"] for cell in notebooks.code_cells(QUICKSTART))
    assert set(re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE)) == {
        "dataclasses", "json", "leanthink", "matplotlib", "pathlib",
    }  # fmt: skip
    assert not re.search(r"leanthink\.(verl|trl)\b", code)
    assert len(QUICKSTART.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()) == 400


def test_the_commands_of_the_quickstart_are_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = json.loads(QUICKSTART.read_text(encoding="utf-8"))["cells"]
    text = "".join(cells[-1]["source"])
    commands = [line.strip() for line in text.splitlines() if line.startswith("    leanthink ")]
    assert [line.split()[1] for line in commands] == ["score", "train", "show"]
    score = shlex.split(commands[0])[1:]
    score = [str(QUICKSTART.with_suffix(".jsonl")) if word == "quickstart.jsonl" else word for word in score]
    score = [str(tmp_path / "score.html") if word == "score.html" else word for word in score]
    assert main(score) == 0 and (tmp_path / "score.html").exists()
    assert main(["show", *shlex.split(commands[1])[2:], "--verl"]) == 0
    assert main(shlex.split(commands[2])[1:]) == 0
    assert "MODEL" in capsys.readouterr().out
