"""Kill -9 at random moments: what a command writes is whole or absent, and the same command goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import killing
import leanthink


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_two_hundred_kills(tmp_path: Path) -> None:
    paths = [str(Path(leanthink.__file__).parents[1]), str(Path(killing.__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    line = [sys.executable, killing.__file__, str(tmp_path), "40", "7"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert "0 wrong of 200 kills" in done.stdout
