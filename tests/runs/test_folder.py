"""What a run's folder may hold where others wrote it: steps, rows, summaries and records that are none are told."""

from __future__ import annotations

import json

import pytest

from leanthink.core.errors import DataError, StateError
from leanthink.runs.folder import LARGEST, Run, dumps_in, evaluation, seconds_by_phase, step_of
from leanthink.runs.identity import Record, read_record, shown

FINE = {"acc": 1.0, "length": 8, "truncated": 0.0}


@pytest.fixture
def run(tmp_path):
    run = Run(folder=tmp_path)
    run.validation.mkdir()
    run.attempts.mkdir()
    return run


def test_dumps_are_those_that_are_called_by_a_step(run):
    for name in ("10", "2", "007", "x", "\u00b2", "\u0663", "-1", "1e3", "9" * 200, ""):
        (run.validation / f"{name}.jsonl").touch()
    assert {step: path.stem for step, path in dumps_in(run.validation).items()} == {2: "2", 7: "007", 10: "10"}
    assert run.evaluated_steps() == [2, 7, 10]
    assert run.evaluations() == {2: [], 7: [], 10: []} and run.evaluations(up_to=7) == {2: [], 7: []}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("acc", "x"),
        ("acc", None),
        ("acc", 2),
        ("acc", float("nan")),
        ("length", None),
        ("length", -1),
        ("length", 1e308),
        ("length", 10**290),
        ("truncated", [1]),
    ],
)
def test_a_row_that_cannot_be_counted_is_named(run, name, value):
    rows = [FINE, {**FINE, name: value}]
    (run.validation / "3.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=rf"3.jsonl, row 2: {name} is .*; give a number from 0 to .*, or move the file"):
        run.evaluations()
    rows[1]["unknown"] = 1.0  # left out and counted, whatever it holds
    (run.validation / "3.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert evaluation(run.evaluations()[3])["unknown"] == 1


def test_the_largest_numbers_that_are_allowed_can_be_counted(run):
    (run.validation / "3.jsonl").write_text(f"{json.dumps({**FINE, 'length': LARGEST})}\n{json.dumps(FINE)}\n")
    assert evaluation(run.evaluations()[3])["mean_tokens"] == (LARGEST + 8) / 2


@pytest.mark.parametrize("step", [1e30, -1, 10**200, "3", None, True, 1.5, LARGEST + 1])
def test_a_step_that_is_none(run, step):
    with pytest.raises(DataError, match=r"here, step: .*whole number"):
        step_of({"step": step, "data": {}}, "here")
    (run.attempts / "000.jsonl").write_text(json.dumps({"step": step, "data": {}}) + "\n")
    with pytest.raises(DataError, match=r"000.jsonl, line 1, step: .*whole number"):
        run.read_metrics()


def test_seconds_that_are_none_are_left_out():
    rows = [
        {"timing_s/gen": "x", "timing_s/step": 9.0},
        {"timing_s/gen": 2.0, "timing_s/step": [1], "timing_s/y": 1e308},
    ]
    assert seconds_by_phase(rows) == {"gen": 2.0}


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 10**200},
        {"steps": -(10**200)},
        {"before": {"accuracy": 1e308}},
        {"after": {"by_difficulty": {"3": {"mean_tokens": 1e200}}}},
        {"seconds": {"total": 1e308}},
        {"seconds": {"total": 1, "per_step": {"step": 1e300}}},
    ],
)
def test_a_summary_of_impossible_numbers(run, change):
    run.summary.write_text(json.dumps({"recipe": "x", "steps": 3, **change}))
    with pytest.raises(DataError, match=r"more than anything that a run counts; up to 1e\+15 is allowed; delete it"):
        run.read_summary()


@pytest.mark.parametrize("text", ["9" * 99, "-5", "x"])
def test_a_newest_checkpoint_that_is_none(run, text):
    for name in ("4", "9", "\u00b2", "9" * 40):
        (run.checkpoints / f"global_step_{name}").mkdir(parents=True)
        (run.checkpoints / f"global_step_{name}" / "leanthink.json").touch()
    (run.checkpoints / "latest_checkpointed_iteration.txt").write_text(text)
    assert run.last_checkpoint() == 9


@pytest.mark.parametrize(
    "node",
    [
        {"facts": {}, "starts": [{"at": "x", "from_step": 1, "changed": [{"name": 5, "before": 1, "after": 2}]}]},
        {"facts": {}, "starts": [{"at": "x", "from_step": 1, "changed": [{"name": None, "before": 1, "after": 2}]}]},
        {"facts": {}, "starts": [{"at": "x", "from_step": 1, "changed": [5]}]},
        {"facts": {}, "starts": [[]]},
        {"facts": [[1, 2]], "starts": []},
        {"facts": {}, "starts": 5},
    ],
)
def test_a_record_that_is_none(run, node):
    run.record.write_text(json.dumps(node))
    with pytest.raises(StateError, match=r"run.json is no record of a run .*put it back from a copy, or remove it"):
        read_record(run.record)


@pytest.mark.parametrize("digest", [5, None, [1], {"a": 1}])
def test_a_fact_of_another_kind_is_shown(run, digest):
    fact = {"path": "a", "sha256": digest, "commit": digest}
    assert shown([fact]) == f"a (sha256 {digest!s:.8}, commit {digest!s:.8})"
    Record(facts={"data.train_files": [fact]}).write(run.record)
    assert read_record(run.record).facts == {"data.train_files": [fact]}
