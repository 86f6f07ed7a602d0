"""The runs of a sweep as jobs of a running Ray cluster."""

from __future__ import annotations

import os
import shlex
import uuid
from collections.abc import Sequence
from pathlib import Path

from leanthink.core.errors import ConfigError, StateError
from leanthink.files.writing import open_log


class RayJobs:
    """Each command is a Ray job; it goes on without us.

    Args:
        address: of the cluster, as Ray's job client takes it: ``http://HEAD:8265``, or ``auto``. Its machines must see
            the sweep's folder, the working directory and this Python under the same paths.
    """

    name = "ray"
    outlives = True
    poll_seconds = 5.0

    def __init__(self, address: str) -> None:
        from ray.job_submission import JobSubmissionClient

        self._address = address
        try:
            self._client = JobSubmissionClient(address)
        except Exception as error:  # connection, name, version: what Ray raises is not documented
            raise ConfigError(
                f"--ray {address}: no Ray cluster takes jobs from us there ({' '.join(str(error).split()):.300}); give "
                "its dashboard's address, as in http://HEAD:8265, and what `ray job submit` would need there"
            ) from error

    def start(self, label: str, command: Sequence[str], log: Path) -> str:
        """Submit it; the handle is the job's submission id."""
        # The environment goes into the command line: verl has a runtime environment of its own, which Ray would merge.
        path = os.environ.get("PYTHONPATH", "")
        words = shlex.join(["env", f"PYTHONPATH={path}", *command] if path else command)
        line = f"cd {shlex.quote(str(Path.cwd()))} && {words} >> {shlex.quote(str(log.absolute()))} 2>&1"
        try:
            name = f"{label}-{uuid.uuid4().hex[:8]}"
            return str(self._client.submit_job(entrypoint=line, submission_id=name, metadata={"run": label}))
        except Exception as error:
            raise self._silent(error) from error

    def poll(self, handle: str, log: Path) -> int | None:
        """0 or 1 once the job is over; what Ray says of a failed one goes into the log."""
        try:
            info = self._client.get_job_info(handle)
        except Exception as error:
            if "does not exist" in str(error):  # the cluster was started anew
                return _say(log, f"Ray job {handle} is not known to the cluster")
            raise self._silent(error) from error
        if not info.status.is_terminal():
            return None
        if info.status == "SUCCEEDED":
            return 0
        return _say(log, f"Ray job {handle} {info.status}: {' '.join(str(info.message).split())}")

    def stop(self, handles: Sequence[str]) -> None:
        """Stop the jobs."""
        for handle in handles:
            self._client.stop_job(handle)

    def _silent(self, error: Exception) -> StateError:
        return StateError(
            f"the Ray cluster at {self._address} does not answer ({' '.join(str(error).split()):.200}); its jobs may "
            "go on: once it answers, run the same command again"
        )


def _say(log: Path, text: str) -> int:
    with open_log(log) as out:
        out.write((text + "\n").encode("utf-8"))
    return 1
