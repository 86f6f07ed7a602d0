"""`leanthink watch` as people start it, for tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import leanthink


@contextmanager
def watched(run: Path) -> Iterator[tuple[str, str]]:
    """The address of a server on a free port, and its token as ``token=...``; stopped at the end."""
    source = str(Path(leanthink.__file__).parents[1])
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": source, "COLUMNS": "200"}
    command = [sys.executable, "-m", "leanthink", "watch", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"(http://127\.0\.0\.1:\d+)/\?(token=[\w-]{43})", line)
        assert found, line
        try:
            yield found[1], found[2]
        finally:
            process.terminate()
            process.wait(20)
