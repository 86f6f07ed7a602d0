"""Real verl on the CPU: responses with tools, as they are kept, counted, scored and reported; slow, so marked."""

import subprocess
import sys
from pathlib import Path

import pytest

from leanthink.files.reading import read_jsonl
from leanthink.runs.folder import Run
from leanthink.testbed.tools import RESULT, calls_in, numbers_in

pytestmark = [pytest.mark.verl, pytest.mark.timeout(900)]

STEPS = 3


def leanthink(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "leanthink", *arguments], cwd=folder, capture_output=True, text=True, timeout=800
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("tools")
    sizes = ("data.val_max_samples=64", "data.train_batch_size=8", "actor_rollout_ref.actor.ppo_mini_batch_size=8")
    told = ("--out", str(folder / "run"), "--steps", str(STEPS), "--seed", "3", "--profile", "cpu", "--keep-rollouts")
    leanthink("train", "tool_cost", *told, *sizes, folder=folder)
    return Run(folder=folder / "run")


def facts_by_hand(row):
    """What a kept conversation comes to, from its text alone, where nothing failed: failures leave words out of it."""
    text = row["output"]
    written, between = [], []
    for number, piece in enumerate(text.split(RESULT)):
        words = piece.split()
        if number:
            between.append(words[0])
            words = words[1:]
        written.append(len(words) + 1)  # the end token
    calls = calls_in(text)
    return {
        "length": sum(written),
        "tool_tokens": 3 * len(between),  # the sign, the result, and the template's opening of the next turn
        "assistant_turns": len(written),
        "tool_calls": len(between),
        "all_answered": len(calls) == len(between),
    }


def test_kept_conversations_have_the_facts_of_a_count_by_hand(run):
    """All but a few: now and then a policy writes a sign of a role, which no text shows, or the sign of a result."""
    same = apart = left_out = 0
    for step in range(1, STEPS + 1):
        shaped = {row["uid"]: row for row in read_jsonl(run.rollouts / "shaped" / f"{step}.jsonl")}
        rows = list(read_jsonl(run.rollouts / f"{step}.jsonl"))
        assert len(rows) == len(shaped) == 64
        for row in rows:
            facts = shaped[row["uid"]]
            if facts["failed_calls"] or facts["truncated"]:
                left_out += 1
                continue
            by_hand = facts_by_hand(row)
            prompt = len(row["input"].split()) + 2  # whose signs of roles are not shown
            by_hand["context_tokens"] = prompt + by_hand["length"] + by_hand["tool_tokens"]
            equal = by_hand.pop("all_answered") and all(facts[name] == value for name, value in by_hand.items())
            same, apart = same + equal, apart + (not equal)
            assert facts["thinking_length"] >= facts["assistant_turns"]
    assert same > 100 > left_out and apart <= 0.02 * same


def test_the_reward_is_the_recipes(run):
    for step in range(1, STEPS + 1):
        rows = list(read_jsonl(run.rollouts / "shaped" / f"{step}.jsonl"))
        groups = {row["uid"].rsplit("_", 2)[0] for row in rows}
        assert len(groups) == 8
        for group in groups:
            own = [row for row in rows if row["uid"].startswith(group) and not row["unknown"]]
            right = [row for row in own if row["acc"]]
            for row in own:
                if not row["acc"]:
                    assert row["reward"] == 0
                    continue
                share = 1 - len(right) / len(own)
                beyond = row["tool_calls"] - min(one["tool_calls"] for one in right)
                assert row["reward"] == pytest.approx(
                    share + (1 - share) * 2.718281828459045 ** (-0.2 * beyond), abs=1e-6
                )


def test_metrics_score_and_report_read_the_run(run, tmp_path):
    last = run.read_metrics()[-1]
    assert last["leanthink/tools/calls"] > 1 and last["leanthink/tools/turns"] > 2
    scored = " ".join(leanthink("score", str(run.folder), folder=tmp_path).split())
    for told in ("turns a response", "tool calls a response", "mean thinking", "are those that the run gave"):
        assert told in scored
    reported = leanthink("report", str(run.folder), folder=tmp_path)
    assert "Turns and tools" in reported and "Distance from the best" not in reported
    assert "wasted" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_every_call_of_the_start_policy_is_one_of_numbers(run):
    rows = run.evaluations()[0]
    calls = [call for row in rows for call in calls_in(row["output"])]
    assert len(calls) > 64 and sum(len(numbers_in(call)) == 2 for call in calls) > 0.9 * len(calls)
