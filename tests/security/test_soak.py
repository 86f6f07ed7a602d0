"""A run of thousands of steps: memory, threads, descriptors and processes stay what they were."""

from __future__ import annotations

import gc
import json
import os
import threading
from pathlib import Path

import pytest

import made_runs as made
from leanthink.recipe.definition import load_recipe
from leanthink.reporting.live.follow import Followed
from leanthink.training import Settings, Shaper
from leanthink.verify import Verifier
from made_facts import fact

STEPS, WARM = 5000, 1000
RECIPES = ("hapo", "trle", "gfpo_adaptive")  # a table by prompt, none, an advantage with a memory


def resident_mb() -> float:
    """What of this process lies in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def held() -> tuple[int, int]:
    """Threads, and open descriptors, sockets among them."""
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_grows_over_thousands_of_steps(tmp_path: Path) -> None:
    """The shaper of three recipes, the verifier with its workers, and the live view of a run that grows."""
    folder = made.write_run(tmp_path / "run", "grpo", 1, quality=0.6, tokens=30)
    followed = Followed(folder)
    shapers = [Shaper(Settings.of(load_recipe(name))) for name in RECIPES]
    uids = [str(row // 4) for row in range(32)]
    seen: list[tuple[float, tuple[int, int]]] = []
    with Verifier(workers=1, deadline=60) as verifier, (folder / "attempts" / "000.jsonl").open("a") as log:
        for step in range(1, STEPS + 1):
            facts = [
                fact(acc=float((row * 7 + step) % 3 > 0), length=10.0 + (row * step) % 40, prompt_key=f"p{row // 4}")
                for row in range(32)
            ]
            for shaper in shapers:
                shaper.shape(facts, uids, step)
            # New numbers each time, so that caches fill; every tenth answer goes to the worker.
            asked = rf"\boxed{{\int_0^{{{step}}} x dx}}" if step % 10 == 0 else rf"\boxed{{{step}}}"
            assert verifier.check(str(step + 1), asked).verdict is not None
            log.write(json.dumps({"step": step + 12, "data": {"leanthink/accuracy": 0.5, "timing_s/step": 1.0}}) + "\n")
            log.flush()
            if step % 50 == 0:
                followed.state()
            if step % WARM == 0:
                gc.collect()
                seen.append((resident_mb(), held()))
    (first, kept), *later = seen
    assert [others for _, others in later] == [kept] * len(later)
    assert max(memory for memory, _ in later) < first + 60, seen
