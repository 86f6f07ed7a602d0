"""SLURM jobs through submitit, whose local executor stands in for a cluster."""

import pickle
import time
from pathlib import Path

import pytest

import sweep_stub
from leanthink.core.errors import ConfigError, StateError
from leanthink.sweep.plan import load_sweep
from leanthink.sweep.schedule import Scheduler
from leanthink.sweep.store import Store

pytest.importorskip("submitit", reason="submitit comes with the extras slurm and dev")

from leanthink.sweep import slurm as slurm_jobs
from leanthink.sweep.slurm import Slurm, Train

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:unclosed", "ignore:subprocess")  # submitit's


def wait(slurm, handle, log):
    """However long it takes: a busy machine is no fault, and each test has its own limit."""
    while (code := slurm.poll(handle, log)) is None:
        time.sleep(0.1)
    return code


def test_jobs_run_to_their_end_and_give_their_exit_code(tmp_path):
    slurm = Slurm(tmp_path / "slurm", {"timeout_min": 5}, cluster="local")
    log = tmp_path / "log.txt"
    good = slurm.start("good", ["sh", "-c", "echo fine"], log)
    assert wait(slurm, good, log) == 0
    assert log.read_text() == "fine\n"
    bad = slurm.start("bad", ["sh", "-c", "exit 7"], log)
    assert wait(slurm, bad, log) == 7


def test_a_cancelled_job_says_so_in_its_log(tmp_path):
    slurm = Slurm(tmp_path / "slurm", {}, cluster="local")
    log = tmp_path / "log.txt"
    over = tmp_path / "over"  # ends the command, which outlives the job that started it
    handle = slurm.start("long", ["sh", "-c", f"echo begun; while [ ! -e '{over}' ]; do sleep 0.2; done"], log)
    try:
        while slurm.poll(handle, log) is None and not (log.exists() and "begun" in log.read_text()):
            time.sleep(0.1)
        slurm.stop([handle])
        assert wait(slurm, handle, log) == 1
        assert f"SLURM job {handle} (" in log.read_text() and "it ended before its command did" in log.read_text()
    finally:
        over.touch()
        slurm._jobs[handle]._process.wait()  # or its warning would come in another test


def test_a_sweep_of_jobs(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text("recipes: [one, broken]\nsteps: 3\n")
    store = Store(folder=tmp_path / "out")
    plan = load_sweep(file, sweep_stub.resolve)
    store.open(plan)
    slurm = Slurm(store.folder / "slurm", {}, cluster="local")
    statuses = Scheduler(
        sweep=plan, store=store, launcher=slurm, command=sweep_stub.command, watcher=sweep_stub.Quiet(), jobs=2
    ).run()
    assert [statuses[planned.key].state for planned in plan.runs] == ["finished", "failed"]
    assert statuses[plan.runs[1].key].error == "exit code 1: verl ended with exit code 1: it is broken"


def test_a_job_out_of_time_is_submitted_again(tmp_path):
    """submitit asks the function what to submit in its place."""
    again = Train().checkpoint(["true"], "log", "cwd")
    assert isinstance(again.function, Train)
    assert again.args == (["true"], "log", "cwd")


def test_a_parameter_that_is_none(tmp_path):
    with pytest.raises(ConfigError, match=r"--slurm gpus=8: .*give what submitit's AutoExecutor takes"):
        Slurm(tmp_path, {"gpus": 8}, cluster="local")


class Runs:
    """A pickle that leaves a file when it is read."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_nothing_is_unpickled_from_a_folder(tmp_path, monkeypatch):
    """A status and submitit's files of the job that it names may come with a folder of somebody else."""
    monkeypatch.setattr(slurm_jobs, "PATIENCE_SECONDS", 0.0)
    slurm, mark = Slurm(tmp_path / "slurm", {}, cluster="local"), tmp_path / "ran"
    slurm._folder.mkdir(exist_ok=True)
    for name in ("77_0_result.pkl", "77_submitted.pkl"):
        (slurm._folder / name).write_bytes(pickle.dumps(("success", Runs(mark))))
    log = tmp_path / "one.txt"
    assert slurm.poll("77", log) == 1
    assert "SLURM job 77 (FINISHED): it ended before its command did" in log.read_text()
    for left, code in (("3\n", 3), ("-9\n", -9), ("x\n", 1), ("9" * 400, 1)):
        (slurm._folder / "77.exit").write_text(left)
        assert slurm.poll("77", log) == code
    (slurm._folder / "77_0_log.err").write_text("slurmstepd: error:\n\x1b out of memory\n")
    slurm.poll("77", log)
    assert "77_0_log.err: slurmstepd: error: \\x1b out of memory\n" in log.read_text()
    assert not mark.exists()


@pytest.mark.parametrize("handle", ["", "../77", "77;x", "-a", "7\n", "\u0663", "7_", "7_1_2", "%j", "9" * 30])
def test_a_handle_that_is_no_jobs_id(tmp_path, handle):
    with pytest.raises(StateError, match=r"status/one.json in the sweep's folder names the SLURM job .*delete that"):
        Slurm(tmp_path, {}, cluster="local").poll(handle, tmp_path / "one.txt")
