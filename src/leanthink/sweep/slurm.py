"""Runs as SLURM jobs, by submitit (the extra ``slurm``), which writes the batch scripts and follows the jobs."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from leanthink.core.errors import ConfigError, DataError, DependencyError, StateError
from leanthink.core.text import printable
from leanthink.files.reading import read_text
from leanthink.files.writing import open_log, write_text

try:
    import submitit
except ImportError as error:
    raise DependencyError(
        "SLURM jobs need submitit, which is not installed; install it with `pip install 'leanthink[slurm]'`"
    ) from error

PATIENCE_SECONDS: Final = 15.0
"""How long the exit code of a job that is over may take to be seen through the nodes' file system."""
JOB: Final = re.compile(r"[0-9]{1,20}(_[0-9]{1,20})?")
"""A job's id, of an array's with its place in it."""


class Slurm:
    """Each command is a job; what is submitted goes on without us, and is submitted again when its time is over.

    Its exit code is read from a text that it leaves, ``ID.exit``, and never from submitit's own result, a pickle: what
    lies in the folder may be of others.

    Args:
        folder: for submitit's scripts and logs; the nodes must see it under the same path, as all of the sweep's.
        parameters: of the jobs, as submitit's `AutoExecutor` takes them.
        cluster: ``local`` runs the jobs on this machine, as a trial.
    """

    name = "slurm"
    outlives = True
    poll_seconds = 5.0

    def __init__(
        self, folder: Path, parameters: Mapping[str, Any], cluster: Literal["slurm", "local"] = "slurm"
    ) -> None:
        self._folder = folder.absolute()
        self._job = submitit.SlurmJob if cluster == "slurm" else submitit.LocalJob
        self._jobs: dict[str, submitit.Job[int]] = {}
        self._over: dict[str, float] = {}  # since when a job is over that left no exit code
        try:
            self._executor = submitit.AutoExecutor(self._folder, cluster=cluster)
            self._executor.update_parameters(**parameters)
        except (NameError, TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise ConfigError(
                f"--slurm {' '.join(f'{key}={value}' for key, value in parameters.items())}: "
                f"{' '.join(str(error).split()):.120}; give what submitit's AutoExecutor takes, as in "
                "timeout_min=600 gpus_per_node=8 slurm_partition=gpu"
            ) from error

    def start(self, label: str, command: Sequence[str], log: Path) -> str:
        """Submit it; the handle is the job's id."""
        self._executor.update_parameters(name=label)
        try:
            job = self._executor.submit(Train(), list(command), str(log.absolute()), str(Path.cwd()))
        except Exception as error:  # sbatch's word, in submitit's wrapping
            raise StateError(
                f"SLURM does not take the job {label}: {' '.join(str(error).split()):.300}; mend that (see --slurm) "
                "and run the same command again: what is submitted goes on"
            ) from error
        self._jobs[job.job_id] = job
        return str(job.job_id)

    def poll(self, handle: str, log: Path) -> int | None:
        """The exit code, once the job is over; 1 where SLURM ended it, with its word in the log.

        Raises:
            StateError: the handle, which comes from the run's status, is no job's id.
        """
        if not JOB.fullmatch(handle):
            raise StateError(
                f"status/{log.stem}.json in the sweep's folder names the SLURM job {handle!r:.60}; a job's id is "
                "digits, as in 123 or 123_4; delete that file: the run itself is kept"
            )
        job = self._job_of(handle)
        code = _exit_code(self._folder / f"{handle}.exit")
        if code is not None or not job.done():
            return code
        now = time.monotonic()
        if now - self._over.setdefault(handle, now) < PATIENCE_SECONDS:
            return None
        with open_log(log) as out:
            text = f"leanthink sweep: SLURM job {handle} ({job.state}): it ended before its command did{_said(job)}\n"
            out.write(text.encode("utf-8", "replace"))
        return 1

    def stop(self, handles: Sequence[str]) -> None:
        """Cancel the jobs."""
        for handle in handles:
            self._job_of(handle).cancel()

    def _job_of(self, handle: str) -> submitit.Job[int]:
        return self._jobs.setdefault(handle, self._job(folder=self._folder, job_id=handle))


def _exit_code(path: Path) -> int | None:
    """The exit code that a job left; None where there is none yet, or no number."""
    try:
        text = read_text(path, 20).strip()
    except (FileNotFoundError, DataError):
        return None
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None


def _said(job: submitit.Job[int]) -> str:
    """The last that a job without an exit code said on its own, as one line."""
    try:
        lines = read_text(job.paths.stderr).split()
    except (FileNotFoundError, DataError):
        return ""
    return (
        f"; its own last words, all of them in {job.paths.stderr}: {printable(' '.join(lines)[-300:])}" if lines else ""
    )


class Train(submitit.helpers.Checkpointable):  # type: ignore[misc]
    """What a job does: the command, in the folder of the sweep, with its output in the run's log."""

    def __call__(self, command: list[str], log: str, cwd: str) -> int:
        """Returns the exit code, and leaves it as a text beside submitit's files of the job."""
        with open_log(Path(log)) as out:
            code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, cwd=cwd, check=False).returncode
        job = submitit.JobEnvironment()
        write_text(job.paths.folder / f"{job.job_id}.exit", f"{code}\n")
        return code
