"""Every example runs and prints something."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from leanthink.runs.folder import Run

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)], capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not (tmp_path / "runs").exists()  # a plan leaves nothing behind
    if path.stem == "04_any_trainer":  # tokens fall under a trainer of one's own
        tokens = [float(number) for number in re.findall(r"([\d.]+) tokens$", done.stdout, flags=re.MULTILINE)]
        assert len(tokens) == 20 and sum(tokens[-5:]) < sum(tokens[:5]), done.stdout


def test_there_are_examples():
    assert [path.stem for path in EXAMPLES] == ["01_compose", "02_own_reward", "03_sweep", "04_any_trainer"]


def test_the_table_of_a_sweep_is_compared_by_variant(tmp_path, capsys):
    rows = [
        {"variant": variant, "moment": moment, "mean_tokens": tokens, "accuracy": accuracy, "status": status}
        for variant, moment, tokens, accuracy, status in (
            ("mild", "before", 40.0, 0.75, "finished"),
            ("mild", "after", 30.0, 0.7, "finished"),
            ("mild", "after", 32.0, 0.8, "finished"),
            ("strong", "after", 10.0, 0.2, "collapsed"),
        )
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "results.parquet")
    runpy.run_path(str(ROOT / "examples" / "03_sweep.py"))["compare"](tmp_path / "results.parquet")
    lines = capsys.readouterr().out.splitlines()
    assert "strong   10.0 tokens  20.0% right  1 seeds, collapsed" in lines[0]
    assert "mild   31.0 tokens  75.0% right  2 seeds, finished" in lines[1]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_sweep_trains(tmp_path):
    """As `make sweep` does: eight runs with real verl."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "03_sweep.py"), "--run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pyarrow.parquet.read_table(tmp_path / "runs" / "sweep" / "results.parquet").to_pylist()
    assert sum(row["moment"] == "after" for row in rows) == 8
    for folder in (tmp_path / "runs" / "sweep" / "runs").iterdir():
        assert Run(folder=folder).read_summary()["steps"] == 16
