"""A run that collapses is stopped for good; verl's place is taken by a program that writes what verl writes."""

import os
import sys
import time

import pytest

from leanthink import cli
from leanthink.files.writing import open_lock
from leanthink.runs.floor import Floor
from leanthink.runs.folder import Run
from leanthink.runs.following import follow
from leanthink.verl.start import train as training

VERL = """
import json, os, sys, time

keys = dict(argument.split("=", 1) for argument in sys.argv[1:])
folder = keys["trainer.validation_data_dir"]
os.makedirs(folder, exist_ok=True)
every = int(keys["trainer.test_freq"])
for step in range(int(keys["trainer.total_training_steps"]) + 1):
    time.sleep(0.05)
    if step % every == 0:
        rows = [{"acc": float(n < 8 - 2 * step), "length": 9, "truncated": 0.0} for n in range(10)]
        with open(f"{folder}/{step}.jsonl", "w") as file:
            file.write("".join(json.dumps(row) + chr(10) for row in rows))
    with open(os.environ["VERL_FILE_LOGGER_PATH"], "a") as file:
        file.write(json.dumps({"step": step, "data": {"timing_s/gen": 1.0}}) + chr(10))
    if step == 4 and "LINGER" in os.environ:
        time.sleep(600)
"""


@pytest.fixture(autouse=True)
def program(tmp_path, monkeypatch):
    (tmp_path / "stands_in_for_verl.py").write_text(VERL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(training, "MAINS", {"cpu": "stands_in_for_verl"})
    monkeypatch.setattr(training, "require_verl", lambda: None)


def train(folder, *more):
    options = ["--profile", "cpu", "--steps", "6", "--seed", "5", "--out", str(folder)]
    return cli.main(["train", "grpo", *options, "trainer.test_freq=2", *more])


def test_it_is_stopped_at_the_second_evaluation_below_and_stays_so(tmp_path, monkeypatch, capsys):
    """Accuracy is 0.8, 0.4 and 0 at steps 0, 2 and 4; there the program would go on for ten minutes."""
    monkeypatch.setenv("LINGER", "1")
    run = Run(folder=tmp_path / "run")
    started = time.monotonic()
    assert train(run.folder, "--stop-below", "0.5") == 0
    assert time.monotonic() - started < 120
    summary = run.read_summary()
    stopped = {"reason": "collapsed", "step": 4, "accuracy": 0.0, "below": 0.5, "evaluations": 2}
    assert summary["stopped"] == stopped
    assert (summary["steps"], summary["after"]["step"], summary["seed"]) == (4, 4, 5)
    assert "stopped at step 4: held-out accuracy below 50%" in capsys.readouterr().out
    assert not run.is_locked()

    assert train(run.folder, "--stop-below", "0.5") == 0  # not tried again
    assert len(list(run.attempts.iterdir())) == 1


def test_a_collapse_that_shows_at_the_last_step_counts(tmp_path):
    run = Run(folder=tmp_path / "run")
    assert train(run.folder, "--stop-below", "0.1", "--stop-evaluations", "1") == 0
    assert run.read_summary()["stopped"]["step"] in (4, 6)


def test_above_the_floor_it_ends_as_ever(tmp_path):
    run = Run(folder=tmp_path / "run")
    assert train(run.folder, "--stop-below", "0.1", "--stop-evaluations", "3") == 0
    summary = run.read_summary()
    assert summary["steps"] == 6
    assert "stopped" not in summary


def test_a_floor_needs_a_share(tmp_path, capsys):
    assert train(tmp_path / "run", "--stop-evaluations", "3") == 1
    assert "give that with --stop-below" in capsys.readouterr().err


EARLY = """
import json, pathlib, sys, time

folder = pathlib.Path(sys.argv[1])

def evaluate(step):
    row = json.dumps({"acc": 0.0, "length": 9, "truncated": 0.0})
    (folder / "validation" / f"{step}.jsonl").write_text(row)

def log(step):
    with (folder / "attempts" / "000.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "data": {"timing_s/gen": 1.0}}) + chr(10))

evaluate(2)
log(2)
evaluate(4)
log(3)
time.sleep(3)
log(4)
time.sleep(30)
"""


def test_an_evaluation_that_is_there_before_its_step_counts_once_the_step_is(tmp_path):
    run = Run(folder=tmp_path / "run")
    for path in (run.validation, run.attempts):
        path.mkdir(parents=True)
    with open_lock(run.folder / "lock") as lock:
        command = [sys.executable, "-c", EARLY, str(run.folder)]
        stopped = follow(command, os.environ, run, lock, lambda row: None, Floor(below=0.5), "it")
    assert stopped is not None and stopped["step"] == 4
