"""Runs as SLURM jobs, by submitit (the extra ``slurm``), which writes the batch scripts and follows the jobs."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from leanthink.core.errors import ConfigError, DependencyError, StateError
from leanthink.files.writing import open_log

try:
    import submitit
except ImportError as error:
    raise DependencyError(
        "SLURM jobs need submitit, which is not installed; install it with `pip install 'leanthink[slurm]'`"
    ) from error


class Slurm:
    """Each command is a job; what is submitted goes on without us, and is submitted again when its time is over.

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
        """The exit code, once the job is over; 1 where SLURM ended it, with its word in the log."""
        job = self._jobs.setdefault(handle, self._job(folder=self._folder, job_id=handle))
        if not job.done():
            return None
        try:
            return int(job.result())
        except Exception as error:  # whatever submitit makes of a lost, cancelled or unpicklable job
            with open_log(log) as out:
                text = f"leanthink sweep: SLURM job {handle} ({job.state}): {' '.join(str(error).split())}\n"
                out.write(text.encode("utf-8"))
            return 1

    def stop(self, handles: Sequence[str]) -> None:
        """Cancel the jobs."""
        for handle in handles:
            self._jobs.setdefault(handle, self._job(folder=self._folder, job_id=handle)).cancel()


class Train(submitit.helpers.Checkpointable):  # type: ignore[misc]
    """What a job does: the command, in the folder of the sweep, with its output in the run's log."""

    def __call__(self, command: list[str], log: str, cwd: str) -> int:
        """Returns the exit code."""
        with open_log(Path(log)) as out:
            return subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, cwd=cwd, check=False).returncode
