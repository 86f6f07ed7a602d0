"""No shipped recipe is advised against; what a recipe accepts, and that the cures of all advice cure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from leanthink.algorithms import Rloo
from leanthink.cli import main
from leanthink.commands.sweep import resolver
from leanthink.core.errors import AdviceWarning, ConfigError
from leanthink.recipe.advice import RULES, TOKENS, advice
from leanthink.recipe.definition import Profile, Recipe, load_recipe, recipe_from, recipe_names
from leanthink.recipe.lengths import LONGEST
from leanthink.rewards import SigmoidLength
from leanthink.verl.start.launch import VERL_DEFAULTS, Job

FILTER = {"algorithm.filter_groups.enable": True, "algorithm.filter_groups.metric": "acc"}
ONE = {"actor_rollout_ref.rollout.n": 1}


def codes(texts: list[str]) -> list[str]:
    """What stands in brackets at the end of each advice."""
    return [text.rpartition(" [")[2][:-1] for text in texts]


def run_keys(recipe: Recipe, profile: Profile) -> dict[str, Any]:
    """verl's keys as `train` advises by."""
    gpus = 1 if profile == "cpu" else 8
    job = Job(recipe=recipe, profile=profile, model="M", train_files=("T",), val_files=("V",), folder="C", gpus=gpus)
    return {**VERL_DEFAULTS, **job.keys()}


@pytest.mark.parametrize("profile", ["gpu", "cpu"])
@pytest.mark.parametrize("name", recipe_names())
def test_no_shipped_recipe_is_advised_against_and_none_accepts_what_it_does_not_do(name: str, profile: Profile) -> None:
    recipe = load_recipe(name, profile=profile)
    keys = run_keys(recipe, profile)
    assert advice(recipe) == advice(recipe, keys) == []
    given = codes(advice(replace(recipe, accepts={}), keys))
    assert set(given) == recipe.accepts.keys()


@pytest.mark.parametrize(
    ("name", "overrides", "told"),
    [
        ("alp", [], []),
        ("alp", ["data.train_batch_size=64", "loss.ppo_clip.high=0.28"], []),
        ("alp", ["reward.sum.length.pass_rate_length.beta=1.0e-7"], []),  # as it was
        ("alp", ["reward.sum.length.pass_rate_length.beta=1.0e-6"], ["std_hides_strength"]),
        ("alp", ["advantage.grpo.scale=none"], []),
        (
            "dapo_overlong",
            ["reward.sum.overlong.soft_overlong.factor=2"],
            ["std_hides_strength", "filter_drops_solved"],
        ),
        ("kimi", ["advantage.grpo.scale=std"], ["std_hides_strength"]),
    ],
)
def test_what_a_recipe_accepts_is_told_once_its_reward_or_advantage_is_changed(
    name: str, overrides: list[str], told: list[str]
) -> None:
    recipe = load_recipe(name, overrides)
    assert codes(advice(recipe)) == told
    assert recipe_from(recipe.to_node(), name) == recipe


def test_what_a_recipe_accepts_is_told_where_other_keys_bring_it_about() -> None:
    accepts = {"filter_drops_solved": "as in the paper"}
    recipe = Recipe(name="mine", reward=SigmoidLength(alpha=0.2), advantage=Rloo(), accepts=accepts)
    assert codes(advice(recipe, FILTER)) == ["filter_drops_solved"]
    assert advice(replace(recipe, verl=FILTER), FILTER) == advice(replace(recipe, verl=FILTER)) == []


def test_what_is_accepted_is_a_mapping() -> None:
    with pytest.raises(ConfigError, match=re.escape("recipe mine, accepts: ['group_of_one'] is no mapping")):
        recipe_from({"reward": "correct", "accepts": ["group_of_one"]}, "mine")


