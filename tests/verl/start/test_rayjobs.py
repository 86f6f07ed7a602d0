"""A sweep's runs as jobs of a running Ray cluster, here of one machine; training only naps. Starts Ray, so marked.

Whether a client sends a token is settled when Ray is imported, so the clients are processes of their own.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

import sweep_stub
from leanthink.sweep.plan import load_sweep
from leanthink.sweep.store import Store

pytestmark = [pytest.mark.verl, pytest.mark.timeout(600)]

JOB = """
import sys, time
from pathlib import Path
from leanthink.verl.start.rayjobs import RayJobs

address, log = sys.argv[1], Path(sys.argv[2])
handle = RayJobs(address).start("long", ["sleep", "600"], log)
another = RayJobs(address)
assert another.poll(handle, log) is None
another.stop([handle])
while (code := another.poll(handle, log)) is None:
    time.sleep(0.5)
print(code, f"Ray job {handle} STOPPED" in log.read_text(), another.poll("nobody", log))
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def environment():
    """A token of this test's own, which cluster and clients share."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**mine, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}


@pytest.fixture(scope="module")
def address(tmp_path_factory, environment):
    """The address of a cluster of this test's own."""
    printed = tmp_path_factory.mktemp("ray") / "ray.txt"
    # Ray notes a running cluster in its temporary folder, for other programs to join; sockets want a short path.
    own = tempfile.mkdtemp(prefix="ray-")
    port = free_port()
    program = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=4"]
    options = [f"--port={free_port()}", f"--dashboard-port={port}", "--include-dashboard=true"]
    options += [f"--{name}-port={free_port()}" for name in ("dashboard-agent-listen", "ray-client-server")]
    sizes = ["--object-store-memory=100000000", "--disable-usage-stats", f"--temp-dir={own}"]
    with printed.open("w") as out:
        head = subprocess.Popen(
            [*program, *options, *sizes], stdout=out, stderr=out, start_new_session=True, env=environment
        )
    deadline = time.monotonic() + 240
    while not answers(port):
        assert time.monotonic() < deadline and head.poll() is None, printed.read_text()
        time.sleep(1)
    yield f"http://127.0.0.1:{port}"
    head.terminate()
    head.wait(60)
    shutil.rmtree(own, ignore_errors=True)  # its last processes may still write


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def python(environment, *arguments):
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_a_sweep_of_ray_jobs(address, environment, tmp_path):
    file, out = tmp_path / "sweep.yaml", tmp_path / "out"
    file.write_text("recipes: [one, broken]\nsteps: 3\n")
    python(environment, sweep_stub.__file__, "sweep", str(file), str(out), "2", address)
    plan = load_sweep(file, sweep_stub.resolve)
    one, broken = (Store(folder=out).status(planned) for planned in plan.runs)
    assert (one.state, broken.state, one.launcher) == ("finished", "failed", "ray")
    assert broken.error.startswith("exit code 1: ")
    assert "it is broken" in broken.error


def test_a_job_is_known_by_its_handle_and_can_be_stopped(address, environment, tmp_path):
    assert python(environment, "-c", JOB, address, str(tmp_path / "log.txt")).split() == ["1", "True", "1"]


def test_no_cluster_there(environment):
    code = "from leanthink.verl.start.rayjobs import RayJobs; RayJobs('http://127.0.0.1:9')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=400)
    assert "ConfigError: --ray http://127.0.0.1:9: no Ray cluster takes jobs from us there" in done.stderr
