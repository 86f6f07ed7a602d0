"""A training process in a run's folder: claimed, started, followed step by step, stopped, and asked why it failed."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import IO, Any, Final

from leanthink.core.errors import LeanthinkError
from leanthink.files.writing import hold, open_log, write_text
from leanthink.runs.failure import Cause, cause_of
from leanthink.runs.floor import Floor
from leanthink.runs.folder import Run

POLL_SECONDS: Final = 0.3
PATIENCE_SECONDS: Final = 20.0
LAST_BYTES: Final = 16 * 2**20  # of a log, in which the cause of a failure is looked for

OnStep = Callable[[Mapping[str, Any]], None]
Say = Callable[[str], None]


class TrainingFailedError(LeanthinkError, RuntimeError):
    """The trainer ended with an error."""


def claim(lock: IO[str], run: Run) -> None:
    """Hold a run's folder; through the inherited descriptor the trainer holds it, too: as long as either lives.

    Raises:
        StateError: another process trains in it.
    """
    hold(
        lock,
        f"{run.folder} is being trained by another process; wait for it, stop it, or choose another folder with --out",
    )


def follow(
    command: Sequence[str],
    environment: Mapping[str, str],
    run: Run,
    lock: IO[str],
    on_step: OnStep,
    floor: Floor | None,
    who: str,
) -> dict[str, Any] | None:
    """Run a trainer to its end, or to the floor; then returns why it was stopped.

    Args:
        command: what to start.
        environment: its variables.
        run: the folder, in whose ``attempts`` the trainer writes a line a step, and to whose log it prints.
        lock: the folder's, which the trainer inherits.
        on_step: called with each step's flat metrics.
        floor: when the run counts as collapsed.
        who: the trainer's name, for errors.

    Raises:
        TrainingFailedError: it ended with an error; the message holds its last one.
    """
    with open_log(run.log) as log:
        log_start = log.tell()
        process = subprocess.Popen(
            list(command),
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,
            pass_fds=[lock.fileno()],
            preexec_fn=_end_with_parent,
        )
    seen, size, evaluated, stopped = 0, -1, 0, None
    try:
        while stopped is None:
            ended = process.poll() is not None
            grown = sum(path.stat().st_size for path in run.attempts.glob("*.jsonl"))
            if grown != size:  # reading every step again costs the trainer its cores
                seen, size = _report(run, seen, on_step), grown
                # A step is logged after its evaluation is written.
                last = max((step for step in run.evaluated_steps() if step <= seen), default=0)
                if floor is not None and last > evaluated:
                    stopped, evaluated = floor.reached(run, seen), last
            if ended:
                break
            time.sleep(POLL_SECONDS)
    except BaseException:
        _stop(process)
        raise
    if stopped is not None:
        _stop(process)
        return stopped
    if process.returncode != 0:
        cause = _cause(run, log_start, process.returncode)
        raise TrainingFailedError(
            f"{who} ended with exit code {process.returncode}: {cause}. Everything it printed: {run.log}, this in line "
            f"{cause.line}. Then run the same command again: it goes on from the last checkpoint"
        )
    return None


def _report(run: Run, seen: int, on_step: OnStep) -> int:
    """Pass on the steps after ``seen`` and keep ``metrics.jsonl`` up to date."""
    rows = run.read_metrics()
    new = [row for row in rows if row["step"] > seen]
    if new:
        write_text(run.metrics, "".join(json.dumps(row) + "\n" for row in rows))
    for row in new:
        on_step(row)
    return max([seen, *(int(row["step"]) for row in new)])


def _end_with_parent() -> None:
    """Ask Linux to end the trainer when this process dies, however it dies; elsewhere nothing can be asked."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(PATIENCE_SECONDS)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _cause(run: Run, start: int, code: int) -> Cause:
    """Why this start failed, as the log tells it from ``start`` on."""
    start, before = max(start, run.log.stat().st_size - LAST_BYTES), 0
    with run.log.open("rb") as file:
        while left := start - file.tell():
            before += file.read(min(left, 2**20)).count(b"\n")
        text = file.read(LAST_BYTES).decode("utf-8", "replace")
    cause = cause_of(text, code, shutil.disk_usage(run.folder).free)
    return replace(cause, line=before + cause.line)
