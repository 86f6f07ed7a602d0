"""What reward, limit and advantage remember: from step to step, and through a resume."""

import json
from dataclasses import dataclass

import pytest
import torch

from leanthink import StatefulReward
from leanthink.algorithms import AdaptiveTopK
from leanthink.core.errors import ConfigError, StateError
from leanthink.core.limits import Limit, PerPassRate, PerStep
from leanthink.recipe.definition import Recipe, load_recipe
from leanthink.rewards import Correct, DifficultyTruncation, Sum
from leanthink.training import Settings, Shaper, States, load_states, save_states
from leanthink.training.state import FILE
from made_facts import before_in, fact


@dataclass(frozen=True, kw_only=True)
class Counting(StatefulReward):
    """Pays the number of responses seen before this step."""

    is_term = True

    def init(self):
        return {"seen": 0}

    def update(self, batch, state):
        return torch.full((len(batch),), float(state["seen"])), {"seen": state["seen"] + len(batch)}


STATEFUL = Recipe(name="counting", reward=Sum(correct=Correct(), seen=Counting()))


def test_a_history_goes_on_after_a_resume(tmp_path):
    recipe = load_recipe("hapo")

    def step(shaper, number, length):
        facts = [fact(length=length, prompt_key="p"), fact(acc=0.0, length=4 * length, prompt_key="p")]
        return shaper.shape(facts, ["fresh", "fresh"], number)[0].tolist()

    first = Shaper(Settings.of(recipe), before_in(tmp_path))
    assert step(first, 1, 100.0) == [1.0, 0.0]
    folder = tmp_path / "global_step_1"
    folder.mkdir()
    save_states(folder, first.settings, first.states, step=1)
    resumed = Shaper(Settings.of(recipe), before_in(tmp_path))
    assert step(resumed, 2, 50.0) == step(first, 2, 50.0) == pytest.approx([1 + 0.5**0.5, -1.0])
    assert resumed.states.reward == {"length": {"of": {"length": {"p": 50.0}, "count": {}}}}


def test_state_goes_on_after_a_resume(tmp_path):
    facts, uids = [fact(), fact(acc=0.0)], ["a", "a"]
    straight = Shaper(Settings.of(STATEFUL), before_in(tmp_path))
    rewards = [straight.shape(facts, uids, step)[0] for step in (1, 2, 3)]

    first = Shaper(Settings.of(STATEFUL), before_in(tmp_path))
    for step in (1, 2):
        first.shape(facts, uids, step)
    folder = tmp_path / "global_step_2"
    folder.mkdir()
    save_states(folder, first.settings, first.states, step=2)
    resumed = Shaper(Settings.of(STATEFUL), before_in(tmp_path)).shape(facts, uids, step=3)[0]
    torch.testing.assert_close(resumed, rewards[2])

    elsewhere = Shaper(Settings.of(STATEFUL), lambda step: folder).shape(facts, uids, step=3)[0]
    torch.testing.assert_close(elsewhere, rewards[2])


def test_checkpoint_without_our_state(tmp_path):
    (tmp_path / "global_step_4").mkdir()
    with pytest.raises(StateError, match=r"has no reward state.*resume from an earlier one$"):
        Shaper(Settings.of(STATEFUL), before_in(tmp_path)).shape([fact()], ["a"], step=5)


def test_a_run_that_goes_on_without_saying_from_where_is_refused_if_it_remembers():
    with pytest.raises(StateError, match=r"goes on at step 5, and recipe counting remembers.*checkpoint_before"):
        Shaper(Settings.of(STATEFUL)).shape([fact()], ["a"], step=5)
    assert Shaper(Settings.of(load_recipe("grpo"))).shape([fact()], ["a"], step=5).reward_N.tolist() == [1.0]


def test_checkpoint_of_another_recipe(tmp_path):
    save_states(tmp_path, Settings.of(load_recipe("kimi")), States(), step=1)
    with pytest.raises(StateError, match="belongs to recipe kimi, this run trains trle"):
        load_states(tmp_path, Settings.of(load_recipe("trle")))


def test_broken_state_file(tmp_path):
    (tmp_path / FILE).write_text("{", encoding="utf-8")
    with pytest.raises(StateError, match="is no JSON"):
        load_states(tmp_path, Settings.of(load_recipe("trle")))


def test_saved_state_is_plain_json(tmp_path):
    save_states(tmp_path, Settings.of(load_recipe("trle")), States(reward={"seen": {"seen": 4}}), step=7)
    content = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    assert (content["step"], content["state"]) == (7, {"seen": {"seen": 4}})
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


CHOOSING = Recipe(name="mine", reward=Correct(), advantage=AdaptiveTopK(k=(3, 2), ready_after=2))
GROUPS = [fact(acc, length=length) for acc in (0.0, 1.0) for length in (9.0, 5.0, 7.0)]
GROUPS[1]["acc"] = 1.0


