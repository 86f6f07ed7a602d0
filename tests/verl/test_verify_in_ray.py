"""The verifier inside Ray actors, as verl's reward workers hold it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = r"""
import asyncio, json, sys
import ray

@ray.remote(num_cpus=0)
class RewardWorker:
    def __init__(self):
        from leanthink.verify import Verifier
        self.verifier = Verifier(workers=2, deadline=10, shortcuts=False)

    async def judge(self, gold, response):
        return str((await self.verifier.acheck(gold, response)).code)

    def pids(self):
        return self.verifier.worker_pids

async def flood(actors):
    slow = [actor.judge.remote("0.5", r"\boxed{9^{9^9} + %d}" % n) for actor in actors for n in range(3)]
    right = [actor.judge.remote("x^2 + %dx" % n, r"\boxed{x(x + %d)}" % n) for actor in actors for n in range(20)]
    return await asyncio.gather(*slow), await asyncio.gather(*right)

ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
actors = [RewardWorker.remote() for _ in range(2)]
slow, right = asyncio.run(flood(actors))
pids = ray.get([actor.pids.remote() for actor in actors])
ray.kill(actors[0])
ray.shutdown()
print(json.dumps({"slow": slow, "right": right, "pids": sum(map(list, pids), [])}))
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.verl
def test_actors_judge_under_a_flood_and_leave_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=500, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["slow"] == ["unknown/timeout"] * 6
    assert told["right"] == ["correct/equal"] * 40
    assert len(told["pids"]) >= 2
    assert all(gone(pid) for pid in told["pids"])
