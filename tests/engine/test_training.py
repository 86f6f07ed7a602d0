"""Two steps of real verl with its own vLLM server, by ``leanthink train --profile cpu --engine vllm``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from leanthink.core.installed import version_of
from leanthink.runs.folder import Run
from leanthink.testbed import policy_path
from leanthink.verl.cpu import vllm
from wider_heads import with_wider_heads

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(vllm.lacking(version_of)), reason=f"no vLLM here: {vllm.lacking(version_of)}"),
]

SMALL = (
    *("data.train_batch_size=8", "actor_rollout_ref.actor.ppo_mini_batch_size=8", "data.val_max_samples=64"),
    *("trainer.save_freq=1", "algorithm.rollout_correction.bypass_mode=false"),
)
STEPS = 2

FAMILIES = {  # one recipe of each, and what its way of sampling or its loss brings into the metrics
    "grpo": "accuracy",
    "trle": "correct_pushed_down_share",
    "grpo_lambda": "groups/no_signal_share",
    "thinkprune": "limit",
    "vsrm_rpp": "probe/count",
    "s_grpo": "groups/size",
    "adaptive_deep": "mode/long_preferred_share",
    "drpo": "drpo/shortest_weight",
}


def command(recipe: str, run: Run, *overrides: str, steps: int = STEPS) -> list[str]:
    program = [sys.executable, "-m", "leanthink", "train", recipe, "--profile", "cpu", "--engine", "vllm"]
    return [*program, "--out", str(run.folder), "--steps", str(steps), "--seed", "3", *SMALL, *overrides]


def trained(recipe: str, folder: Path, *overrides: str) -> list[dict]:
    """The metrics of a run's steps."""
    run = Run(folder=folder / recipe)
    done = subprocess.run(command(recipe, run, *overrides), capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr + done.stdout
    rows = [row for row in run.read_metrics() if row["step"] > 0]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    for row in rows:
        assert row["leanthink/unknown_share"] == 0.0 and row["leanthink/prompt_cut_share"] == 0.0
        assert row["leanthink/accuracy"] > 0.1, "the engine has the policy's weights, not others"
    assert set(run.evaluations()) == {0, STEPS}
    return rows


@pytest.mark.parametrize("recipe", FAMILIES)
def test_a_recipe_of_each_family(recipe, tmp_path):
    for row in trained(recipe, tmp_path):
        assert f"leanthink/{FAMILIES[recipe]}" in row, sorted(row)
        if recipe != "adaptive_deep":  # where a token follows another text, it has another probability
            # The weights that were trained are those that sample: in step 2 they are no longer the file's.
            assert row["training/rollout_probs_diff_max"] < 1e-3


def test_tools(tmp_path):
    """verl's tool loop on vLLM; the testbed's policy has heads for which vLLM has no kernel on the CPU."""
    model = with_wider_heads(policy_path("tools"), tmp_path / "model")
    for row in trained("tool_cost", tmp_path, "--model", str(model)):
        assert row["leanthink/tools/calls"] > 0.5
        assert row["training/rollout_probs_diff_max"] < 1e-3


def test_stop_bias(tmp_path):
    rows = trained("grpo", tmp_path, "stop={stop_bias: {bias: 4.0, at_least: 2}}")
    assert rows[0]["training/rollout_probs_diff_max"] > 0.05, "the bias is in the engine's log-probabilities"


def test_async_trainer_mode(tmp_path):
    rows = trained("trle", tmp_path, "trainer.v1.trainer_mode=colocate_async")
    assert rows[0]["training/rollout_probs_diff_max"] < 1e-3
    assert rows[1]["training/off_policy/trajectory_staleness/max"] == 1, "sampled with the weights before step 1"


def test_two_ranks_with_a_replica_each(tmp_path):
    rows = trained("drpo", tmp_path, "--gpus", "2")
    assert all(row["training/rollout_probs_diff_max"] < 1e-3 for row in rows)


def test_a_stateful_recipe_killed_and_resumed(tmp_path):
    run = Run(folder=tmp_path / "palu")
    with (tmp_path / "first.txt").open("w") as out:
        process = subprocess.Popen(command("palu", run, steps=3), stdout=out, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 2000
    while not any(row["step"] >= 1 for row in run.read_metrics()):
        assert process.poll() is None, (tmp_path / "first.txt").read_text()
        assert time.monotonic() < deadline, "step 1 took too long"
        time.sleep(0.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while run.is_locked():  # verl ends a moment after its parent
        assert time.monotonic() < deadline + 100, "verl outlives its parent"
        time.sleep(0.5)
    saved = run.last_checkpoint()
    assert saved in (1, 2) and not run.summary.exists()
    before = state(run, saved)
    done = subprocess.run(command("palu", run, steps=3), capture_output=True, text=True, timeout=2000)
    assert done.returncode == 0, done.stderr + done.stdout
    assert f"from step {saved}" in done.stdout
    attempts = sorted(run.attempts.glob("*.jsonl"))
    assert len(attempts) == 2
    after = state(run, 3)
    assert after != before and state(run, saved) == before
    # A prompt that came before the kill is remembered after it.
    assert set(map(str, before["state"])) == set(map(str, after["state"]))


def state(run: Run, step: int) -> dict:
    """What the recipe remembers in a checkpoint."""
    text = (run.checkpoints / f"global_step_{step}" / "leanthink.json").read_text(encoding="utf-8")
    return json.loads(text)
