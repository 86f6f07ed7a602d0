"""A Ray cluster of two nodes, each with its raylet and resources, on one machine: the run is a cluster user's.

Nothing of our environment is set on the nodes: what workers need there travels with verl's configuration.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leanthink.cli import main
from leanthink.core import code
from leanthink.runs.folder import STATE, Run
from leanthink.testbed.rows import write_parquet
from leanthink.verl.cpu.profile import ENVIRONMENT

pytestmark = [pytest.mark.long, pytest.mark.timeout(5400)]

OURS = (*ENVIRONMENT, code.FOLDERS, "RAY_ADDRESS")
PROMPTS, STEPS = 8, 3


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    folder = tempfile.mkdtemp(prefix="lt")  # short: the sockets of Ray lie in it
    found = Cluster()
    try:
        found.add_node(**on_each(), temp_dir=folder, include_dashboard=True, dashboard_port=free_port())
        yield found
    finally:
        found.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def on_each() -> dict[str, Any]:
    """A node's arguments; its agent, which takes jobs, has a port of its own: another Ray may run on the machine."""
    port = free_port()
    return {"num_cpus": 24, "num_gpus": 1, "object_store_memory": 256 * 1024**2, "dashboard_agent_listen_port": port}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def pasted(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The printed command, for a cluster whose nodes have no GPU but claim one."""
    variables = ", ".join(f"{name}: '{value}'" for name, value in ENVIRONMENT.items() if not name.startswith("RAY_"))
    ray_init = ("address", "num_gpus", "include_dashboard", "object_store_memory")
    overrides = [
        "trainer.save_freq=1", f"data.train_batch_size={PROMPTS}", "data.val_max_samples=8",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={PROMPTS}", "ray_kwargs.ray_init.num_cpus=null",
        *(f"+ray_kwargs.ray_init.{name}=null" for name in ray_init),
        f"+ray_kwargs.ray_init.runtime_env.env_vars={{{variables}}}",
    ]  # fmt: skip
    options = ["--profile", "cpu", "--nodes", "2", "--gpus", "1", "--steps", str(STEPS), "--seed", "1"]
    assert main(["show", "hapo", *options, "--verl", "--out", str(folder), *overrides]) == 0
    words = shlex.split(capsys.readouterr().out.replace("\\\n", " "))
    return shlex.join([sys.executable, "-P", "-m", "verl.trainer.main_ppo", *words[words.index("-m") + 2 :]])


def start(command: str, address: str, log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **ENVIRONMENT, "RAY_ADDRESS": address}
    with log.open("wb") as out:
        return subprocess.Popen(["bash", "-c", f"exec {command}"], stdout=out, stderr=out, env=environment)


def wait(condition: Callable[[], bool], what: str, log: Path, seconds: float = 1800) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what}: {log.read_text(errors='replace')[-4000:]}"
        time.sleep(0.5)


def submit(client: Any, command: str, log: Path) -> str:
    """The id of a Ray job; a dashboard that has not met its node's agent yet is asked again."""
    jobs: list[str] = []

    def taken() -> bool:
        try:
            jobs.append(client.submit_job(entrypoint=command))
        except RuntimeError as error:
            if "No available agent" not in str(error):
                raise
        return bool(jobs)

    wait(taken, "agent that takes the job", log, 600)
    return jobs[0]


CHECK = """
import json, sys
import ray

ray.init(address=sys.argv[1], runtime_env={"env_vars": json.loads(sys.argv[2])})
from leanthink.verl.driver.place import check_cluster

check_cluster(2, 1)
print("all have it")
"""


def test_a_node_without_the_plugin_is_named(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def checked() -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("RAY_")}
        words = [sys.executable, "-c", CHECK, cluster.address, json.dumps(variables)]
        return subprocess.run(words, capture_output=True, text=True, timeout=1800)

    alone = checked()
    assert "wants 2 machines with 1 GPUs each" in alone.stderr and alone.returncode != 0
    monkeypatch.setenv("VERL_USE_EXTERNAL_PLUGINS", "none")  # verl there is told to load no plug-in of ours
    lacking = cluster.add_node(**on_each())
    monkeypatch.delenv("VERL_USE_EXTERNAL_PLUGINS")
    cluster.wait_for_nodes()
    done = checked()
    assert done.returncode != 0
    assert "DependencyError: Ray node" in done.stderr, done.stderr[-4000:]
    assert f"{lacking.node_id[:8]}): DependencyError: leanthink's plug-in did not register" in done.stderr
    cluster.remove_node(lacking)
    cluster.add_node(**on_each())
    cluster.wait_for_nodes()
    done = checked()
    assert done.stdout.strip().splitlines()[-1] == "all have it", done.stderr[-4000:]


def test_a_run_on_two_nodes_loses_one_and_goes_on(
    cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ray.job_submission import JobSubmissionClient

    run = Run(folder=tmp_path / "run")
    write_parquet(run.folder / "data", train=64, test=8)
    command = pasted(run.folder, capsys)

    # Trained on both, until the second node dies behind the first checkpoint.
    second = cluster.add_node(**on_each())
    cluster.wait_for_nodes()
    log = tmp_path / "killed.txt"
    process = start(command, cluster.address, log)
    # verl logs a step after its checkpoint; only then is the step whole.
    logged = lambda: run.last_checkpoint() >= 1 and any(row["step"] >= 1 for row in run.read_metrics())  # noqa: E731
    wait(lambda: logged() or process.poll() is not None, "first step", log)
    assert process.poll() is None, log.read_text(errors="replace")[-4000:]
    cluster.remove_node(second, allow_graceful=False)
    assert process.wait(1800) != 0
    assert "Error" in log.read_text(errors="replace")
    reached = run.last_checkpoint()
    assert 1 <= reached < STEPS

    # With another node it goes on, this time as a Ray job, whose driver Ray starts without our environment.
    cluster.add_node(**on_each())
    cluster.wait_for_nodes()
    client = JobSubmissionClient(f"http://{cluster.head_node.webui_url}")
    log = tmp_path / "job.txt"
    log.touch()
    job = submit(client, f"env {' '.join(f'{k}={v}' for k, v in ENVIRONMENT.items())} {command}", log)
    wait(lambda: client.get_job_status(job).is_terminal(), "end of the job", log)
    log.write_text(client.get_job_logs(job))
    assert client.get_job_status(job) == "SUCCEEDED", log.read_text()[-4000:]

    assert run.last_checkpoint() == STEPS and run.evaluated_steps()[-1] == STEPS
    rows = [row for row in run.read_metrics() if "leanthink/accuracy" in row]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    for row in rows:  # facts came from both nodes' workers, and none is unknown
        assert row["leanthink/unknown_share"] == 0 and row["leanthink/groups/size"] == 8
        assert 0 < row["leanthink/accuracy"] <= 1 and "leanthink/part/length" in row
    saved = json.loads((run.checkpoints / f"global_step_{STEPS}" / STATE).read_text())
    remembered = saved["state"]["length"]["of"]
    assert 1 <= len(remembered["length"]) <= PROMPTS * STEPS
    assert remembered["count"] == {}  # the shortest length is of no count
    first = json.loads((run.checkpoints / f"global_step_{reached}" / STATE).read_text())["state"]["length"]["of"]
    for key, shortest in first["length"].items():  # it went on with what was remembered
        assert remembered["length"][key] <= shortest
    assert main(["report", str(run.folder), "--out", str(tmp_path / "report")]) == 0
