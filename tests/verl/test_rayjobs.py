"""A sweep's runs as jobs of a running Ray cluster, here of one machine; training only naps. Starts Ray, so marked."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sweep_stub
from leanthink.errors import ConfigError
from leanthink.sweep.plan import load_sweep
from leanthink.sweep.schedule import Scheduler
from leanthink.sweep.store import Store
from leanthink.verl.rayjobs import RayJobs

pytestmark = [pytest.mark.verl, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]  # Ray's own warnings


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a cluster of our own, which is ended by its process group alone."""
    folder = tmp_path_factory.mktemp("ray")
    port = free_port()
    program = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=4"]
    options = [f"--port={free_port()}", f"--dashboard-port={port}", "--include-dashboard=true"]
    sizes = ["--object-store-memory=100000000", "--disable-usage-stats"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with (folder / "ray.txt").open("w") as out:
        head = subprocess.Popen(
            [*program, *options, *sizes], stdout=out, stderr=out, start_new_session=True, env=environment
        )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 240
    while True:
        try:
            RayJobs(address)
            break
        except ConfigError:
            assert time.monotonic() < deadline and head.poll() is None, (folder / "ray.txt").read_text()
            time.sleep(1)
    yield address
    head.terminate()
    head.wait(60)


def test_a_sweep_of_ray_jobs(cluster, tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text("recipes: [one, broken]\nsteps: 3\n")
    store = Store(folder=tmp_path / "out")
    plan = load_sweep(file, sweep_stub.resolve)
    store.open(plan)
    statuses = Scheduler(
        sweep=plan,
        store=store,
        launcher=RayJobs(cluster),
        command=sweep_stub.command,
        watcher=sweep_stub.Quiet(),
        jobs=2,
    ).run()
    assert [statuses[planned.key].state for planned in plan.runs] == ["finished", "failed"]
    assert statuses[plan.runs[1].key].error == "exit code 1: verl ended with exit code 1: it is broken"


def test_a_job_is_known_by_its_handle_and_can_be_stopped(cluster, tmp_path):
    log = tmp_path / "log.txt"
    handle = RayJobs(cluster).start("long", ["sleep", "600"], log)
    another = RayJobs(cluster)
    assert another.poll(handle, log) is None
    another.stop([handle])
    deadline = time.monotonic() + 120
    while (code := another.poll(handle, log)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert code == 1
    assert f"Ray job {handle}" in log.read_text()


def test_no_cluster_there():
    with pytest.raises(ConfigError, match=r"--ray http://127.0.0.1:9: no Ray cluster answers there"):
        RayJobs("http://127.0.0.1:9")
