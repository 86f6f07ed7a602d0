"""The results table and the costs of a sweep against numbers worked out by hand."""

import json

import pyarrow.csv
import pyarrow.parquet
import pytest

from leanthink.runs.folder import Run
from leanthink.runs.identity import Difference, Record
from leanthink.sweep.cost import Cost, TimeLeft, measured, plan_table
from leanthink.sweep.plan import Planned, Sweep
from leanthink.sweep.store import Status, Store, outcome
from leanthink.sweep.table import _column, results, rows_of, write_results


def planned(name, key, *, steps=10, **overrides):
    return Planned(variant=name, recipe=name, overrides=overrides, seed=1, arguments=(), steps=steps, key=key)


def made(folder, *, accuracies, steps, stopped=None, summary=True):
    """A run of three questions an evaluation; a training metric is a hundred times its step."""
    run = Run(folder=folder)
    run.validation.mkdir(parents=True)
    run.attempts.mkdir()
    for step, right in accuracies.items():
        rows = [{"acc": float(n < right), "length": 10 * step + n, "truncated": float(n == 0)} for n in range(3)]
        (run.validation / f"{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [
        {"step": step, "data": {"leanthink/x": 100 * step, "verl/y": 1, "leanthink/name": "z"}}
        for step in range(1, steps + 1)
    ]
    (run.attempts / "000.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if summary:
        seconds = {"total": 100.0, "per_step": {"step": 4.0}}
        content = {"recipe": "one", "profile": "cpu", "steps": steps, "seconds": seconds, "versions": {"verl": "0.9.1"}}
        run.summary.write_text(json.dumps({**content, **({"stopped": stopped} if stopped else {})}))
    return run


def test_each_evaluation_has_its_own_row(tmp_path):
    run = made(tmp_path, accuracies={0: 1, 4: 2, 10: 3}, steps=10)
    rows = rows_of(run, "finished")
    assert [(row["moment"], row["step"]) for row in rows] == [("before", 0), ("during", 4), ("after", 10)]
    assert [row["accuracy"] for row in rows] == pytest.approx([1 / 3, 2 / 3, 1])
    assert [row["mean_tokens"] for row in rows] == [1, 41, 101]
    assert [row["truncated_share"] for row in rows] == pytest.approx([1 / 3] * 3)
    assert [row.get("train.leanthink/x") for row in rows] == [None, 400, 1000]
    assert not {"train.verl/y", "train.leanthink/name", "changed"} & rows[2].keys()
    assert {row["version.verl"] for row in rows} == {"0.9.1"}


def test_a_failed_runs_last_evaluation_is_not_after_training(tmp_path):
    run = made(tmp_path, accuracies={0: 1, 4: 2}, steps=5, summary=False)
    assert [row["moment"] for row in rows_of(run, "failed")] == ["before", "during"]
    (tmp_path / "summary.json").write_text('{"steps": 4, "versions": {"verl": "0"}}')  # of an earlier end
    assert "version.verl" not in rows_of(run, "failed")[0]
    assert rows_of(Run(folder=tmp_path / "none"), "failed") == [{"moment": None, "step": None}]


def test_what_was_changed_between_starts_stands_in_each_row(tmp_path):
    run = made(tmp_path, accuracies={0: 1, 10: 2}, steps=10)
    free = Difference(name="trainer.save_freq", before=1, after=2, free=True)
    lr = Difference(name="optim.lr", before=1, after=2)
    record = Record(facts={}).started({}, 0).started({}, 3, [lr, free]).started({}, 5, [lr])
    record.write(run.record)
    assert [row["changed"] for row in rows_of(run, "finished")] == ["optim.lr", "optim.lr"]


@pytest.mark.parametrize(
    ("steps", "wanted", "stopped", "state"),
    [
        (10, 10, None, "finished"),
        (11, 10, None, "finished"),
        (9, 10, None, None),
        (9, None, None, "finished"),
        (4, 10, {"reason": "collapsed"}, "collapsed"),
        (10, 10, {"reason": "collapsed"}, "collapsed"),
    ],
)
def test_how_a_run_ended(tmp_path, steps, wanted, stopped, state):
    run = made(tmp_path, accuracies={0: 1}, steps=steps, stopped=stopped)
    assert outcome(run, planned("one", "k", steps=wanted)) == state
    run.summary.write_text("{}")
    assert outcome(run, planned("one", "k", steps=wanted)) is None


def test_only_runs_that_ended_are_in_the_table(tmp_path):
    one, two, three = planned("one", "a", **{"x.y": 1}), planned("two", "b", **{"z": "w"}), planned("three", "c")
    sweep = Sweep(runs=(one, two, three), file=tmp_path / "s.yaml")
    rows = [{"moment": "before", "step": 0, "accuracy": 0.25}, {"moment": "after", "step": 9, "accuracy": 0.75}]
    statuses = {
        "a": Status(state="finished", seconds=7.5, attempts=2, commit="abc", rows=rows),
        "b": Status(state="failed", error="no luck", attempts=1, rows=[{"moment": None, "step": None}]),
        "c": Status(state="running", attempts=1, rows=rows),
    }
    table = results(sweep, statuses).to_pylist()
    assert [(row["run"], row["status"], row["step"]) for row in table] == [
        ("one-seed-1-a", "finished", 0),
        ("one-seed-1-a", "finished", 9),
        ("two-seed-1-b", "failed", None),
    ]
    assert [(row["config.x.y"], row["config.z"]) for row in table] == [(1, None), (1, None), (None, "w")]
    assert [(row["seconds"], row["attempts"], row["error"], row["git_commit"]) for row in table] == [
        (7.5, 2, None, "abc"),
        (7.5, 2, None, "abc"),
        (0.0, 1, "no luck", None),
    ]
    store = Store(folder=tmp_path / "out")
    store.open(sweep)
    for run in sweep.runs:
        store.save(run, statuses[run.key])
    write_results(sweep, store)
    assert pyarrow.parquet.read_table(store.folder / "results.parquet").to_pylist() == table
    assert pyarrow.csv.read_csv(store.folder / "results.csv").num_rows == 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None, 2], [1, None, 2]),
        ([1, 2.5], [1.0, 2.5]),
        ([True, None], [True, None]),
        ([True, 1], ["true", "1"]),
        ([10**30, None], [str(10**30), None]),
        ([2**63 - 1, -(2**63) + 1], [2**63 - 1, -(2**63) + 1]),
        ([10**30, 0.5], [1e30, 0.5]),
        ([2**53 + 1, 0.5], [2.0**53, 0.5]),
        (["\ud800"], ["\ufffd"]),
        (["a", 1, None, [1, 2]], ["a", "1", None, "[1, 2]"]),
        ([None], [None]),
    ],
)
def test_a_column_has_one_type(values, expected):
    assert _column(values).to_pylist() == expected