def test_an_advantage_that_remembers_tells_the_estimator_whom_it_left_out(tmp_path):
    """One right of three is below the median of the two groups: all are kept; of the other group the two shortest."""
    one, uids = Shaper(Settings.of(CHOOSING), before_in(tmp_path)), ["a"] * 3 + ["b"] * 3
    shaped = one.shape(GROUPS, uids, step=1)
    assert [mark.left_out for mark in one.marks(GROUPS, shaped)] == [False, False, False, True, False, False]
    assert one.states.advantage["group_means"] == pytest.approx([1 / 3, 1.0])
    assert shaped.metrics["control/advantage/groups"] == 2
    assert shaped.metrics["control/advantage/quantile_0.5"] == pytest.approx(2 / 3)
    assert shaped.metrics["control/advantage/chosen_share"] == pytest.approx(5 / 6)


def test_what_an_advantage_remembers_survives_a_resume_or_is_refused(tmp_path, caplog):
    settings, uids = Settings.of(CHOOSING), ["a"] * 3 + ["b"] * 3
    first = Shaper(settings, before_in(tmp_path))
    first.shape(GROUPS, uids, step=1)
    folder = tmp_path / "global_step_1"
    folder.mkdir()
    save_states(folder, settings, first.states, 1)
    resumed = Shaper(settings, before_in(tmp_path))
    assert resumed.shape(GROUPS, uids, step=2).left_out == first.shape(GROUPS, uids, step=2).left_out
    assert resumed.states == first.states and len(first.states.advantage["group_means"]) == 4

    other = Recipe(name="mine", reward=Correct(), advantage=AdaptiveTopK(k=(4, 2), ready_after=2))
    with pytest.raises(StateError, match=r"the advantage was .*now it is .*what it remembers would be lost"):
        load_states(folder, Settings.of(other))
    moved = load_states(folder, Settings.of(other, changed_recipe="migrate"))
    assert len(moved.advantage["group_means"]) == 2 and "goes on with what" in caplog.text
    plain = Recipe(name="mine", reward=Correct())
    assert load_states(folder, Settings.of(plain, changed_recipe="migrate")) == States()
    assert "is dropped" in caplog.text

    content = json.loads((folder / FILE).read_text(encoding="utf-8"))
    content["advantage_state"]["group_means"][1] = "high"
    (folder / FILE).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(StateError, match=r"advantage_state\.group_means\[1\] is 'high'; give a finite number"):
        load_states(folder, settings)


def test_the_limit_is_that_of_the_step_and_rounded(tmp_path):
    one = Shaper(Settings.of(load_recipe("thinkprune")), before_in(tmp_path))
    assert [one.limits(["p", "q"], step) for step in (1, 180, 181)] == [[4000, 4000], [4000, 4000], [3000, 3000]]
    halves = load_recipe("dler", ["limit.per_step.at_most=40.6"])
    assert Shaper(Settings.of(halves), before_in(tmp_path)).limits(["p"], 1) == [41]
    with pytest.raises(ConfigError, match="recipe grpo has no limit"):
        Shaper(Settings.of(load_recipe("grpo")), before_in(tmp_path)).limits(["p"], 1)


@dataclass(frozen=True, kw_only=True)
class Falling(Limit):
    """Less than a token after a few steps; shows the step that it was asked for."""

    def tokens(self, prompts, step, state):
        return [1.2 - 0.3 * step] * len(prompts)

    def shown(self, step, state):
        return {"step": float(step)}


def test_a_limit_leaves_a_token_and_is_asked_for_the_steps_before(tmp_path):
    one = Shaper(Settings.of(Recipe(name="mine", reward=Correct(), limit=Falling())), before_in(tmp_path))
    assert [one.limits(["p"], step) for step in (1, 4)] == [[1], [1]]
    facts = [fact(prompt_key="p", limit=56.0), fact(prompt_key="q", limit=32.0)]
    metrics = one.shape(facts, ["a", "b"], step=3).metrics
    assert metrics["control/limit/step"] == 2 and metrics["limit"] == 44


REMEMBERING = Recipe(
    name="mine",
    reward=DifficultyTruncation(thresholds=(0.5,), lengths=(56, 32)),
    limit=PerPassRate(thresholds=(0.5,), lengths=(56, 32)),
)
KNOWN = States(limit={"pass_rate": {"p": 1.0}})


def test_what_a_limit_remembers_survives_a_resume(tmp_path):
    settings = Settings.of(REMEMBERING)
    facts = [fact(acc, prompt_key=key, limit=56.0) for key, acc in (("p", 1.0), ("p", 1.0), ("q", 0.0), ("q", 0.0))]
    first = Shaper(settings, before_in(tmp_path))
    assert first.limits(["p", "q"], 1) == [56, 56]
    assert first.shape(facts, ["a", "a", "b", "b"], step=1)[2]["limit"] == 56
    assert first.limits(["p", "q", "new"], 2) == [32, 56, 56]
    folder = tmp_path / "global_step_1"
    folder.mkdir()
    save_states(folder, settings, first.states, 1)
    # verl hands out the prompts of a step before it samples any.
    assert Shaper(settings, before_in(tmp_path)).limits(["p", "q", "new"], 2) == [32, 56, 56]


