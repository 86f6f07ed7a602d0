"""A run knows what it is: each difference at its next start is refused or allowed by name, and written down.

verl's place is taken by a program that writes what verl writes: steps, evaluations and a checkpoint.
"""

import json

import pyarrow
import pyarrow.parquet
import pytest

from leanthink import cli
from leanthink.commands.sweep import resolver
from leanthink.runs.folder import Run
from leanthink.runs.identity import differences, key_of, read_record
from leanthink.verl.start import train as training

VERL = """
import json, os, pathlib, sys

keys = dict(argument.split("=", 1) for argument in sys.argv[1:])
if os.path.exists("fails"):
    sys.exit("ValueError: no luck")
print("begun", "goes on", sep=chr(10))
validation = pathlib.Path(keys["trainer.validation_data_dir"])
checkpoints = pathlib.Path(keys["trainer.default_local_dir"])
validation.mkdir(exist_ok=True)
checkpoints.mkdir(exist_ok=True)
tracker = checkpoints / "latest_checkpointed_iteration.txt"
first = int(tracker.read_text()) if tracker.exists() else 0
steps = int(keys["trainer.total_training_steps"])
row = json.dumps({"acc": 1.0, "length": 9, "truncated": 0.0}) + chr(10)
if keys.get("trainer.val_before_train") != "false":
    (validation / f"{first}.jsonl").write_text(row)
with open(os.environ["VERL_FILE_LOGGER_PATH"], "a") as file:
    for step in range(first + 1, steps + 1):
        file.write(json.dumps({"step": step, "data": {"timing_s/gen": 1.0}}) + chr(10))
(validation / f"{steps}.jsonl").write_text(row)
folder = checkpoints / f"global_step_{steps}"
folder.mkdir(exist_ok=True)
(folder / "data.pt").write_text(keys["data.train_files"])
(folder / "leanthink.json").write_text("{}")
tracker.write_text(str(steps))
pathlib.Path("threads.txt").write_text(os.environ["OMP_NUM_THREADS"])
pathlib.Path("node.txt").write_text(keys["+leanthink"])
if os.path.exists("dies"):
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def program(tmp_path, monkeypatch):
    (tmp_path / "stands_in_for_verl.py").write_text(VERL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(training, "MAINS", {"cpu": "stands_in_for_verl"})
    monkeypatch.setattr(training, "require_verl", lambda: None)


@pytest.fixture
def files(tmp_path):
    """Two training files, a validation file, and a model's folder."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    for name, rows in (("one", 3), ("two", 4), ("held", 2)):
        pyarrow.parquet.write_table(pyarrow.table({"x": list(range(rows))}), tmp_path / f"{name}.parquet")
    return tmp_path


def train(capsys, steps, *more, data="one", recipe="grpo", model="model"):
    options = ["--profile", "cpu", "--out", "run", "--model", model, "--val-file", "held.parquet"]
    code = cli.main(["train", recipe, *options, "--train-file", f"{data}.parquet", "--steps", str(steps), *more])
    captured = capsys.readouterr()
    return code, " ".join(captured.out.split()), captured.err


def test_the_same_command_goes_on_and_a_finished_run_says_so(files, capsys):
    assert train(capsys, 2)[0] == 0
    code, out, _ = train(capsys, 4)
    assert code == 0
    assert "from step 2" in out and "changed: trainer.total_training_steps is 4, was 2" in out
    code, out, _ = train(capsys, 3, "trainer.save_freq=7")
    assert code == 0
    assert "run is finished: 4 steps are done, nothing was trained; differing now, and without effect" in out
    assert "trainer.save_freq is 7, was 20" in out
    assert len(list((files / "run" / "attempts").iterdir())) == 2


@pytest.mark.parametrize(("mine", "used"), [("3", "3"), (None, "1")])
def test_a_variable_that_is_set_wins_over_the_profiles(files, capsys, monkeypatch, mine, used):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if mine is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", mine)
    train(capsys, 1)
    assert (files / "threads.txt").read_text() == used


