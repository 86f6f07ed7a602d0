"""A launcher whose jobs outlive the sweep: Ctrl-C leaves them, and the next start takes them up."""

import pytest

import sweep_stub
from leanthink.sweep.local import Local
from leanthink.sweep.plan import load_sweep
from leanthink.sweep.schedule import Scheduler
from leanthink.sweep.store import Store


class Cluster(Local):
    """Processes that are left alone when the sweep goes."""

    name = "cluster"
    outlives = True


class Impatient(sweep_stub.Quiet):
    """Interrupts as soon as something runs."""

    def on_tick(self, running):
        if running:
            raise KeyboardInterrupt


def test_jobs_that_outlive_the_sweep_are_taken_up(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text("recipes: [one]\nsteps: 8\n")
    store = Store(folder=tmp_path / "out")
    plan = load_sweep(file, sweep_stub.resolve)
    store.open(plan)
    cluster = Cluster()

    def run(watcher):
        return Scheduler(
            sweep=plan, store=store, launcher=cluster, command=sweep_stub.command, watcher=watcher
        ).run()  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        run(Impatient())
    assert store.status(plan.runs[0]).state == "running"
    (status,) = run(sweep_stub.Quiet()).values()
    assert (status.state, status.attempts) == ("finished", 1)
    assert (store.run(plan.runs[0]).folder / "starts.txt").read_text() == "start\n"