@pytest.mark.parametrize(
    ("accepts", "message"),
    [
        ({"std_hides": "it does"}, "recipe mine, accepts: no advice 'std_hides'; did you mean 'std_hides_strength'"),
        ({"group_of_one": ""}, "recipe mine, accepts: group_of_one is ''; give the reason, as text"),
        ({"group_of_one": True}, "recipe mine, accepts: group_of_one is True; give the reason, as text"),
    ],
)
def test_no_recipe_accepts_what_is_no_advice_or_without_a_reason(accepts: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        advice(recipe_from({"reward": "correct", "accepts": accepts}, "mine"))


CURED = (
    ("trle", ["advantage=grpo"], {}),
    ("trle", ["advantage={difficulty_weight: {stage: easy, of: {grpo: {ddof: 0}}}}"], {}),
    ("lc_r1", ["advantage.outcome_and_steps.scale=std"], {}),
    ("s_grpo", ["advantage.grpo.scale=std"], {}),
    ("trle", [], FILTER),
    ("grpo_lambda", ["advantage.grpo.scale=none"], FILTER),  # it reads the whole batch
    ("palu", [], FILTER),
    ("kimi", ["reward={sum: {correct: correct, length: {collapse_guard: {of: kimi_length}}}}"], FILTER),
    ("drpo", ["reward={sigmoid_length: {alpha: 0.1}}"], {}),
    ("disco", ["reward={sigmoid_length: {alpha: 0.1}}"], {}),
    ("drpo", ["loss.drpo.preference=reward"], {}),
    ("disco", ["loss={drpo: {length_temperature: 0.1, preference: reward}}"], {}),
    ("vsrm_rpp", ["advantage=rloo"], {}),
    ("vsrm_rpp", ["loss={drpo: {length_temperature: 0.1, preference: reward}}"], {}),
    ("grpo", [], ONE),
    ("gfpo", [], ONE),
    ("lc_r1", [], ONE),
    ("drpo", [], ONE),
    ("laser", [], {LONGEST: 1024}),
    ("laser", ["reward.sum.length.step_length.target=16384"], {LONGEST: 16384}),
    ("trle", [], {"trainer.device": "cuda", TOKENS: 33_000}),
)


@pytest.mark.parametrize(("name", "overrides", "keys"), CURED, ids=str)
def test_the_override_that_an_advice_gives_cures_it(name: str, overrides: list[str], keys: dict[str, Any]) -> None:
    ill = load_recipe(name, overrides)
    told = advice(ill, {**ill.verl, **keys})
    pasted = [re.findall(r"[\w.]+=[\w.-]+", text.rpartition("; set ")[2].partition(", or ")[0]) for text in told]
    assert told and all(pasted)
    for text, cure in zip(told, pasted, strict=True):
        cured = load_recipe(name, [*overrides, *[f"{key}={value}" for key, value in keys.items()], *cure])
        assert codes([text])[0] not in codes(advice(cured)), (text, cure)


def test_every_rule_has_its_cure_tried() -> None:
    told = {code for name, more, keys in CURED for code in codes(advice(load_recipe(name, more), keys))}
    assert told == {rule.__name__ for rule in RULES}


def test_verls_own_default_is_a_group_of_one_and_the_testbed_has_eight(
    capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("reward: correct\n")
    for profile, lines in (("gpu", 1), ("cpu", 0)):
        assert main(["show", str(file), "--verl", "--profile", profile]) == 0
        assert capsys.readouterr().err.count("[group_of_one]") == lines
    assert main(["show", str(file)]) == 0
    assert capsys.readouterr().err == ""


def test_a_sweep_tells_each_advice_once_and_that_of_every_variant() -> None:
    resolve = resolver()
    with pytest.warns(AdviceWarning) as seen:
        for more in ((), ONE, FILTER, ONE):
            overrides = [f"{key}={value}" for key, value in dict(more).items()]
            resolve(["trle", "--profile", "cpu", "data.train_batch_size=16", *overrides])
    assert [str(one.message).rpartition(" [")[2] for one in seen] == ["group_of_one]", "filter_drops_solved]"]