def test_another_file_is_refused_by_name_and_allowed_by_name(files, capsys):
    train(capsys, 2)
    position = files / "run" / "checkpoints" / "global_step_2" / "data.pt"
    code, _, err = train(capsys, 4, data="two")
    assert code == 1
    assert "data.train_files is two.parquet (4 rows, sha256 " in err and "was one.parquet (3 rows, sha256 " in err
    assert "--allow-changed data\n" in err
    assert err.count("\n") == 1
    assert position.exists()

    code, out, _ = train(capsys, 4, "--allow-changed", "data", data="two")
    assert code == 0
    assert "changed: data.train_files is two.parquet" in out and "read from their first row" in out
    assert not position.exists()  # it says where the run stood in the other file
    (step, one), *more = read_record(files / "run" / "run.json").changed
    assert (step, one.name, one.before[0]["rows"], one.after[0]["rows"], more) == (2, "data.train_files", 3, 4, [])

    code, out, _ = train(capsys, 6, data="two")  # what it is now
    assert code == 0
    assert (files / "run" / "checkpoints" / "global_step_4" / "data.pt").exists()


def test_the_content_of_a_file_counts_and_not_its_path(files, capsys):
    train(capsys, 2)
    (files / "one.parquet").rename(files / "moved.parquet")
    assert train(capsys, 3, data="moved")[0] == 0
    pyarrow.parquet.write_table(pyarrow.table({"x": [2, 1, 0]}), files / "moved.parquet")
    code, _, err = train(capsys, 4, data="moved")
    assert code == 1
    assert "data.train_files is moved.parquet (3 rows" in err


@pytest.mark.parametrize(
    ("change", "named", "allowed"),
    [
        (("actor_rollout_ref.actor.optim.lr=0.5",), "actor_rollout_ref.actor.optim.lr is 0.5, was 0.000125", "lr"),
        (("--seed", "3"), "data.seed is 3, was not set", "seed"),
        (("leanthink.unknown=wrong",), 'leanthink.unknown is "wrong", was not set', "unknown"),
        (("reward=correct", "advantage.grpo.scale=none"), 'recipe.advantage.grpo.scale is "none"', "recipe"),
        (("data.train_batch_size=8",), "data.train_batch_size is 8, was 16", "train_batch_size,sort_by_length"),
    ],
)
def test_each_key_that_changes_the_numbers_is_named(files, capsys, change, named, allowed):
    train(capsys, 2)
    code, _, err = train(capsys, 3, *change)
    assert code == 1
    assert named in err
    assert train(capsys, 3, *change, "--allow-changed", "model")[0] == 1
    code, out, err = train(capsys, 3, *change, "--allow-changed", allowed)
    assert code == 0, err
    assert f"changed: {named}" in out


def test_data_allows_the_files_and_no_other_key_under_data(files, capsys):
    train(capsys, 2)
    code, _, err = train(capsys, 3, "data.train_batch_size=8", "--allow-changed", "data")
    assert code == 1
    assert "data.train_batch_size is 8, was 16" in err


def test_another_model_is_refused_even_under_the_same_path(files, capsys):
    train(capsys, 2)
    (files / "model" / "config.json").write_text('{"x": 1}')
    code, _, err = train(capsys, 3)
    assert code == 1
    assert "actor_rollout_ref.model.path is model (sha256 " in err
    (files / "model" / "config.json").write_text("{}")
    (files / "model" / "README.md").write_text("a note")
    assert train(capsys, 3)[0] == 0


def test_versions_are_part_of_it(files, capsys):
    train(capsys, 2)
    record = files / "run" / "run.json"
    node = json.loads(record.read_text())
    node["facts"]["version.torch"] = "1.0"
    record.write_text(json.dumps(node))
    code, _, err = train(capsys, 3)
    assert code == 1
    assert 'was "1.0"; give another folder with --out, or go on with the changes by --allow-changed torch' in err
    assert train(capsys, 3, "--allow-changed", "versions")[0] == 0


