"""Real verl on the CPU: responses are probed, and rewards reach the estimator by token; slow, so marked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from leanthink.runs.folder import Run

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SPY = '''
import json
from dataclasses import dataclass

from leanthink.algorithms import ReinforcePp, TokenAdvantage


@dataclass(frozen=True, kw_only=True)
class Spy(TokenAdvantage):
    """REINFORCE++ that writes down the rewards it gets."""

    path: str

    def __call__(self, reward_NT, mask_NT, group_N):
        with open(self.path, "a") as file:
            rows = [row[mask].tolist() for row, mask in zip(reward_NT, mask_NT)]
            file.write(json.dumps(rows) + "\\n")
        return ReinforcePp()(reward_NT, mask_NT, group_N)
'''


def train(folder: Path, place: Path, *overrides: str) -> Run:
    command = [sys.executable, "-m", "leanthink", "train", *overrides, "--profile", "cpu", "--out", str(folder)]
    done = subprocess.run([*command, "--seed", "3"], cwd=place, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr + done.stdout
    return Run(folder=folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("vsrm")
    (folder / "spying.py").write_text(SPY, encoding="utf-8")
    return folder


def test_placed_rewards_reach_the_estimator_by_token(place):
    seen = place / "rewards.jsonl"
    spy = json.dumps({"spying:Spy": {"path": str(seen)}})
    run = train(place / "rpp", place, "vsrm_rpp", "--steps", "2", f"advantage={spy}")
    steps = [row for row in run.read_metrics() if row["step"] > 0]
    # The sampler asks the estimator first, to show what it will do; verl's own call comes after it. What advice tries
    # out before the run has few rows.
    asked = [rewards for line in seen.read_text().splitlines() if len(rewards := json.loads(line)) == 128]
    for row, rewards in zip(steps, asked[1::2], strict=True):
        totals = [sum(tokens) for tokens in rewards]
        before_the_last = [amount for tokens in rewards for amount in tokens[:-1] if amount != 0]
        assert len(before_the_last) > 50
        assert sum(totals) / len(totals) == pytest.approx(row["critic/score/mean"], abs=1e-5)
        assert row["leanthink/part/steps"] == pytest.approx(sum(before_the_last) / len(rewards), abs=1e-5)
        # Outcomes fall on the last token.
        assert {tokens[-1] for tokens in rewards} <= {1.0, 0.0, -9.5, -10.0}
        assert row["leanthink/probe/count"] > 500 and row["leanthink/probe/unknown_share"] == 0.0
        assert 0.2 < row["leanthink/probe/accuracy"] < 0.8
    # Validation is not probed: it takes no columns of probes, and raw correctness is its score.
    rows = run.evaluations()[2]
    assert not any("cut_tokens" in row or "leanthink_probed" in row for row in rows)
    assert {row["score"] for row in rows} <= {0.0, 1.0}


def test_ppo_trains_a_critic_on_them(place):
    run = train(place / "ppo", place, "vsrm_ppo", "--steps", "2")
    first, second = (row for row in run.read_metrics() if row["step"] > 0)
    assert first["leanthink/part/steps_std"] > 0 and first["leanthink/probe/cuts"] > 1
    assert second["critic/vf_loss"] < first["critic/vf_loss"]
    # Returns by token: where steps are paid they differ from the response's total.
    assert second["critic/returns/max"] == pytest.approx(second["critic/score/max"], abs=1e-5)
    assert second["critic/returns/mean"] < second["critic/score/mean"] - 0.05
