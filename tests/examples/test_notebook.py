"""The notebook's cells, from the top down, on a machine without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
