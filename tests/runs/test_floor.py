"""A run has collapsed when its last evaluations all lie below the floor."""

import json

import pytest

from leanthink.core.errors import ConfigError
from leanthink.runs.floor import Floor
from leanthink.runs.folder import Run, seconds_by_phase


def run_with(folder, accuracies):
    """Ten samples an evaluation; None for one of which no verdict is known."""
    run = Run(folder=folder)
    run.validation.mkdir()
    for step, accuracy in accuracies.items():
        rows = [
            {"acc": float(n < 10 * (accuracy or 0)), "length": 5, "truncated": 0.0, "unknown": accuracy is None}
            for n in range(10)
        ]
        (run.validation / f"{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


@pytest.mark.parametrize(
    ("accuracies", "step"),
    [
        ({0: 0.8, 5: 0.2, 10: 0.1}, 10),
        ({0: 0.8, 5: 0.2}, None),
        ({0: 0.1, 5: 0.2}, None),  # before training does not count
        ({0: 0.8, 5: 0.2, 10: 0.4, 15: 0.2}, None),  # not in a row
        ({0: 0.8, 5: 0.2, 10: 0.3}, None),  # on the floor is not below it
        ({0: 0.8, 5: 0.2, 10: None, 15: 0.1}, 15),
        ({}, None),
    ],
)
def test_the_last_evaluations_decide(tmp_path, accuracies, step):
    stopped = Floor(below=0.3, evaluations=2).reached(run_with(tmp_path, accuracies))
    assert (stopped or {}).get("step") == step
    if stopped:
        assert stopped == {"reason": "collapsed", "step": step, "accuracy": 0.1, "below": 0.3, "evaluations": 2}


def test_what_may_still_be_written_is_left_alone(tmp_path):
    run = run_with(tmp_path, {0: 0.8, 5: 0.2, 10: 0.1})
    (run.validation / "10.jsonl").write_text('{"acc": 0.')
    assert Floor(below=0.3, evaluations=1).reached(run, up_to=9)["step"] == 5


@pytest.mark.parametrize(("below", "evaluations"), [(0.0, 2), (30, 2), (0.3, 0)])
def test_a_floor_that_is_none(below, evaluations):
    with pytest.raises(ConfigError, match="give"):
        Floor(below=below, evaluations=evaluations)


def test_two_evaluations_decide_unless_told_otherwise(tmp_path):
    assert Floor(below=0.3).reached(run_with(tmp_path, {0: 0.8, 5: 0.2, 10: 0.1}))["evaluations"] == 2


def test_the_first_two_steps_are_warm_up_to_the_seconds_of_a_phase():
    rows = [{"step": step, "timing_s/gen": seconds} for step, seconds in enumerate([90.0, 50.0, 4.0, 2.0], 1)]
    assert seconds_by_phase(rows) == {"gen": 3.0}
    assert seconds_by_phase(rows[:2]) == {"gen": 70.0}


def test_a_phase_that_not_every_step_has_costs_its_share_of_a_step():
    rows = [{"step": step, "timing_s/gen": 1.0} for step in range(1, 6)]
    rows[4]["timing_s/testing"] = 30.0
    assert seconds_by_phase(rows) == {"gen": 1.0, "testing": 10.0}
