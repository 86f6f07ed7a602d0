"""What a Ray job is asked to run, without a cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray comes with verl")

from leanthink.verl.start.rayjobs import RayJobs


class Client:
    """Takes the place of Ray's; runs what it is given at once."""

    def __init__(self, address: str) -> None:
        self.names: list[str] = []

    def submit_job(self, *, entrypoint: str, submission_id: str, metadata: dict[str, str]) -> str:
        self.names.append(submission_id)
        subprocess.run(["sh", "-c", entrypoint], check=True)
        return submission_id


def test_a_run_that_is_tried_again_keeps_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", Client)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "a b")
    jobs, log = RayJobs("http://127.0.0.1:8265"), tmp_path / "the log.txt"
    show = "import os, sys; print(sys.argv[1], os.environ['PYTHONPATH'], os.getcwd())"
    handles = {jobs.start("trle seed=1", [sys.executable, "-S", "-c", show, word], log) for word in ("it's", "again")}
    assert log.read_text().splitlines() == [f"it's a b {tmp_path}", f"again a b {tmp_path}"]
    assert len(handles) == 2 and all(handle.startswith("trle seed=1-") for handle in handles)
