"""Two processes whose groups straddle give what one process gives, to the last digit of rewards and state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import trl_ranks
from leanthink.runs.folder import Run


def run(folder: Path, recipe: str, processes: int) -> Path:
    folder.mkdir()
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] * (processes > 1)
    environment = {**os.environ, "TRL_EXPERIMENTAL_SILENCE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, trl_ranks.__file__, str(folder), recipe]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def shaped(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "rollouts" / "shaped").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.mark.parametrize("recipe", ["hapo"])
def test_groups_that_straddle_two_processes(recipe: str, tmp_path: Path) -> None:
    one, two = run(tmp_path / "one", recipe, 1), run(tmp_path / "two", recipe, 2)
    assert len(shaped(one)) == 3 * trl_ranks.ROWS
    assert shaped(two) == shaped(one)
    assert any(fact["truncated"] for fact in shaped(one)) and len({fact["reward"] for fact in shaped(one)}) > 2
    states = [
        json.loads((folder / f"state-{rank}.json").read_text()) for folder, rank in ((one, 0), (two, 0), (two, 1))
    ]
    assert states[0] == states[1] == states[2]
    assert states[0]["reward"]["length"]["of"]["length"]
    # Five held-out prompts do not fill the batches of two processes; what they begin anew is not counted.
    kept = [list(Run(folder=folder).evaluations()[3]) for folder in (one, two)]
    assert len(kept[0]) == 5 * trl_ranks.N
    names = ("acc", "length", "truncated", "response_key")
    assert [[row[name] for name in names] for row in kept[1]] == [[row[name] for name in names] for row in kept[0]]
    weights = [torch.load(folder / "weights-0.pt") for folder in (one, two)]
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=2e-4)