def test_costs_are_of_the_recipe_where_it_is_known_and_else_of_all(tmp_path):
    """100 seconds in all and 4 a step: of 10 steps 60 to start, of 20 steps 20; nothing is negative."""
    runs = [made(tmp_path / str(steps), accuracies={0: 1}, steps=steps) for steps in (10, 20, 50)]
    cost = measured(runs, "cpu")
    assert (cost.start["one"], cost.step["one"], cost.runs) == (pytest.approx(80 / 3), 4.0, 3)
    assert cost.seconds(planned("one", "k", steps=10), done=4) == pytest.approx(80 / 3 + 24)
    assert cost.seconds(planned("one", "k", steps=10), done=40) == pytest.approx(80 / 3)
    assert cost.seconds(planned("one", "k", steps=None)) is None
    known = Cost(start={"": 1.0, "one": 5.0}, step={"": 2.0, "one": 3.0}, runs=2)
    assert known.seconds(planned("one", "k", steps=10)) == 35
    assert known.seconds(planned("other", "k", steps=10)) == 21
    assert Cost().seconds(planned("one", "k")) is None


def test_the_time_left_is_not_told_before_a_step_is_done():
    left = TimeLeft(total=30)
    left.begin(10, now=100.0)
    assert left.seconds(10, now=150.0) is None
    assert left.seconds(40, now=150.0) == 0
    assert TimeLeft(total=None).seconds(15, now=150.0) is None


def test_the_plan_adds_up_what_is_to_go(tmp_path):
    one, two, three = (planned("one", key, steps=steps) for key, steps in (("a", 10), ("b", 20), ("c", 40)))
    sweep, store = Sweep(runs=(one, two, three), file=tmp_path / "s.yaml"), Store(folder=tmp_path / "out")
    store.open(sweep)
    store.save(one, Status(state="finished"))
    store.save(two, Status(state="failed"))
    cost = Cost(start={"": 0.0}, step={"": 60.0}, runs=5)
    assert plan_table(sweep, store, cost, 1).caption == (
        "2 runs to go, 60 steps; about 1 h 00 min with 1 at a time, from 5 finished runs"
    )
    assert "about 30 min with 7 at a time" in plan_table(sweep, store, cost, 7).caption  # two are all there are
    assert "no finished run to estimate from" in plan_table(sweep, store, Cost(), 1).caption


def test_what_a_checkpoint_holds_costs_nothing_more(tmp_path):
    one = planned("one", "a", steps=40)
    sweep, store = Sweep(runs=(one,), file=tmp_path / "s.yaml"), Store(folder=tmp_path / "out")
    store.open(sweep)
    tracker = store.run(one).checkpoints / "latest_checkpointed_iteration.txt"
    tracker.parent.mkdir(parents=True)
    tracker.write_text("30")
    cost = Cost(start={"": 0.0}, step={"": 60.0}, runs=5)
    assert "about 10 min with 1 at a time" in plan_table(sweep, store, cost, 1).caption


def test_what_others_wrote_into_a_sweeps_folder_is_a_table_all_the_same(tmp_path):
    """Numbers wider than the table's, halves of surrogate pairs as names and values, no rows."""
    one, two = planned("one", "a"), planned("two", "b")
    sweep, store = Sweep(runs=(one, two), file=tmp_path / "s.yaml"), Store(folder=tmp_path / "out")
    store.open(sweep)
    rows = [{"step": 10**30, "run": {"a": 1}, "\ud800": "\ud800", "acc": 2**53 + 1}, {"acc": 0.5}]
    store.save(one, Status(state="finished", attempts=10**30, rows=rows, error="\ud800"))
    store.save(two, Status(state="finished"))
    write_results(sweep, store)
    table = pyarrow.parquet.read_table(store.folder / "results.parquet").to_pylist()
    assert [row["step"] for row in table] == [str(10**30), None, None]
    assert [row["run"] for row in table] == ['{"a": 1}', "one-seed-1-a", "two-seed-1-b"]
    assert table[0]["\ufffd"] == table[0]["error"] == "\ufffd"
    made(tmp_path / "run", accuracies={0: 1}, steps=1)
    run = Run(folder=tmp_path / "run")
    run.summary.write_text(json.dumps({"recipe": "x", "steps": 1, "versions": {"\ud800": "\ud800"}}))
    store.save(one, Status(state="finished", rows=rows_of(run, "finished")))
    write_results(sweep, store)