def test_a_limit_from_the_rewards_own_budgets_moves_and_survives_a_resume(tmp_path):
    settings = Settings.of(load_recipe("palu", profile="cpu"))
    one = Shaper(settings, before_in(tmp_path))
    assert one.limits(["p", "q"], 1) == [96, 96]
    facts = [fact(length=length, prompt_key="p", limit=96.0) for length in (20.0, 30.0, 40.0, 50.0)]
    metrics = one.shape(facts, ["a"] * 4, step=1).metrics
    assert metrics["control/budget"] == 81 and metrics["control/cuts"] == 1  # 96 less 50, plus the median, 35
    assert one.limits(["p", "q"], 2) == [81, 96]
    folder = tmp_path / "global_step_1"
    folder.mkdir()
    save_states(folder, settings, one.states, 1)
    assert Shaper(settings, before_in(tmp_path)).limits(["p", "q"], 2) == [81, 96]


def test_a_guards_intervention_is_written_to_the_log(tmp_path, caplog):
    guarded = load_recipe("grpo", ["reward={sum: {correct: correct, length: {collapse_guard: {of: kimi_length}}}}"])
    one = Shaper(Settings.of(guarded), before_in(tmp_path))
    for step in range(1, 15):
        metrics = one.shape([fact(acc=float(step < 12)), fact()], ["a", "a"], step).metrics
    assert "length: collapse guard relaxes the penalty: accuracy 0.9" in caplog.text
    assert caplog.text.count("collapse guard") == 1
    assert metrics["control/length/weight"] == 0 and metrics["control/length/interventions"] == 1


OTHER = Recipe(name="mine", reward=REMEMBERING.reward, limit=PerPassRate(thresholds=(0.5,), lengths=(64, 48)))


def test_another_limit_is_refused_or_goes_on_by_name_but_never_forgets_in_silence(tmp_path, caplog):
    save_states(tmp_path, Settings.of(REMEMBERING), KNOWN, 1)
    assert load_states(tmp_path, Settings.of(REMEMBERING)) == KNOWN
    with pytest.raises(StateError, match=r"the limit was .*56.*now it is .*64.*changed_recipe=migrate"):
        Shaper(Settings.of(OTHER), lambda step: tmp_path).limits(["p"], 2)
    moved = Shaper(Settings.of(OTHER, changed_recipe="migrate"), lambda step: tmp_path)
    assert moved.limits(["p", "new"], 2) == [48, 64]
    assert "goes on with what" in caplog.text
    fixed = Recipe(name="mine", reward=REMEMBERING.reward, limit=PerStep(at_most=40))
    assert Shaper(Settings.of(fixed, changed_recipe="migrate"), lambda step: tmp_path).limits(["p"], 2) == [40]
    assert "is dropped" in caplog.text


def test_a_limit_that_remembers_nothing_may_change(tmp_path):
    save_states(tmp_path, Settings.of(load_recipe("thinkprune")), States(), 1)
    next_round = Settings.of(load_recipe("thinkprune", ["limit.per_step.at_most=3000"]))
    assert Shaper(next_round, lambda step: tmp_path).limits(["p"], 2) == [3000]


@pytest.mark.parametrize("gone", [{"grpo": {"scale": "batch"}}, {"my_module:Gone": {}}])
def test_an_advantage_that_remembered_nothing_need_not_be_there_any_more(tmp_path, gone):
    save_states(tmp_path, Settings.of(load_recipe("grpo")), States(), 1)
    content = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    content["parts"]["advantage"] = gone
    (tmp_path / FILE).write_text(json.dumps(content), encoding="utf-8")
    assert load_states(tmp_path, Settings.of(load_recipe("grpo"))) == States()
    content["advantage_state"] = {"seen": 1}
    (tmp_path / FILE).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"parts\.advantage"):
        load_states(tmp_path, Settings.of(load_recipe("grpo")))


def test_only_what_was_remembered_is_said_to_be_dropped(tmp_path, caplog):
    save_states(tmp_path, Settings.of(load_recipe("grpo")), States(), 1)
    with pytest.raises(StateError, match="would begin without a memory"):
        load_states(tmp_path, Settings.of(CHOOSING))
    assert load_states(tmp_path, Settings.of(CHOOSING, changed_recipe="migrate")).advantage == {"group_means": []}
    assert "starts afresh" in caplog.text and "is dropped" not in caplog.text


class Growing(Counting):
    """Remembers lists in a table, which no run can go on from."""

    def init(self):
        return {"seen": {}}

    def update(self, batch, state):
        return torch.zeros(len(batch)), {"seen": {"p": [1.0, 2.0]}}


def test_a_state_that_no_run_could_go_on_from_is_refused_when_it_is_saved(tmp_path):
    one = Shaper(Settings.of(Recipe(name="mine", reward=Sum(correct=Correct(), seen=Growing()))), tmp_path)
    one.shape([fact()], ["a"], step=1)
    with pytest.raises(StateError, match=r"state after step 1\.seen\.seen\.p is \[1\.0, 2\.0\]; give a finite number"):
        one.save(tmp_path, 1)
    assert not (tmp_path / FILE).exists()
