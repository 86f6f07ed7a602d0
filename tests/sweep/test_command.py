"""`leanthink sweep` from file to table, its own progress included; only the training is a nap."""

import io
import json
from pathlib import Path

import pyarrow.parquet
import pytest
from rich.console import Console

from leanthink import cli
from leanthink.commands import sweep as command
from leanthink.runs.folder import Run
from leanthink.sweep.cost import USUAL, Cost, measured
from leanthink.sweep.plan import load_sweep
from leanthink.sweep.store import Status, Store
from sweep_stub import command as stub
from sweep_stub import resolve


@pytest.fixture(autouse=True)
def napping(monkeypatch):
    monkeypatch.setattr(command, "require_verl", lambda: None)
    monkeypatch.setattr(command, "command", stub)


def write(folder, text):
    path = folder / "sweep.yaml"
    path.write_text(f"profile: cpu\n{text}", encoding="utf-8")
    return str(path)


def sweep(capsys, *arguments):
    code = cli.main(["sweep", *arguments])
    captured = capsys.readouterr()
    return code, " ".join(captured.out.split()), captured.err


def test_from_plan_to_table(tmp_path, capsys):
    file, out = write(tmp_path, "recipes: [grpo, trle]\nseeds: [1, 2]\nsteps: 3\n"), str(tmp_path / "out")
    code, printed, _ = sweep(capsys, file, "--out", out, "--dry-run")
    assert code == 0
    assert "4 runs to go, 12 steps; about 4 min with 1 at a time, from 50 s to start and 3.0 s a step" in printed
    assert not (tmp_path / "out").exists()
    _, printed, _ = sweep(capsys, file, "--out", out, "--dry-run", "--jobs", "4")
    assert "about 4 min with 4 at a time" in printed  # on the two cores that one run takes

    code, printed, _ = sweep(capsys, file, "--out", out, "--jobs", "2")
    assert code == 0
    for line in ("[1/4] grpo seed=1: running", "[4/4] trle seed=2: finished after", "results.parquet and results.csv"):
        assert line in printed
    assert pyarrow.parquet.read_table(tmp_path / "out" / "results.parquet").num_rows == 8

    code, printed, _ = sweep(capsys, file, "--out", out)  # nothing is left to do
    assert code == 0
    assert "0 runs to go, 0 steps" in printed and "running" not in printed


def test_the_estimate_is_from_finished_runs(tmp_path, capsys):
    """The stub says 1 second to start and 0.1 a step: 2 runs of 590 steps, 60 s each, 2 min one after another."""
    sweep(capsys, write(tmp_path, "recipes: [grpo]\nsteps: 3\n"), "--out", str(tmp_path / "first"))
    file = write(tmp_path, "recipes: [grpo, trle]\nsteps: 590\n")
    _, printed, _ = sweep(capsys, file, "--out", str(tmp_path / "second"), "--dry-run")
    assert "2 runs to go, 1180 steps; about 2 min with 1 at a time, from 1 finished runs" in printed
    _, printed, _ = sweep(capsys, file, "--out", str(tmp_path / "second"), "--dry-run", "--jobs", "2")
    assert "about 1 min with 2 at a time" in printed


