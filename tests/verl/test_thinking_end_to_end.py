"""Real verl on the CPU: a budget of thinking by step, by schedule and by prompt holds to the token; slow, so marked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from leanthink.files.reading import read_jsonl
from leanthink.runs.folder import Run

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

REST = r"answer: 8, closing: '</think> \boxed{'"
RULES = {
    "fixed": f"{{at_most: 14, {REST}}}",
    "schedule": f"{{at_most: {{stairs: {{values: [30, 20, 10], boundaries: [1, 2]}}}}, {REST}}}",
    "prompt": f"{{of: {{per_pass_rate: {{thresholds: [0.5], lengths: [24, 12]}}}}, {REST}}}",
}


@pytest.fixture(scope="module", params=list(RULES))
def run(request, tmp_path_factory) -> tuple[str, Run]:
    folder = tmp_path_factory.mktemp(request.param)
    program = [sys.executable, "-m", "leanthink", "train", "grpo", f"limit={{thinking: {RULES[request.param]}}}"]
    told = ["--profile", "cpu", "--out", str(folder / "run"), "--steps", "3", "--seed", "3", "--keep-rollouts"]
    sizes = ["data.train_max_samples=16", "data.val_max_samples=32", "trainer.save_freq=1"]
    done = subprocess.run([*program, *told, *sizes], cwd=folder, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr + done.stdout
    return request.param, Run(folder=folder / "run")


def allowed(name: str, run: Run, step: int) -> set[int]:
    if name == "fixed":
        return {14}
    if name == "schedule":
        return {(30, 20, 10)[step - 1]}
    return {24} if step == 1 else {24, 12}


def test_every_thinking_holds_its_budget_and_what_was_forced_fills_it(run):
    name, folder = run
    for step in (1, 2, 3):
        shaped = {row["uid"]: row for row in read_jsonl(folder.rollouts / "shaped" / f"{step}.jsonl")}
        forced = 0
        for row in read_jsonl(folder.rollouts / f"{step}.jsonl"):
            facts, words = shaped[row["uid"]], row["output"].split()
            budget = int(facts["thinking_limit"])
            assert budget in allowed(name, folder, step)
            thought = words.index("</think>") if "</think>" in words else len(words)
            assert thought <= budget
            if facts["forced"]:
                forced += 1
                assert thought == budget and words[budget : budget + 2] == ["</think>", r"\boxed{"]
                assert facts["length"] <= budget + 2 + 8
        assert 0 < forced < 128


def test_the_share_of_forced_responses_and_the_limit_are_shown(run):
    name, folder = run
    rows = {row["step"]: row for row in folder.read_metrics()}
    for step in (1, 2, 3):
        assert 0 < rows[step]["leanthink/forced_share"] < 1
        mean = rows[step]["leanthink/thinking_limit"]
        assert min(allowed(name, folder, step)) <= mean <= max(allowed(name, folder, step))


def test_by_prompt_the_budget_follows_its_last_pass_rate(run):
    name, folder = run
    if name != "prompt":
        pytest.skip("of the rule by prompt")
    for step in (2, 3):
        path = folder.checkpoints / f"global_step_{step - 1}" / "leanthink.json"
        rates = json.loads(Path(path).read_text(encoding="utf-8"))["limit_state"]["pass_rate"]
        expected = sorted([12 if rate >= 0.5 else 24 for rate in rates.values()] * 8)
        shaped = read_jsonl(folder.rollouts / "shaped" / f"{step}.jsonl")
        assert sorted(int(row["thinking_limit"]) for row in shaped) == expected


def test_validation_thinks_as_long_as_it_likes(run):
    rows = [row for evaluation in run[1].evaluations().values() for row in evaluation]
    assert rows and all("thinking_limit" not in row or row["forced"] == 0 for row in rows)
