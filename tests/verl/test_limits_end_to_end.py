"""Real verl on the CPU: each prompt has its own limit in the rollout, and keeps it over a resume; slow, so marked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from leanthink.runs.folder import Run

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

RECIPE = """
reward: {difficulty_truncation: {thresholds: [0.5], lengths: [56, 32]}}
advantage: {batch_norm: {boost: 0.1}}
limit: {per_pass_rate: {thresholds: [0.5], lengths: [56, 32]}}
"""

# The same sixteen prompts in every step.
OVERRIDES = ("data.train_max_samples=16", "trainer.save_freq=1", "leanthink.truncated=mask")


def train(folder: Path, steps: int) -> None:
    program = [sys.executable, "-m", "leanthink", "train", str(folder / "mine.yaml"), "--profile", "cpu"]
    arguments = ["--out", str(folder / "run"), "--steps", str(steps), "--seed", "3", *OVERRIDES]
    done = subprocess.run([*program, *arguments], cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.fixture(scope="module")
def resumed(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("limits")
    (folder / "mine.yaml").write_text(RECIPE, encoding="utf-8")
    train(folder, 2)
    train(folder, 3)
    return Run(folder=folder / "run")


def rates_after(run: Run, step: int) -> dict[str, float]:
    path = run.checkpoints / f"global_step_{step}" / "leanthink.json"
    return json.loads(path.read_text(encoding="utf-8"))["limit_state"]["pass_rate"]


def test_each_prompt_has_the_limit_of_its_last_pass_rate(resumed):
    rows = {row["step"]: row for row in resumed.read_metrics()}
    assert rows[1]["leanthink/limit"] == 56
    for step in (2, 3):  # the third began with what the second had saved
        rates = rates_after(resumed, step - 1)
        assert len(rates) == 16
        expected = [32 if rate >= 0.5 else 56 for rate in rates.values()]
        assert 32 in expected
        assert rows[step]["leanthink/limit"] == pytest.approx(sum(expected) / 16)
        assert rows[step]["response_length/max"] <= max(expected)


def test_cut_responses_are_flagged_and_leave_the_loss(resumed):
    for row in resumed.read_metrics():
        if row["step"] > 0:
            assert row["leanthink/truncated_share"] == row["leanthink/filtered_share"] > 0


def test_validation_has_the_whole_response_limit(resumed):
    for rows in resumed.evaluations().values():
        assert {row["limit"] for row in rows} == {96}
        assert max(row["length"] for row in rows) > 56
