from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from leanthink.algorithms import Grpo, PpoClip, Rloo
from leanthink.core.errors import ConfigError
from leanthink.core.limits import PerStep
from leanthink.core.schedules import Linear, Stairs
from leanthink.core.stopping import StopBias
from leanthink.recipe.definition import Recipe, load_recipe, recipe_from, recipe_names
from leanthink.recipe.keys import PROSE
from leanthink.recipe.overrides import apply_overrides
from leanthink.recipe.yaml import format_yaml, parse_yaml
from leanthink.rewards import Correct, KimiLength, Scale, SigmoidLength, Sum, Truncation


def node_of(text: str) -> Any:
    return parse_yaml(text, "here")


def changed(text: str, *overrides: str) -> Recipe:
    return recipe_from(apply_overrides(node_of(text), overrides, "recipe mine"), "mine")


def test_what_is_left_out_has_a_default() -> None:
    assert recipe_from({"reward": "correct"}, "mine") == Recipe(name="mine", reward=Correct())
    assert recipe_from({"reward": "correct", "verl": None, "loss": None}, "mine").loss == PpoClip()


PROSE_YAML = """
reward: correct
family: my own
kept: >
  The outcome,
  and no more.
use_when: "Always: why not?"
cost:
"""


def test_prose_is_one_paragraph_and_goes_to_yaml_and_back() -> None:
    recipe = recipe_from(node_of(PROSE_YAML), "mine")
    assert (recipe.family, recipe.kept, recipe.use_when) == ("my own", "The outcome, and no more.", "Always: why not?")
    assert (recipe.cost, recipe.differs) == ("", "")
    node = recipe.to_node()
    assert [key for key in PROSE if key in node] == ["family", "kept", "use_when"]
    assert recipe_from(node_of(format_yaml(node)), "mine") == recipe


def test_prose_is_no_part_of_what_a_run_carries() -> None:
    assert not set(PROSE) & set(load_recipe("trle").parts())


def test_it_pickles_and_prints() -> None:
    recipe = load_recipe("kimi")
    assert pickle.loads(pickle.dumps(recipe)) == recipe and "KimiLength" in repr(recipe)


def test_what_a_run_carries_builds_the_same_parts() -> None:
    recipe = load_recipe("kimi", ["reward.sum.length.scale.by=0.25"])
    rebuilt = recipe_from(recipe.parts(), "kimi")
    assert (rebuilt.reward, rebuilt.advantage, rebuilt.loss) == (recipe.reward, recipe.advantage, recipe.loss)


WRONG: list[tuple[Any, list[str]]] = [
    (None, ["recipe mine: NoneType instead of a mapping", "keys"]),
    (["correct"], ["list instead of a mapping"]),
    ({"reward": "correct", "rewards": 1}, ["no key 'rewards'", "did you mean 'reward'"]),
    ({"reward": "correct", True: 1}, ["no key True"]),
    ({"advantage": "grpo"}, ["'reward' is missing", "give a reward"]),
    ({"reward": None}, ["'reward' is missing"]),
    ({"reward": "corect"}, ["recipe mine, reward: no reward 'corect'", "did you mean 'correct'"]),
    ({"reward": "correct", "advantage": {"grpo": {"skale": 1}}}, ["recipe mine, advantage.grpo", "'skale'", "'scale'"]),
    ({"reward": "correct", "loss": "ppo"}, ["recipe mine, loss: no loss 'ppo'"]),
    ({"reward": "correct", "verl": ["a=1"]}, ["recipe mine, verl", "no mapping"]),
    ({"reward": "correct", "cpu": 3}, ["recipe mine, cpu: 3"]),
    ({"reward": "correct", "verl": {1: 2}}, ["recipe mine, verl"]),
    (
        {"reward": "correct", "verl": {"actor_rollout_ref": {"rollout": {"n": 8}}}},
        ["recipe mine, verl: actor_rollout_ref is a group", "'actor_rollout_ref.rollout.n: 8'"],
    ),
    ({"reward": "correct", "cpu": {"data": {"seed": 1}}}, ["recipe mine, cpu: data is a group", "'data.seed: 1'"]),
    ({"reward": "correct", "reference": "2502.04463"}, ["recipe mine, reference"]),
    ({"reward": "correct", "wrong_may_beat_correct": "no"}, ["wrong_may_beat_correct is 'no'", "true or false"]),
    ({"reward": "correct", "cost": 3}, ["recipe mine, cost: 3 is no text", "write one paragraph"]),
    ({"reward": "correct", "use_when": True}, ["recipe mine, use_when: True is no text", "in quotes"]),
    ({"reward": "correct", "kept": ["a", "b"]}, ["recipe mine, kept: ['a', 'b'] is no text", "one paragraph"]),
    ({"reward": "correct", "differs": "One.\n\nTwo."}, ["recipe mine, differs: 'One.", "has 3 lines", "'>-'"]),
    ({"reward": "correct", "use_wen": "never"}, ["no key 'use_wen'", "did you mean 'use_when'"]),
]