def test_a_sweep_does_not_train_again_what_other_versions_trained():
    assert key_of({"seed": 1, "version.torch": "2.7"}) == key_of({"seed": 1, "version.torch": "2.8"})
    assert key_of({"seed": 1, "version.torch": "2.7"}) != key_of({"seed": 2, "version.torch": "2.7"})


def test_a_finished_run_called_otherwise_is_an_error_that_says_both(files, capsys):
    train(capsys, 2)
    code, out, err = train(capsys, 2, data="two")
    assert code == 1
    assert "holds a run that is finished (2 steps) and was otherwise: data.train_files is two.parquet" in err
    assert "tokens" not in out  # no table of the old run
    code, out, _ = train(capsys, 2, "--allow-changed", "data", data="two")
    assert code == 0
    assert "is finished: 2 steps are done, nothing was trained; differing now, and without effect: data.tr" in out


def test_what_fits_into_memory_may_change(files, capsys):
    train(capsys, 2)
    key = "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu"
    code, out, _ = train(capsys, 3, f"{key}=4")
    assert code == 0
    assert f"changed: {key} is 4" in out
    record = read_record(files / "run" / "run.json")
    assert record.changed == []
    assert key in [one.name for one in record.starts[-1].changed]


def test_the_number_of_steps_may_not_where_the_learning_rate_goes_by_it(files, capsys):
    cosine = "actor_rollout_ref.actor.optim.lr_scheduler_type=cosine"
    train(capsys, 2, cosine)
    code, _, err = train(capsys, 4, cosine)
    assert code == 1
    assert "trainer.total_training_steps is 4, was 2" in err and "--allow-changed total_training_steps" in err
    assert train(capsys, 4, cosine, "--allow-changed", "total_training_steps")[0] == 0


def test_a_sweep_knows_the_run_by_the_same_facts(files, capsys):
    train(capsys, 2, "--seed", "5", "--stop-below", "0.3")
    options = ["--profile", "cpu", "--model", "model", "--train-file", "one.parquet", "--val-file", "held.parquet"]
    resolve = resolver()
    planned = resolve(["grpo", *options, "--steps", "2", "--seed", "5", "--stop-below", "0.3"])
    assert key_of(planned.facts) == key_of(read_record(files / "run" / "run.json").facts)
    other = resolve(["grpo", *options, "--steps", "2", "--seed", "6", "--stop-below", "0.3"])
    assert key_of(planned.facts) != key_of(other.facts)


def test_state_passes_to_a_recipe_that_was_changed_by_leave(files, capsys):
    """Until the next checkpoint, whose state is the new recipe's own."""
    train(capsys, 2)
    assert "migrate" not in (files / "node.txt").read_text()
    other = "advantage.grpo.scale=none"
    assert train(capsys, 3, "leanthink.changed_recipe=migrate", other)[0] == 0  # who asks for it allows it
    assert train(capsys, 4, "--allow-changed", "recipe")[0] == 0
    assert "changed_recipe:migrate" in (files / "node.txt").read_text()
    tracker = files / "run" / "checkpoints" / "latest_checkpointed_iteration.txt"
    tracker.write_text("3")  # killed before the next checkpoint was whole
    (files / "run" / "summary.json").unlink()
    assert train(capsys, 4)[0] == 0
    assert "changed_recipe:migrate" in (files / "node.txt").read_text()
    assert train(capsys, 5)[0] == 0
    assert "migrate" not in (files / "node.txt").read_text()


def test_before_verl_got_anywhere_everything_may_change(files, capsys):
    (files / "fails").touch()
    assert train(capsys, 2)[0] == 1
    (files / "fails").unlink()
    assert train(capsys, 2, data="two", recipe="trle")[0] == 0
    assert read_record(files / "run" / "run.json").changed == []


def test_held_out_questions_are_asked_again_where_they_changed_before_the_first_checkpoint(files, capsys):
    (files / "dies").touch()
    assert train(capsys, 2)[0] == 1
    tracker = files / "run" / "checkpoints" / "latest_checkpointed_iteration.txt"
    tracker.unlink()
    (files / "dies").unlink()
    (files / "held.parquet").write_bytes((files / "two.parquet").read_bytes())
    start = files / "run" / "validation" / "0.jsonl"
    start.write_text("of the other questions")
    assert train(capsys, 2, "--allow-changed", "data")[0] == 0
    assert json.loads(start.read_text())["acc"] == 1


