"""Whether a run that is started again has anything left to train."""

import json

import pytest

from leanthink.core.errors import StateError
from leanthink.runs.folder import Run
from leanthink.runs.identity import EPOCHS, STEPS, Difference
from leanthink.training.claim import compared, is_finished


def run_of(folder, **summary):
    folder.mkdir(exist_ok=True)
    (folder / "summary.json").write_text(json.dumps({"recipe": "grpo", **summary}))
    return Run(folder=folder)


@pytest.mark.parametrize(("asked", "finished"), [(29, True), (30, True), (31, False)])
def test_as_many_steps_as_are_asked_for(tmp_path, asked, finished):
    assert is_finished(run_of(tmp_path, steps=30), asked, ()) is finished


@pytest.mark.parametrize(("name", "finished"), [(STEPS, False), (EPOCHS, False), ("data.seed", True)])
def test_where_nobody_asks_what_else_says_how_long_decides(tmp_path, name, finished):
    run = run_of(tmp_path, steps=30)
    assert is_finished(run, None, ())
    assert is_finished(run, None, [Difference(name=name, before=1, after=2)]) is finished


def test_a_run_that_stopped_itself_is_finished_whatever_is_asked_for(tmp_path):
    assert is_finished(run_of(tmp_path, steps=3, stopped={"reason": "below its floor"}), 30, ())


def test_a_run_that_did_not_come_to_its_end_is_not(tmp_path):
    assert not is_finished(Run(folder=tmp_path), 30, ())
    (tmp_path / "summary.json").write_text("{}")
    assert not is_finished(Run(folder=tmp_path), None, ())


def test_a_recipe_in_the_folder_that_cannot_be_read_is_named(tmp_path):
    run = Run(folder=tmp_path)
    run.recipe.write_text("reward: [")
    with pytest.raises(StateError, match=r"recipe\.yaml.*it is the run's recipe: give another folder with --out"):
        compared(run, {}, [], None)


@pytest.mark.parametrize(
    ("count", "told"),
    [(5, "key4 is 1, was 0; give another folder"), (7, "key4 is 1, was 0; and 2 more; give another folder")],
)
def test_so_many_differences_are_spelled_out_and_the_others_counted(tmp_path, count, told):
    run = Run(folder=tmp_path)
    before, now = ({f"key{number}": value for number in range(count)} for value in (0, 1))
    run.record.write_text(json.dumps({"facts": before, "starts": []}))
    run.attempts.mkdir()
    (run.attempts / "1.jsonl").write_text("")
    with pytest.raises(StateError) as caught:
        compared(run, now, [], None)
    assert told in str(caught.value) and "key5 is" not in str(caught.value)
    assert str(caught.value).endswith("--allow-changed " + ",".join(f"key{number}" for number in range(count)))
    differing = compared(run, now, [f"key{number}" for number in range(count)], None)[1]
    assert [one.name for one in differing] == list(now)
