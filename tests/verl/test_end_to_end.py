"""Real verl on the CPU: a run is killed between checkpoints, goes on, and reports; slow, so marked."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from leanthink.files.reading import read_jsonl
from leanthink.runs.folder import Run

pytestmark = [pytest.mark.verl, pytest.mark.timeout(900)]

REWARDS = '''
from dataclasses import dataclass

import torch

from leanthink import StatefulReward


@dataclass(frozen=True, kw_only=True)
class StepsSeen(StatefulReward):
    """A term that counts the training steps before this one, divided by 1000."""

    is_term = True

    def init(self):
        return {"steps": 0}

    def update(self, batch, state):
        value = torch.full((len(batch),), state["steps"] / 1000, dtype=torch.float64)
        return value, {"steps": state["steps"] + 1}
'''

RECIPE = """
reward:
  sum:
    length: {sigmoid_length: {alpha: 0.2}}
    seen: "steps_seen:StepsSeen"
    format: {scale: {by: 0.01, of: format}}
advantage: rloo
"""

STEPS = 5


def command(folder: Path, *overrides: str) -> list[str]:
    program = [sys.executable, "-m", "leanthink", "train", "counting.yaml", "--trust-code", "--profile", "cpu"]
    return [*program, "--out", str(folder), "--steps", str(STEPS), "--seed", "3", "trainer.save_freq=2", *overrides]


def wait_for(condition, process: subprocess.Popen, what: str) -> None:
    deadline = time.monotonic() + 400
    while not condition():
        assert process.poll() is None, f"the run ended while waiting for {what}"
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("end_to_end")
    (folder / "steps_seen.py").write_text(REWARDS, encoding="utf-8")
    (folder / "counting.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def killed_and_resumed(place) -> Run:
    """A run that is killed with SIGKILL after step 3, one step past a checkpoint, and started again."""
    run = Run(folder=place / "run")
    with (place / "first.txt").open("w") as out:
        process = subprocess.Popen(command(run.folder), cwd=place, stdout=out, stderr=subprocess.STDOUT)
    wait_for(lambda: any(row["step"] >= 3 for row in run.read_metrics()), process, "step 3")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert run.last_checkpoint() in (2, 4)
    assert not run.summary.exists()

    refused_or_done = None
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:  # verl ends a moment after its parent; until then the folder is locked
        refused_or_done = subprocess.run(command(run.folder), cwd=place, capture_output=True, text=True, timeout=600)
        if "is being trained by another process" not in refused_or_done.stderr:
            break
        time.sleep(1)
    assert refused_or_done is not None
    assert refused_or_done.returncode == 0, refused_or_done.stderr + refused_or_done.stdout
    return run


def test_it_goes_on_with_the_same_reward_state(killed_and_resumed):
    rows = {row["step"]: row for row in killed_and_resumed.read_metrics()}
    trained = sorted(step for step in rows if step > 0)
    assert trained == list(range(1, STEPS + 1))
    for step in trained:
        assert rows[step]["leanthink/part/seen"] == pytest.approx((step - 1) / 1000)
    attempts = sorted(killed_and_resumed.attempts.glob("*.jsonl"))
    assert len(attempts) == 2
    resumed_at = min(row["step"] for row in read_jsonl(attempts[1]))
    assert resumed_at in (3, 5)


def test_every_named_part_and_fact_is_in_the_metrics(killed_and_resumed):
    row = killed_and_resumed.read_metrics()[-1]
    for name in ("accuracy", "truncated_share", "length/all", "reward/all", "part/length", "part/format", "part/seen"):
        assert isinstance(row[f"leanthink/{name}"], float), name
    assert row["leanthink/unknown_share"] == 0.0
    assert row["leanthink/groups/size"] == 8.0
    # verl's own score is the shaped reward that was written back.
    assert row["critic/score/mean"] == pytest.approx(row["leanthink/reward/all"], abs=1e-5)


def test_summary_and_validation(killed_and_resumed):
    summary = killed_and_resumed.read_summary()
    assert (summary["recipe"], summary["steps"]) == ("counting", STEPS)
    for moment, step in (("before", 0), ("after", STEPS)):
        figures = summary[moment]
        assert figures["step"] == step
        assert figures["questions"] >= 512
        assert 0.5 < figures["accuracy"] <= 1
        assert set(figures["by_difficulty"]) == {"2", "3", "4", "5", "6"}
    assert summary["seconds"]["per_step"]["gen"] > 0
    # Validation shows raw correctness, whatever the recipe shapes.
    rows = killed_and_resumed.evaluations()[STEPS]
    assert {row["score"] for row in rows} <= {0.0, 1.0}
    assert all(row["score"] == row["acc"] for row in rows)


def test_the_checkpoint_holds_the_reward_state(killed_and_resumed):
    folder = killed_and_resumed.checkpoints / f"global_step_{STEPS}"
    content = json.loads((folder / "leanthink.json").read_text(encoding="utf-8"))
    assert content["state"] == {"seen": {"steps": STEPS}}
    assert (content["recipe"], content["step"]) == ("counting", STEPS)


def test_another_recipe_is_refused_and_nothing_is_written_over(killed_and_resumed, place):
    before = {path: path.stat().st_mtime_ns for path in killed_and_resumed.folder.rglob("*.json*")}
    arguments = [sys.executable, "-m", "leanthink", "train", "kimi", "--profile", "cpu"]
    done = subprocess.run(
        [*arguments, "--out", str(killed_and_resumed.folder)], cwd=place, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "holds a run that began otherwise: recipe.reward" in done.stderr
    assert "--out" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in killed_and_resumed.folder.rglob("*.json*")} == before


def test_async_trainer_mode(place):
    """The other family of trainer modes shapes whole groups, too."""
    run = Run(folder=place / "async")
    overrides = ("trainer.v1.trainer_mode=colocate_async", "trainer.total_training_steps=2")
    done = subprocess.run(command(run.folder, *overrides), cwd=place, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr + done.stdout
    rows = [row for row in run.read_metrics() if row["step"] > 0]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["leanthink/groups/size"] == 8.0 for row in rows)
    # What the engine sampled and what the trainer computes are the same policy, but for one stale step.
    assert rows[0]["training/rollout_probs_diff_max"] < 0.05
