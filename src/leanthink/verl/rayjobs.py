"""The runs of a sweep as jobs of a running Ray cluster."""

from __future__ import annotations

import os
import shlex
import uuid
from collections.abc import Sequence
from pathlib import Path

from leanthink.errors import ConfigError


class RayJobs:
    """Each command is a Ray job; it goes on without us.

    Args:
        address: of the cluster, as Ray's job client takes it: ``http://HEAD:8265``, or ``auto``. Its machines must see
            the sweep's folder, the working directory and this Python under the same paths.
    """

    name = "ray"
    outlives = True

    def __init__(self, address: str) -> None:
        from ray.job_submission import JobSubmissionClient

        try:
            self._client = JobSubmissionClient(address)
        except Exception as error:  # connection, name, version: what Ray raises is not documented
            raise ConfigError(
                f"--ray {address}: no Ray cluster answers there ({' '.join(str(error).split()):.200}); give its "
                "dashboard's address, as in http://HEAD:8265"
            ) from error

    def start(self, label: str, command: Sequence[str], log: Path) -> str:
        """Submit it; the handle is the job's submission id."""
        line = f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join(command)} >> {shlex.quote(str(log.absolute()))} 2>&1"
        variables = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        return str(
            self._client.submit_job(
                entrypoint=line,
                submission_id=f"{label}-{uuid.uuid4().hex[:8]}",
                runtime_env={"env_vars": variables},
                metadata={"run": label},
            )
        )

    def poll(self, handle: str, log: Path) -> int | None:
        """0 or 1 once the job is over; what Ray says of a failed one goes into the log."""
        info = self._client.get_job_info(handle)
        if not info.status.is_terminal():
            return None
        if info.status == "SUCCEEDED":
            return 0
        with log.open("a", encoding="utf-8") as out:
            out.write(f"Ray job {handle} {info.status}: {' '.join(str(info.message).split())}\n")
        return 1

    def stop(self, handles: Sequence[str]) -> None:
        """Stop the jobs."""
        for handle in handles:
            self._client.stop_job(handle)
