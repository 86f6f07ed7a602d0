"""Real verl on the CPU with every stateful part: killed three times, it ends as if never killed; slow, so marked."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from leanthink.core.control import states
from leanthink.recipe.definition import load_recipe
from leanthink.runs.folder import Run

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

RECIPE = """
reward:
  sum:
    correct: correct
    adaptive: {adaptive_step_length: {lower_bound: 10, upper_bound: 90, interval: 5, monitor_freq: 2, explore: true}}
    palu: {scale: {by: 0.5, of: {quantile_budget: {longest: 90, threshold: 0.5, remembered: 12}}}}
    least: {scale: {by: 0.1, of: {history_length: {remembered: 12}}}}
    mean: {scale: {by: 0.1, of: {history_length: {mode: mean}}}}
    guard: {collapse_guard: {window: 2, drop: 0.01, release: 0.005, of: {scale: {by: 0.5, of: kimi_length}}}}
    fixed: {scale: {by: {linear: {start: 0.0, stop: 0.3, steps: 8}}, of: {step_length: {target: 30}}}}
advantage: {adaptive_top_k: {k: [6, 4, 3], of: {grpo: {scale: none}}, ready_after: 16}}
limit: {per_pass_rate: {thresholds: [0.5], lengths: [72, 48], remembered: 20}}
"""

STEPS = 8
# Eighteen prompts, eight a step: each comes back, and the tables overflow.
OVERRIDES = (
    *("data.train_max_samples=18", "data.val_max_samples=32", "data.train_batch_size=8"),
    *("actor_rollout_ref.actor.ppo_mini_batch_size=8", "trainer.save_freq=2"),
)


def start(folder: Path, run: Run) -> subprocess.Popen:
    program = [sys.executable, "-m", "leanthink", "train", "all.yaml", "--profile", "cpu", "--out", str(run.folder)]
    with (folder / f"{run.folder.name}.txt").open("a") as out:
        return subprocess.Popen(
            [*program, "--steps", str(STEPS), "--seed", "3", *OVERRIDES],
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
        )


def wait(condition, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def kill_after(step: int, attempt: int, process: subprocess.Popen, run: Run) -> None:
    """SIGKILL once this attempt has begun to log and a step is done, and wait until verl has let go of the folder."""

    def there() -> bool:
        assert process.poll() is None, f"the run ended before step {step}"
        begun = len(list(run.attempts.glob("*.jsonl"))) == attempt
        return begun and any(row["step"] >= step for row in run.read_metrics())

    wait(there, 400, f"step {step}")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait(lambda: not run.is_locked(), 60, "the lock")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Run, Run]:
    folder = tmp_path_factory.mktemp("kill_and_resume")
    (folder / "all.yaml").write_text(RECIPE, encoding="utf-8")
    straight, killed = Run(folder=folder / "straight"), Run(folder=folder / "killed")
    assert start(folder, straight).wait(900) == 0, (folder / "straight.txt").read_text()
    for attempt, step in enumerate(sorted(random.Random(7).sample(range(2, STEPS), 3)), start=1):
        kill_after(step, attempt, start(folder, killed), killed)
    assert start(folder, killed).wait(900) == 0, (folder / "killed.txt").read_text()
    return straight, killed


def state_of(run: Run) -> dict:
    return json.loads((run.checkpoints / f"global_step_{STEPS}" / "leanthink.json").read_text(encoding="utf-8"))


def test_it_was_killed_three_times(runs):
    assert len(list(runs[0].attempts.glob("*.jsonl"))) == 1
    assert len(list(runs[1].attempts.glob("*.jsonl"))) == 4


def test_rewards_limits_and_targets_are_the_same_bit_for_bit(runs):
    straight, killed = ({row["step"]: row for row in run.read_metrics() if row["step"] > 0} for run in runs)
    assert sorted(straight) == list(range(1, STEPS + 1))
    # verl saves before it logs: a kill between the two costs the line of a step that was saved, and nothing else
    assert straight.keys() - killed.keys() <= {step for step in straight if step % 2 == 0}
    timing = ("seconds", "share_of_step")
    for step in killed:
        row = straight[step]
        ours = {key: value for key, value in row.items() if key.startswith("leanthink/") and not key.endswith(timing)}
        assert len(ours) > 30
        assert {key: killed[step][key] for key in ours} == ours, step


def test_the_state_is_the_same_bit_for_bit(runs):
    straight, killed = map(state_of, runs)
    for part in ("state", "limit_state", "advantage_state"):
        assert straight[part] == killed[part]
    reward = load_recipe(runs[0].folder.parent / "all.yaml").reward
    remembering = {".".join(path): own for path, _, own in states(reward, straight["state"]) if own}
    assert set(remembering) == {"adaptive", "palu.of", "least.of", "mean.of", "guard"}
    assert len(straight["limit_state"]["pass_rate"]) == 18
    assert len(straight["advantage_state"]["group_means"]) == 8 * STEPS
    assert len(remembering["palu.of"]["budget"]) == 12