@pytest.mark.parametrize(("node", "facts"), WRONG, ids=str)
def test_a_wrong_recipe_says_where_what_and_the_cure(node: Any, facts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        recipe_from(node, "mine")
    for fact in facts:
        assert fact in str(caught.value)


def test_the_issue_of_a_deep_typo_is_told_by_its_path() -> None:
    node = {
        "reward": {"switch": {"select": "correct", "shaped": {"sigmoid_length": {"alhpa": 0.2}}, "plain": "correct"}}
    }
    with pytest.raises(ConfigError, match=r"recipe mine, reward\.switch\.shaped\.sigmoid_length: .*'alhpa'.*'alpha'"):
        recipe_from(node, "mine")


TWO = Correct(right=2)
FALLING = Truncation(limit=Stairs(values=(9.0, 8.0), boundaries=(5,)))


@pytest.mark.parametrize(
    ("text", "override", "expected"),
    [
        ("reward: correct", "reward.correct.right=2", Correct(right=2)),
        ("reward: {correct: }", "reward.correct.right=2", Correct(right=2)),
        ("reward: {correct: {wrong: -1}}", "reward.correct.right=2", Correct(right=2, wrong=-1)),
        ("reward: correct", "reward={scale: {by: 2, of: correct}}", Scale(by=2, of=Correct())),
        ("reward: {scale: {by: 2, of: correct}}", "reward.scale.of.correct.right=3", Scale(by=2, of=Correct(right=3))),
        ("reward: {scale: {by: 2, of: correct}}", "reward.scale.by.linear={start: 0, stop: 1, steps: 5}", None),
        ("reward: {sigmoid_length: {alpha: 0.1}}", "reward.sigmoid_length.alpha=4e-1", SigmoidLength(alpha=0.4)),
        (
            "reward: {scale: {by: 2, of: correct}}",
            "reward.scale.by={linear: {start: 0, stop: 1, steps: 5}}",
            Scale(by=Linear(start=0, stop=1, steps=5), of=Correct()),
        ),
        (
            "reward: {sum: {a: correct, b: kimi_length}}",
            "reward.sum.b={scale: {by: 0.5, of: kimi_length}}",
            Sum(a=Correct(), b=Scale(by=0.5, of=KimiLength())),
        ),
        ("reward: truncation", "reward.truncation.of.correct.right=2", Truncation(of=Correct(right=2))),
        ("reward: {truncation: {kappa: 0.1}}", "reward.truncation.of.correct.right=2", Truncation(kappa=0.1, of=TWO)),
        ("reward: truncation", "reward.truncation.limit.stairs={values: [9, 8], boundaries: [5]}", FALLING),
        (
            "reward: {sum: {a: correct, b: {truncation: {of: truncation}}}}",
            "reward.sum.b.truncation.of.truncation.of.correct.right=2",
            Sum(a=Correct(), b=Truncation(of=Truncation(of=TWO))),
        ),
    ],
)
def test_overrides_change_the_tree(text: str, override: str, expected: Any) -> None:
    if expected is None:  # a number has no parts
        with pytest.raises(ConfigError, match=r"override reward\.scale\.by\.linear: reward\.scale\.by is 2"):
            changed(text, override)
    else:
        assert changed(text, override).reward == expected


def test_parts_the_recipe_leaves_to_the_default_can_be_overridden() -> None:
    recipe = changed("reward: correct", "advantage.grpo.scale=none", "loss.ppo_clip.high=0.28")
    assert recipe.advantage == Grpo(scale="none") and recipe.loss == PpoClip(high=0.28)
    assert changed("reward: correct", "advantage=rloo").advantage == Rloo()


def test_an_argument_left_to_its_default_can_be_reached_in_the_cpu_block_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("reward: truncation\ncpu: {reward.truncation.of.correct.right: 2}")
    assert load_recipe(path).reward == Truncation()
    assert load_recipe(path, profile="cpu").reward == Truncation(of=TWO)


@pytest.mark.parametrize(
    ("reward", "alone"),
    [
        ("kimi_length", "kimi_length"),
        ("{scale: {by: 0.5, of: kimi_length}}", "scale: {by: 0.5, of: kimi_length}"),
        ("{sum: {a: kimi_length, b: repetition}}", "sum: {a: kimi_length, b: repetition}"),
    ],
)
def test_a_term_is_no_whole_reward(reward: str, alone: str) -> None:
    """By itself it can rank a wrong response above a correct one; what the error proposes builds."""
    with pytest.raises(ConfigError, match="a term, which alone can rank a wrong response above a correct one") as told:
        recipe_from(node_of(f"reward: {reward}"), "mine")
    assert alone in str(told.value)
    cure = str(told.value).partition("as in ")[2].partition(", or declare")[0]
    assert recipe_from(node_of(cure), "mine").reward.is_term is False
    assert recipe_from(node_of(f"reward: {reward}\nwrong_may_beat_correct: true"), "mine").reward.is_term


def test_all_other_overrides_are_verls_and_win_in_both_profiles() -> None:
    recipe = load_recipe("trle", ["data.train_batch_size=8", "trainer.logger=[console]", "x.y=1e-5", "z="])
    for keys in (recipe.verl, recipe.cpu):
        assert keys["data.train_batch_size"] == 8 and keys["trainer.logger"] == ["console"]
        assert keys["x.y"] == 1e-5 and keys["z"] is None
    untouched = load_recipe("trle")
    assert {**untouched.verl, **recipe.verl} == recipe.verl


def test_overrides_leave_the_node_alone_and_do_not_reach_through_aliases() -> None:
    node = node_of("reward: {sum: {a: &c {correct: {right: 1}}, b: *c}}")
    copy = node_of("reward: {sum: {a: {correct: {right: 1}}, b: {correct: {right: 1}}}}")
    changed_node = apply_overrides(node, ["reward.sum.a.correct.right=5"], "recipe mine")
    assert node == copy
    assert recipe_from(changed_node, "mine").reward == Sum(a=Correct(right=5), b=Correct())


@pytest.mark.parametrize(
    ("override", "facts"),
    [
        ("alpha", ["'alpha' is no override", "key=value"]),
        ("=3", ["'=3' is no override"]),
        ("reward..right=1", ["no override"]),
        ("reward.corect.right=1", ["override reward.corect.right", "'corect'", "did you mean 'correct'"]),
        ("reward.correct.rihgt=1", ["reward.correct", "no argument 'rihgt'", "'right'"]),
        ("reward.correct.right.linear=1", ["override reward.correct.right.linear", "reward.correct.right is 1"]),
        ("reward.correct.right=[1", ["override reward.correct.right", "no valid YAML"]),
        ("reward.correct.right=", ["reward.correct.right: None is not a number"]),
        ("reward=", ["'reward' is missing"]),
        ("verl.data.train_batch_size=1", ["override verl.data.train_batch_size", "as verl does"]),
        ("description=new", ["override description", "only reward, advantage, loss"]),
        ("cost=none", ["override cost", "only reward, advantage, loss"]),
        ("family.name=mine", ["override family.name", "only reward, advantage, loss"]),
        ("reward.correct.rihgt.linear.start=1", ["nothing named 'rihgt' at reward.correct", "did you mean 'right'"]),
        ("advantage.grpo.scal.linear.start=1", ["nothing named 'scal' at advantage.grpo", "did you mean 'scale'"]),
        ("data={max_response_length: 512}", ["data is a group", "'data.max_response_length: 512'"]),
        ("loss.dpo.beta=1", ["override loss.dpo.beta", "loss is 'ppo_clip', which has no 'dpo'"]),
    ],
)
def test_wrong_overrides_say_where_what_and_the_cure(override: str, facts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        changed("reward: {correct: {right: 1}}", override)
    for fact in facts:
        assert fact in str(caught.value)


@pytest.mark.parametrize("name", ["leanthink:core", "leanthink:__version__", "json:loads", "json:JSONDecoder"])
def test_an_override_within_what_is_no_part_of_a_recipe(name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"override reward\..*: {name} is no part of a recipe; name a subclass of Reward"
    ):
        apply_overrides({"reward": {name: {}}}, [f"reward.{name}.x.y=1"], "recipe mine")


def test_overrides_of_no_recipe_say_that_it_is_none() -> None:
    with pytest.raises(ConfigError, match="instead of a mapping"):
        recipe_from(apply_overrides(None, ["data.x=1"], "recipe mine"), "mine")
    with pytest.raises(ConfigError, match="verl"):
        recipe_from(apply_overrides({"reward": "correct", "verl": 5}, ["data.x=1"], "recipe mine"), "mine")


def test_recipes_load_by_name_or_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("reward: correct\nverl: {trainer.total_epochs: 3}\n")
    for given in (path, str(path)):
        assert load_recipe(given) == Recipe(name="mine", reward=Correct(), verl={"trainer.total_epochs": 3})
    with pytest.raises(ConfigError, match=r"no recipe 'tlre'; did you mean 'trle'\?.*ending in \.yaml"):
        load_recipe("tlre")
    with pytest.raises(ConfigError, match=r"cannot read .*nothing\.yaml"):
        load_recipe(tmp_path / "nothing.yaml")
    path.write_text("reward: correct\nreward: correct\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml, line 2: key 'reward' is given twice"):
        load_recipe(path)


def test_the_shipped_recipes_are_listed_in_order() -> None:
    assert recipe_names() == sorted(recipe_names()) and {"grpo", "kimi", "trle"} <= set(recipe_names())


def test_the_cpu_block_scales_the_tree_for_that_profile_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = "reward: {scale: {by: 2, of: correct}}\ncpu: {reward.scale.by: 3, advantage.grpo.scale: none, data.seed: 1}"
    path.write_text(text)
    assert load_recipe(path).reward == Scale(by=2, of=Correct())
    scaled = load_recipe(path, profile="cpu")
    assert (scaled.reward, scaled.advantage) == (Scale(by=3, of=Correct()), Grpo(scale="none"))
    assert load_recipe(path, ["reward.scale.by=5"], "cpu").reward == Scale(by=5, of=Correct())
    path.write_text("reward: correct\ncpu: {reward.scale.by: 3}\n")
    with pytest.raises(ConfigError, match=r"recipe mine, cpu: reward\.scale\.by: .*reward is 'correct'"):
        load_recipe(path, profile="cpu")


def test_an_override_may_begin_a_part_that_the_recipe_has_not() -> None:
    recipe = load_recipe("grpo", ["limit.per_step.at_most=4000", "stop.stop_bias.bias=2"])
    assert recipe.limit == PerStep(at_most=4000) and recipe.stop == StopBias(bias=2)
    with pytest.raises(ConfigError, match="stop: no stop 'stop_bia'; did you mean 'stop_bias'"):
        load_recipe("grpo", ["stop.stop_bia.bias=2"])
    with pytest.raises(ConfigError, match="nothing named 'per_stp' at limit; did you mean 'per_step'"):
        load_recipe("dler", ["limit.per_stp.at_most=4000"])
