"""Runs as processes of this machine."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from leanthink.files.writing import open_log

PATIENCE_SECONDS: Final = 75.0  # `leanthink train` gives verl three times twenty seconds to end


class Launcher(Protocol):
    """Where runs are started.

    ``name`` is written down with what it started; ``outlives`` says whether that goes on when the sweep's own process
    ends, so that the next one takes it up again by its handle; ``poll_seconds`` is how long to wait between looks.
    """

    name: str
    outlives: bool
    poll_seconds: float

    def start(self, label: str, command: Sequence[str], log: Path) -> str:
        """Start a command whose output goes to ``log``; returns a handle."""
        ...

    def poll(self, handle: str, log: Path) -> int | None:
        """The exit code, negative for a signal; None while it goes on."""
        ...

    def stop(self, handles: Sequence[str]) -> None:
        """End what goes on, and wait for it."""
        ...


class Local:
    """Each command is a process with a session of its own, so that a signal to one reaches no other.

    It ends with the sweep, even where that is killed: Linux is asked to see to it.
    """

    name = "local"
    outlives = False
    poll_seconds = 0.5

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, label: str, command: Sequence[str], log: Path) -> str:
        """Start it; the handle is its process id."""
        with open_log(log) as out:
            process = subprocess.Popen(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_be_a_good_child,
            )
        self._processes[str(process.pid)] = process
        return str(process.pid)

    def poll(self, handle: str, log: Path) -> int | None:
        """The exit code, once there is one."""
        return self._processes[handle].poll()

    def stop(self, handles: Sequence[str]) -> None:
        """Interrupt all as Ctrl-C would; kill what has not ended in time, or at once when interrupted again."""
        processes = [self._processes[handle] for handle in handles]
        for process in processes:
            _signal(process, signal.SIGINT)
        try:
            for process in processes:
                process.wait(PATIENCE_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            pass
        finally:
            for process in processes:
                _signal(process, signal.SIGKILL)
                process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)


def _be_a_good_child() -> None:
    """Hear Ctrl-C even where the sweep runs in the background of a shell that ignores it; end with the sweep."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