def test_what_another_profile_took_says_nothing(tmp_path):
    summary = {"recipe": "grpo", "profile": "gpu", "steps": 4, "seconds": {"total": 50, "per_step": {"step": 10}}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert measured([Run(folder=tmp_path)], "cpu") == USUAL
    assert measured([], "gpu") == Cost()
    cost = measured([Run(folder=tmp_path)], "gpu")
    assert (cost.start["grpo"], cost.step["grpo"], cost.runs) == (10, 10, 1)
    (tmp_path / "summary.json").write_text("{")
    assert measured([Run(folder=tmp_path)], "gpu").runs == 0


def test_a_failed_run_is_named_with_its_log_and_the_exit_code_says_so(tmp_path, capsys, monkeypatch):
    echo = ["sh", "-c", "echo leanthink train: no luck; exit 1"]
    monkeypatch.setattr(command, "command", lambda planned, run, words: echo)
    file, out = write(tmp_path, "recipes: [grpo]\nsteps: 3\n"), tmp_path / "out"
    code, printed, _ = sweep(capsys, file, "--out", str(out))
    assert code == 3
    assert "grpo seed=1: failed after" in printed
    assert "; exit code 1: no luck (all it printed: " in printed
    assert (next((out / "logs").iterdir())).read_text() == "leanthink train: no luck\n"


def test_one_failed_run_among_finished_ones_is_enough(tmp_path, capsys, monkeypatch):
    fails = ["sh", "-c", "exit 1"]
    monkeypatch.setattr(
        command, "command", lambda planned, run, words: fails if planned.seed == 2 else stub(planned, run, words=words)
    )
    file = write(tmp_path, "recipes: [grpo]\nseeds: [1, 2]\nsteps: 3\n")
    code, printed, _ = sweep(capsys, file, "--out", str(tmp_path / "out"))
    assert code == 3
    assert "grpo seed=1: finished after" in printed and "grpo seed=2: failed after" in printed


def test_what_may_differ_is_passed_on_to_each_run(tmp_path, capsys, monkeypatch):
    echo = ["sh", "-c", "echo leanthink train: $*; exit 1", "sh"]
    monkeypatch.setattr(command, "command", lambda planned, run, words=(): [*echo, *words])
    file = write(tmp_path, "recipes: [grpo]\nsteps: 3\n")
    _, printed, _ = sweep(capsys, file, "--out", str(tmp_path / "out"), "--allow-changed", "versions,lr")
    assert "; exit code 1: --allow-changed versions,lr (all" in printed


def test_bars_on_a_terminal(tmp_path):
    """With a task for each run that goes on, gone when it ends."""
    plan = load_sweep(Path(write(tmp_path, "recipes: [grpo]\nsteps: 4\n")), resolve)
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with command._Board(console, plan, Store(folder=tmp_path / "out")) as board:
        board.on_tick([(plan.runs[0], 2)])
        assert [task.completed for task in board._progress.tasks] == [2, 2]
        board.on_change(plan.runs[0], Status(state="finished", seconds=70))
        assert [task.total for task in board._progress.tasks] == [4]
    assert "finished after 1 min" in console.file.getvalue()


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("recipes: [grpo]", ("--jobs", "0"), "--jobs is 0; give 1 or more"),
        ("recipes: [grpo]", ("--slurm", "partition"), "--slurm partition: no key=value"),
        ("recipes: [gropo]", (), "did you mean 'grpo'?"),
        ("recipes: [grpo, grpo]", ("--dry-run",), "'grpo' is given twice; keep one"),
    ],
)
def test_a_wrong_call_ends_in_one_paragraph_and_starts_nothing(tmp_path, capsys, text, arguments, expected):
    code, _, err = sweep(capsys, write(tmp_path, text), "--out", str(tmp_path / "out"), *arguments)
    assert code == 1
    assert expected in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out" / "runs").exists()


def test_no_such_file(capsys):
    assert "cannot read nowhere.yaml" in sweep(capsys, "nowhere.yaml")[2]


def test_the_time_left_counts_no_steps_that_are_done_again(tmp_path, monkeypatch):
    """Of two runs one was killed at step 16, without a checkpoint, and starts again."""
    file = write(tmp_path, "recipes: [grpo]\nseeds: [1, 2]\nsteps: 24\n")
    plan, store = load_sweep(Path(file), resolve), Store(folder=tmp_path / "out")
    store.open(plan)
    killed = store.run(plan.runs[0])
    killed.attempts.mkdir(parents=True)
    killed.metrics.write_text('{"step": 16}\n', encoding="utf-8")
    now = [100.0]
    monkeypatch.setattr(command.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    with command._Board(Console(file=out), plan, store) as board:
        now[0] = 220.0
        board.on_tick([(plan.runs[1], 24)])
        board.on_change(plan.runs[1], Status(state="finished", seconds=120))
    assert "finished after 2 min, 2 min left" in " ".join(out.getvalue().split())


def test_of_a_failed_run_only_the_steps_that_it_lacks_are_over(tmp_path):
    """It failed behind step 16 of 24: these 16 are done, and the other run's 24 are to go."""
    plan = load_sweep(Path(write(tmp_path, "recipes: [grpo]\nseeds: [1, 2]\nsteps: 24\n")), resolve)
    store = Store(folder=tmp_path / "out")
    store.open(plan)
    with command._Board(Console(file=io.StringIO()), plan, store) as board:
        board.on_tick([(plan.runs[0], 16)])
        board.on_change(plan.runs[0], Status(state="failed", seconds=120))
        assert (board._left.total, board._progress.tasks[0].total) == (40, 40)
