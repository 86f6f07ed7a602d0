"""The real plan, scheduler, store and table over training that only naps: killed, interrupted, failing, collapsing."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest

import sweep_stub
from leanthink.core.errors import StateError
from leanthink.runs.folder import Run
from leanthink.sweep.local import Local
from leanthink.sweep.plan import load_sweep
from leanthink.sweep.schedule import Scheduler, last_words
from leanthink.sweep.store import Status, Store

STUB = Path(sweep_stub.__file__)
TWO = "recipes: [one, two]\ngrid: {data.x: [1, 2]}\nseeds: [1, 2]\nsteps: 8\n"


def write(folder, text):
    path = folder / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def start(file, out, jobs=2):
    program = [sys.executable, str(STUB), "sweep", str(file), str(out), str(jobs)]
    with (file.parent / "printed.txt").open("a") as printed:
        return subprocess.Popen(program, stdout=printed, stderr=printed)


def scheduler(file, out, jobs=2):
    store = Store(folder=out)
    plan = load_sweep(file, sweep_stub.resolve)
    store.open(plan)
    return Scheduler(
        sweep=plan, store=store, launcher=Local(), command=sweep_stub.command, watcher=sweep_stub.Quiet(), jobs=jobs
    )


def counts(out, name):
    return {path.parent.name: len(path.read_text().splitlines()) for path in out.glob(f"runs/*/{name}.txt")}


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has_steps(folder):
    """Whether the run has begun to train."""
    path = folder / "metrics.jsonl"
    return path.exists() and len(path.read_text().splitlines()) >= 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_it_goes_on_and_each_run_ends_once(tmp_path, number):
    file, out = write(tmp_path, TWO), tmp_path / "out"
    (tmp_path / "hold").write_text("2")  # once two have ended, two wait in their middle: no other run can begin or end
    first = start(file, out)
    wait_for(lambda: len(list(out.glob("runs/*/held"))) == 2)
    first.send_signal(number)
    first.wait()
    (tmp_path / "hold").unlink()
    ended_before = counts(out, "ends")
    assert 2 <= len(ended_before) < 8
    wait_for(lambda: not any(Run(folder=path).is_locked() for path in out.glob("runs/*")))

    second = start(file, out)
    assert second.wait() == 0
    assert len(counts(out, "ends")) == 8
    assert set(counts(out, "ends").values()) == {1}
    starts = counts(out, "starts")
    assert all(starts[name] == 1 for name in ended_before)
    assert sum(starts.values()) > 8  # some were interrupted
    for path in out.glob("runs/*"):
        assert [row["step"] for row in Run(folder=path).read_metrics()] == list(range(1, 9))

    table = pyarrow.parquet.read_table(out / "results.parquet").to_pylist()
    assert len(table) == 16
    assert {(row["recipe"], row["config.data.x"], row["seed"], row["moment"]) for row in table} == {
        (recipe, x, seed, moment)
        for recipe in ("one", "two")
        for x in (1, 2)
        for seed in (1, 2)
        for moment in ("before", "after")
    }
    assert {row["status"] for row in table} == {"finished"}
    assert {(row["step"], row["accuracy"], row["mean_tokens"]) for row in table} == {(0, 0.5, 30.0), (8, 0.5, 26.0)}
    assert {row["version.verl"] for row in table} == {"0.9.1"}
    assert all(row["seconds"] > 0 for row in table)
    assert all(row["train.leanthink/accuracy"] == 0.5 for row in table if row["step"] == 8)
    with (out / "results.csv").open(newline="") as text:
        assert len(list(csv.DictReader(text))) == 16
    assert not list(out.glob("*.part"))


def unfinished(out):
    return [path for path in out.glob("runs/*") if not (path / "summary.json").exists()]


def test_a_failed_run_keeps_its_log_stops_no_other_and_is_tried_again(tmp_path):
    file, out = write(tmp_path, "recipes: [broken, one, collapses]\nsteps: 3\n"), tmp_path / "out"
    statuses = {status.state: status for status in scheduler(file, out, jobs=1).run().values()}
    assert set(statuses) == {"failed", "finished", "collapsed"}
    assert statuses["failed"].error == "exit code 1: verl ended with exit code 1: it is broken"
    assert "it is broken" in next(out.glob("logs/broken*.txt")).read_text()
    rows = pyarrow.parquet.read_table(out / "results.parquet").to_pylist()
    assert [(row["recipe"], row["moment"], row["step"], row["status"]) for row in rows] == [
        ("broken", None, None, "failed"),
        ("one", "before", 0, "finished"),
        ("one", "after", 3, "finished"),
        ("collapses", "before", 0, "collapsed"),
        ("collapses", "after", 2, "collapsed"),
    ]
    (out / "runs" / "mended").touch()
    again = scheduler(file, out, jobs=1).run()
    assert sorted(status.state for status in again.values()) == ["collapsed", "finished", "finished"]
    starts = {name.split("-")[0]: number for name, number in counts(out, "starts").items()}
    assert starts == {"broken": 2, "one": 1, "collapses": 1}


def test_killing_one_run_leaves_the_others_alone(tmp_path):
    file, out = write(tmp_path, "recipes: [one, two]\nsteps: 8\n"), tmp_path / "out"
    sweep = start(file, out)
    wait_for(lambda: len(counts(out, "starts")) == 2 and all(has_steps(path) for path in out.glob("runs/*")))
    victim = next(out.glob("status/one*.json"))
    store = Store(folder=out)
    planned = load_sweep(file, sweep_stub.resolve).runs[0]
    os.kill(int(store.status(planned).handle), signal.SIGKILL)
    assert sweep.wait(120) == 0
    assert store.status(planned).error.startswith("killed by signal 9")
    assert victim.exists()
    assert [name.split("-")[0] for name in counts(out, "ends")] == ["two"]


def test_a_changed_file_makes_new_runs_and_names_the_old_ones(tmp_path):
    out = tmp_path / "out"
    scheduler(write(tmp_path, "recipes: [one]\nsteps: 2\n"), out).run()
    changed = scheduler(write(tmp_path, "recipes: [one]\nsteps: 3\n"), out)
    changed.run()
    assert len(list(out.glob("runs/*"))) == 2
    assert len(changed.store.others(changed.sweep)) == 1
    rows = pyarrow.parquet.read_table(out / "results.parquet").to_pylist()
    assert [row["step"] for row in rows] == [0, 3]


def test_a_variant_with_another_name_is_the_same_run(tmp_path):
    out = tmp_path / "out"
    scheduler(write(tmp_path, "variants: {a: {recipe: one}}\nsteps: 2\n"), out).run()
    scheduler(write(tmp_path, "variants: {b: {recipe: one}}\nsteps: 2\n"), out).run()
    assert list(counts(out, "starts").values()) == [1]
    assert {row["variant"] for row in pyarrow.parquet.read_table(out / "results.parquet").to_pylist()} == {"b"}


def test_a_run_that_ended_while_no_sweep_looked_has_the_time_it_took_by_its_own_account(tmp_path):
    again = scheduler(write(tmp_path, "recipes: [one]\nsteps: 2\n"), tmp_path / "out")
    (status,) = again.run().values()
    (planned,) = again.sweep.runs
    again.store.save(planned, status.but(state="running", seconds=5.0, rows=[]))  # as a killed sweep leaves it
    (status,) = again.run().values()
    total = again.store.run(planned).read_summary()["seconds"]["total"]
    assert (status.state, status.attempts, status.seconds) == ("finished", 1, 5.0 + total)


@pytest.mark.parametrize("seconds", [{}, {"seconds": {}}])
def test_a_summary_without_seconds_adds_none(tmp_path, seconds):
    again = scheduler(write(tmp_path, "recipes: [one]\nsteps: 2\n"), tmp_path / "out")
    again.run()
    (planned,) = again.sweep.runs
    again.store.run(planned).summary.write_text(json.dumps({"recipe": "one", "steps": 2, **seconds}))
    again.store.save(planned, Status(state="running", seconds=5.0))
    (status,) = again.run().values()
    assert (status.state, status.seconds) == ("finished", 5.0)


def test_evaluations_that_cannot_be_read_are_told_and_stop_no_other_run(tmp_path):
    """Once they are mended, the same command takes them into the table."""
    out = tmp_path / "out"
    again = scheduler(write(tmp_path, "recipes: [one, two]\nsteps: 2\n"), out, jobs=1)
    (one, two), (kept, _) = again.sweep.runs, again.run().values()
    dump = again.store.run(one).validation / "2.jsonl"
    good = dump.read_text()
    for place, damage in (
        (dump, '{"acc": 1}\n'),
        (dump, "{"),
        (again.store.run(one).record, '{"facts": {}, "starts": [{"at": "", "from_step": 1, "changed": [{"name": 5, '
         '"before": 1, "after": 2}]}]}'),
    ):  # fmt: skip
        place.write_text(damage)
        again.store.save(one, Status(state="running"))
        again.store.save(two, Status(state="running"))
        first, second = again.run().values()
        assert (first.state, first.rows) == ("finished", [])
        assert first.error.startswith(f"its evaluations cannot be read: {place}") and "\n" not in first.error
        assert second.state == "finished" and len(second.rows) == 2
        table = pyarrow.parquet.read_table(out / "results.parquet").to_pylist()
        assert [(row["recipe"], row["step"]) for row in table] == [("one", None), ("two", 0), ("two", 2)]
        place.write_text(good) if place == dump else place.unlink()
    first, _ = again.run().values()
    assert (first.error, first.rows) == ("", kept.rows)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StateError, match="not empty and holds no sweep; give another folder with --out"):
        Store(folder=tmp_path).open(load_sweep(write(tmp_path, "recipes: [one]\nsteps: 2\n"), sweep_stub.resolve))


def test_two_sweeps_do_not_share_a_folder(tmp_path):
    store = Store(folder=tmp_path)
    with store.locked(), pytest.raises(StateError, match="another `leanthink sweep`"), store.locked():
        pass


def test_last_words_are_the_error_not_the_warning(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("leanthink train: no recipe 'x'\nleanthink train: warning: strange\nTraceback\n")
    assert last_words(log, 1) == "exit code 1: no recipe 'x'"
    assert last_words(tmp_path / "none.txt", -9) == "killed by signal 9: it printed nothing"


def test_the_seconds_are_those_of_all_attempts(tmp_path):
    again = scheduler(write(tmp_path, "recipes: [one]\nsteps: 2\n"), tmp_path / "out")
    (planned,) = again.sweep.runs
    again.store.save(planned, Status(state="failed", attempts=1, seconds=5000.0))
    (status,) = again.run().values()
    assert (status.state, status.attempts) == ("finished", 2) and 5000 < status.seconds < 6000
