"""A command that was pasted, not started by `train`: verl runs it, and the commands read what it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from leanthink.cli import main
from leanthink.reporting.live.follow import Followed
from leanthink.runs.folder import Run
from leanthink.testbed.rows import write_parquet

pytestmark = [pytest.mark.verl, pytest.mark.timeout(1200)]


def test_a_pasted_run_is_reported_watched_and_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a run"
    write_parquet(folder / "data")
    options = ["--profile", "cpu", "--steps", "2", "--keep-rollouts", "--out", str(folder), "data.val_max_samples=8"]
    assert main(["show", "trle", *options, "--verl"]) == 0
    command = capsys.readouterr().out.replace("python -m", f"{sys.executable} -P -m", 1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with (tmp_path / "log").open("wb") as log:
        done = subprocess.run(["bash", "-c", command], cwd=elsewhere, stdout=log, stderr=log, env=os.environ)
    assert done.returncode == 0, (tmp_path / "log").read_text(errors="replace")[-3000:]
    assert list(elsewhere.iterdir()) == []  # everything lies in the run's folder

    run = Run(folder=folder)
    assert run.evaluated_steps() == [0, 2] and run.last_checkpoint() == 2
    assert [row["step"] for row in run.read_metrics() if "leanthink/accuracy" in row] == [1, 2]
    assert main(["report", str(folder), "--out", str(tmp_path / "report")]) == 0
    assert "trle" in (tmp_path / "report" / "report.html").read_text() or "a run" in capsys.readouterr().out
    state = Followed(folder).state()
    assert state["step"] == 2 and state["rollouts"]["training"] == [1, 2]
    capsys.readouterr()
    assert main(["score", str(folder)]) == 0
    assert "the rewards of 256 responses are those that the run gave" in " ".join(capsys.readouterr().out.split())
