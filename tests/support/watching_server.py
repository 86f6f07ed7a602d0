"""`leanthink watch` as people start it, for tests."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import leanthink

BRIEFLY = """
import sys
from leanthink.cli import main
from leanthink.commands import watch
serve = watch.serve
watch.serve = lambda *given: serve(*given, connections=int(sys.argv[1]), head_s=float(sys.argv[2]))
main(sys.argv[3:])
"""
"""The command with limits of its own."""


@contextmanager
def watched(
    run: Path, *, files: int | None = None, errors: Path = Path(os.devnull), limits: tuple[int, float] | None = None
) -> Iterator[tuple[str, str]]:
    """The address of a server on a free port, and its token as ``token=...``; stopped at the end.

    It may have few ``files`` open, write its ``errors`` to a file, and have other ``limits``: connections and seconds.
    """
    source = str(Path(leanthink.__file__).parents[1])
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": source, "COLUMNS": "200"}
    program = ["-m", "leanthink"] if limits is None else ["-c", BRIEFLY, *map(str, limits)]
    command = [sys.executable, *program, "watch", str(run), "--port", "0"]
    few = None if files is None else partial(resource.setrlimit, resource.RLIMIT_NOFILE, (files, files))
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment, preexec_fn=few
        ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"(http://127\.0\.0\.1:\d+)/\?(token=[\w-]{43})", line)
        assert found, line
        try:
            yield found[1], found[2]
        finally:
            process.terminate()
            process.wait(20)
