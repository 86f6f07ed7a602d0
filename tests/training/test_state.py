"""A saved state: edited by hand, and under a changed recipe."""

import json

import pytest

from leanthink.algorithms import AdaptiveTopK
from leanthink.core.errors import ConfigError, StateError
from leanthink.core.limits import PerPassRate
from leanthink.recipe.definition import Recipe, load_recipe
from leanthink.rewards import CollapseGuard, Correct, HistoryLength, KimiLength, Scale, Sum
from leanthink.training import Settings, States, load_states, save_states
from leanthink.training.state import FILE, saved_step

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
        history=Scale(by=0.25, of=HistoryLength(floor=-0.5)),
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
        (["state", "length", "own", "weight"], 1.5, r"state\.length\.own: weight is 1.5; give a number from 0"),
        (["state", "length", "own", "wieght"], 1, r"state\.length\.own: 'wieght' is no entry; the entries are accur"),
        (["state", "history"], {}, r"state\.history: 'of' is missing"),
        (["state", "history", "of", "length", "p"], None, r"state\.history\.of\.length\.p is None; give a finite"),
        (["state", "history", "of", "length", "p"], -4, r"state\.history\.of: length\.p is -4; give 1 token or more"),
        (["state", "history", "of", "length", "p"], [4], r"state\.history\.of\.length\.p is \[4\]; give a finite"),
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


def test_a_state_that_means_something_else_is_not_taken_over(tmp_path, caplog):
    mean = Recipe(name="mean", reward=Sum(correct=Correct(), history=Scale(by=0.5, of=HistoryLength(mode="mean"))))
    states = load_states(saved(tmp_path), Settings.of(mean, changed_recipe="migrate"))
    assert states == States.start(mean)
    assert "history.of starts afresh: what was saved under that name means nothing under its new" in caplog.text


@pytest.mark.parametrize("parts", [{}, [], 7, {"advantage": "grpo"}], ids=str)
@pytest.mark.parametrize("recipe", [BEFORE, AFTER], ids=["same", "changed"])
def test_parts_of_another_shape_are_refused(tmp_path, parts, recipe):
    folder = saved(tmp_path, edited(["parts"], parts))
    with pytest.raises(StateError, match=rf"{FILE}: parts is .*; give the nodes .*'reward'.*earlier checkpoint"):
        load_states(folder, Settings.of(recipe, changed_recipe="migrate"))


def test_the_state_is_of_the_step_after_which_the_run_goes_on(tmp_path):
    folder, settings = saved(tmp_path), Settings.of(BEFORE)
    assert load_states(folder, settings, after_step=3) == load_states(folder, settings)
    with pytest.raises(StateError, match=rf"{FILE}: step is 3, but the run goes on after step 2.*another checkpoint's"):
        load_states(folder, settings, after_step=2)


def limited(shortest):
    return Recipe(
        name="limited",
        reward=Correct(),
        limit=PerPassRate(thresholds=(0.5,), lengths=(56, shortest)),
        advantage=AdaptiveTopK(k=(3, 2), ready_after=shortest),
    )


REMEMBERED = {"limit_state": {"pass_rate": {"p": 0.5}}, "advantage_state": {"group_means": [0.5]}}


@pytest.mark.parametrize("now", [limited(32), limited(16)], ids=["same", "changed"])
@pytest.mark.parametrize(
    ("entry", "value", "fact"),
    [
        ("limit_state", 7, r"limit_state is 7; give a mapping"),
        ("limit_state", {"pass_rate": {"p": 3}}, r"limit_state: pass_rate\.p is 3; give a share"),
        ("limit_state", None, r"limit_state: 'pass_rate' is missing"),
        ("advantage_state", [], r"advantage_state is \[\]; give a mapping"),
        ("advantage_state", {"group_means": 1}, r"advantage_state\.group_means is 1; give a list of any number of num"),
        ("advantage_state", None, r"advantage_state: 'group_means' is missing"),
    ],
)
def test_what_a_limit_or_an_advantage_remembers_is_checked_before_it_moves(tmp_path, now, entry, value, fact):
    def change(content):
        kept = {**content, **REMEMBERED, entry: value}
        return {key: inner for key, inner in kept.items() if inner is not None}  # None: it is missing

    folder = saved(tmp_path, change, recipe=limited(32), state={})
    with pytest.raises(StateError, match=rf"{FILE}, {fact}.*earlier checkpoint"):
        load_states(folder, Settings.of(now, changed_recipe="migrate"))
    whole = saved(tmp_path, lambda content: {**content, **REMEMBERED}, recipe=limited(32), state={})
    states = load_states(whole, Settings.of(now, changed_recipe="migrate"))
    assert (states.limit, states.advantage) == (REMEMBERED["limit_state"], REMEMBERED["advantage_state"])


def test_moving_to_a_reward_without_state_is_told_too(tmp_path, caplog):
    assert load_states(saved(tmp_path), Settings.of(load_recipe("grpo"), changed_recipe="migrate")) == States()
    assert caplog.text.count("is dropped") == 2


def test_what_to_do_with_a_changed_recipe_is_one_of_two():
    with pytest.raises(ConfigError, match="changed_recipe is 'reset'; give refuse or migrate"):
        Settings.of(BEFORE, changed_recipe="reset")


@pytest.mark.parametrize("step", [0, 1, 3])
def test_the_step_of_a_checkpoint(tmp_path, step):
    assert saved_step(saved(tmp_path, lambda content: {**content, "step": step}), Settings.of(BEFORE)) == step


@pytest.mark.parametrize("step", [-1, True, 1.0, "3", None])
def test_a_step_that_is_none(tmp_path, step):
    folder = saved(tmp_path, lambda content: {**content, "step": step})
    with pytest.raises(StateError, match=f"step is {step!r}; give a whole number"):
        saved_step(folder, Settings.of(BEFORE))