def test_a_folder_of_an_earlier_version_is_known_by_its_recipe(files, capsys):
    train(capsys, 2)
    (files / "run" / "run.json").unlink()
    code, _, err = train(capsys, 3, recipe="trle")
    assert code == 1
    assert "recipe.reward" in err
    assert train(capsys, 3, data="two")[0] == 0
    assert train(capsys, 4, data="one")[0] == 1  # from now on it knows


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"facts": {}, "starts": [{}]}', "[" * 100_000])
def test_a_damaged_record_is_named(files, capsys, text):
    train(capsys, 2)
    (files / "run" / "run.json").write_text(text)
    code, _, err = train(capsys, 3)
    assert code == 1
    assert "run.json is no record of a run" in err and err.count("\n") == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", "nothing"])
def test_a_damaged_summary_is_written_anew(files, capsys, text):
    train(capsys, 2)
    (files / "run" / "summary.json").write_text(text)
    assert train(capsys, 2)[0] == 0
    assert Run(folder=files / "run").read_summary()["steps"] == 2


@pytest.mark.parametrize("text", ["", "two"])
def test_a_damaged_note_of_the_last_checkpoint_is_mended_from_the_whole_ones(files, capsys, text):
    train(capsys, 2)
    note = files / "run" / "checkpoints" / "latest_checkpointed_iteration.txt"
    note.write_text(text)
    code, out, _ = train(capsys, 3)
    assert code == 0 and "from step 2" in out and note.read_text() == "3"


def test_a_name_that_is_none_is_refused(files, capsys):
    code, _, err = train(capsys, 2, "--allow-changed", "model,optm")
    assert code == 1
    assert "--allow-changed optm: nothing of a run is called that" in err


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nowhere/at/all", "no such folder; give --model a folder"),
        ("./nowhere", "no such folder; give --model a folder"),
        ("empty", "the folder holds no config.json"),
        ("nobody/never-was", "run `hf download nobody/never-was` first"),
        ("one.parquet", "no such folder"),
    ],
)
def test_a_model_that_is_not_there_is_told_before_anything_starts(files, capsys, model, said):
    (files / "empty").mkdir()
    code, _, err = train(capsys, 2, model=model)
    assert code == 1
    assert f"--model {model}" in err and said in err and err.count("\n") == 1
    assert not (files / "run").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.train_batch_size=abc", "data.train_batch_size: 'abc' is not a number"),
        ("data.trian_batch_size=8", "did you mean 'train_batch_size'?"),
        ("data.train_batch_size=8.5", "data.train_batch_size: 8.5 is no whole number"),
        ('trainer.project_name="\\ud835"', "override trainer.project_name"),
    ],
)
def test_a_wrong_key_is_told_before_anything_starts(files, capsys, change, said):
    code, _, err = train(capsys, 2, change)
    assert code == 1
    assert said in err and err.count("\n") == 1
    assert not (files / "run").exists()


def test_a_failure_says_why_what_to_do_and_where_the_rest_is(files, capsys):
    train(capsys, 1)
    lines = (files / "run" / "log.txt").read_text().count("\n")
    assert lines == 2
    (files / "fails").touch()
    code, _, err = train(capsys, 2)
    assert code == 1
    assert "verl ended with exit code 1: ValueError: no luck. Everything it printed: run/log.txt, " in err
    assert f"this in line {lines + 1}. Then run the same command again" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("before", "after", "free"), [("constant", "cosine", False), ("cosine", "constant", True)])
def test_whether_steps_may_change_goes_by_the_schedule_from_now_on(before, after, free):
    steps, schedule = "trainer.total_training_steps", "actor_rollout_ref.actor.optim.lr_scheduler_type"
    found = differences({steps: 2, schedule: before}, {steps: 4, schedule: after})
    assert {one.name: one.free for one in found} == {steps: free, schedule: False}
