"""A saved state: edited by hand, and under a changed recipe."""

import json

import pytest

from leanthink.errors import ConfigError, StateError
from leanthink.recipe import Recipe, load_recipe
from leanthink.rewards import CollapseGuard, Correct, HistoryLength, KimiLength, Scale, Sum
from leanthink.verl.checkpoint import FILE, States, load_states, save_states
from leanthink.verl.settings import Settings

BEFORE = Recipe(
    name="before",
    reward=Sum(
        correct=Correct(),
        history=Scale(by=0.5, of=HistoryLength()),
        length=CollapseGuard(of=KimiLength(), drop=0.1),
    ),
)
AFTER = Recipe(
    name="after",
    reward=Sum(
        correct=Correct(right=2.0),
        history=Scale(by=0.25, of=HistoryLength(mode="mean")),
        other=CollapseGuard(of=KimiLength()),
    ),
)
GUARD = {"weight": 0.25, "accuracy": 0.5, "reference": 0.7, "batches": 9, "relaxing": 1, "interventions": 1}
STATE = {"history": {"of": {"length": {"p": 30.0}, "count": {}}}, "length": {"own": GUARD}}


def saved(tmp_path, change=lambda content: content, recipe=BEFORE, state=STATE):
    save_states(tmp_path, Settings.of(recipe), States(reward=state), step=3)
    content = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    (tmp_path / FILE).write_text(json.dumps(change(content)), encoding="utf-8")
    return tmp_path


def edited(path, value):
    def change(content):
        at = content
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = value
        return content

    return change


def test_an_edited_number_counts(tmp_path):
    folder = saved(tmp_path, edited(["state", "length", "own", "weight"], 1))
    assert load_states(folder, Settings.of(BEFORE)).reward["length"]["own"] == {**GUARD, "weight": 1}


@pytest.mark.parametrize(
    ("path", "value", "fact"),
    [
        (["state", "length", "own", "weight"], "half", r"state\.length\.own\.weight is 'half'; give a finite number"),
        (["state", "length", "own", "weight"], 1.5, r"state\.length: weight is 1.5; give a number from 0 to 1"),
        (["state", "length", "own", "wieght"], 1, r"state\.length\.own: 'wieght' is no entry; the entries are accur"),
        (["state", "history"], {}, r"state\.history: 'of' is missing"),
        (["state", "history", "of", "length", "p"], None, r"state\.history\.of\.length\.p is None; give a finite"),
        (["state", "history", "of", "length", "p"], -4, r"state\.history\.of: length\.p is -4; give 1 token or more"),
        (["state", "history", "of", "count"], [], r"state\.history\.of\.count is \[\]; give a mapping"),
        (["state"], 7, r"state is 7; give a mapping"),
    ],
)
def test_a_malformed_edit_is_told_with_place_and_cure(tmp_path, path, value, fact):
    folder = saved(tmp_path, edited(path, value))
    with pytest.raises(StateError, match=rf"{FILE}, {fact}.*earlier checkpoint"):
        load_states(folder, Settings.of(BEFORE))


def test_what_is_no_json_or_lacks_a_key_is_told(tmp_path):
    saved(tmp_path, lambda content: {key: value for key, value in content.items() if key != "state"})
    with pytest.raises(StateError, match=r"'state' is missing; put it back"):
        load_states(tmp_path, Settings.of(BEFORE))
    (tmp_path / FILE).write_text('{"state": {"weight": 1,}}', encoding="utf-8")
    with pytest.raises(StateError, match=r"is no JSON \(.*line 1 column .*put it right"):
        load_states(tmp_path, Settings.of(BEFORE))


def test_a_changed_reward_is_refused_by_default(tmp_path):
    with pytest.raises(StateError, match=r"belongs to recipe before, this run trains after.*changed_recipe=migrate"):
        load_states(saved(tmp_path), Settings.of(AFTER))


def test_parts_go_on_by_name_and_the_rest_is_told(tmp_path, caplog):
    states = load_states(saved(tmp_path), Settings.of(AFTER, changed_recipe="migrate"))
    assert states == States(reward={"history": STATE["history"], "other": AFTER.reward.init()["other"]})
    assert "history.of goes on with the state saved under that name" in caplog.text
    assert "other starts afresh: nothing was saved under that name by a CollapseGuard" in caplog.text
    assert "the state of length is dropped" in caplog.text


def test_moving_to_a_reward_without_state_is_told_too(tmp_path, caplog):
    assert load_states(saved(tmp_path), Settings.of(load_recipe("grpo"), changed_recipe="migrate")) == States()
    assert caplog.text.count("is dropped") == 2


def test_what_to_do_with_a_changed_recipe_is_one_of_two():
    with pytest.raises(ConfigError, match="changed_recipe is 'reset'; give refuse or migrate"):
        Settings.of(BEFORE, changed_recipe="reset")
