"""Merging holds about one pair of tensors, whatever the size of the model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model_folders import Save

COUNT, ENTRIES = 20, 1 << 20  # a model of 80 MiB
PAIR = 8 * ENTRIES
SCRATCH = 40 << 20  # pieces in work, whatever the model's size; the allocator keeps some

CODE = """
import sys
from pathlib import Path
from leanthink.algorithms.merging import SelectiveMerging
from leanthink.merge import Job, make_plan, merge
from leanthink.merge.weights import Weights

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

small, base, trained, out = map(Path, sys.argv[1:5])
kind, held = sys.argv[5], []
load = Weights.load
def hold(self, name):  # what the measurement must catch: tensors that stay
    held.append(load(self, name))
    return held[-1]
if kind == "holding":
    Weights.load = hold
settings = SelectiveMerging(per_tensor=kind == "per tensor")
def job(base, trained, out):
    return Job(base=base, trained=trained, out=out, merging=settings)
merge(make_plan(job(small / "base", small / "trained", out / "small")))
held.clear()
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = status("VmRSS")
merge(make_plan(job(base, trained, out / "large")))
print(status("VmHWM") - before)
"""


def growth(folder: Path, kind: str) -> int:
    """Bytes by which the peak of a process grows over what it had before it merged the large models."""
    (folder / kind).mkdir()
    names = [folder, folder / "base", folder / "trained", folder / kind]
    command = [sys.executable, "-c", CODE, str(folder / "small"), *map(str, names[1:]), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.fixture
def large(tmp_path: Path, save: Save) -> Path:
    generator = torch.Generator().manual_seed(1)
    for side in ("base", "trained"):
        tensors = {f"layers.{i}.weight": torch.randn(ENTRIES, generator=generator) for i in range(COUNT)}
        save(side, tensors, [list(tensors)[:12], list(tensors)[12:]])
        save(f"small/{side}", {"layers.0.weight": tensors["layers.0.weight"]})
    return tmp_path


def test_streaming_holds_about_one_pair(large: Path) -> None:
    assert growth(large, "holding") > 0.9 * COUNT * PAIR > 2 * (PAIR + SCRATCH)  # holding every tensor is seen
    for kind in ("global", "per tensor"):
        assert growth(large, kind) < PAIR + SCRATCH
