"""DRPO in real verl on two CPU ranks: groups reach the workers whole, nothing is lost; slow, so marked."""

import math
import subprocess
import sys

import pytest

from leanthink.runs.folder import Run

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

PROMPTS, UPDATES = 16, 4


@pytest.mark.parametrize("form", ["groups", "advantage"])
def test_two_ranks_train(form, tmp_path):
    run = Run(folder=tmp_path / "run")
    command = [sys.executable, "-m", "leanthink", "train", "drpo", f"loss.drpo.form={form}", "--profile", "cpu"]
    command += ["--gpus", "2", "--steps", "2", "--seed", "3", "--out", str(run.folder)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr + done.stdout
    rows = [row for row in run.read_metrics() if row["step"] > 0]
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        for name in ("objective", "kl", "penalty", "kl_exceeded"):
            assert math.isfinite(row[f"actor/drpo/{name}"]), name
        assert row["actor/loss"] == pytest.approx(row["actor/drpo/penalty"] - row["actor/drpo/objective"], abs=1e-5)
        assert 0 < row["leanthink/drpo/shortest_weight"] <= 1
        assert row["leanthink/correct_pushed_down_share"] == 0
        if form == "groups":  # what the driver counts is what the workers' micro-batches held
            kept = (1 - row["leanthink/groups/no_signal_share"]) * PROMPTS
            assert row["actor/drpo/kept_groups"] * UPDATES == pytest.approx(kept)
