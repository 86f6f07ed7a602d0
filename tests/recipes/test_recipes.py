"""Each shipped recipe is the Python object that the test file of its method spells out from the paper."""

from __future__ import annotations

import re

import pytest

from collected import collected, lacking_recipes
from leanthink.algorithms import Advantage
from leanthink.core.limits import FromReward, PerStep
from leanthink.core.schedules import bounds
from leanthink.recipe.definition import load_recipe, recipe_from, recipe_names
from leanthink.rewards import DifficultyTruncation

RECIPES = collected().recipes
LIMITED = [name for name, stated in RECIPES.items() if stated.limit is not None]


def test_every_recipe_is_spelled_out() -> None:
    assert not lacking_recipes(collected()), "\n".join(lacking_recipes(collected()))


@pytest.mark.parametrize("name", recipe_names())
def test_the_yaml_is_the_python_object(name: str) -> None:
    recipe, stated = load_recipe(name), RECIPES[name]
    assert (recipe.reward, recipe.advantage, recipe.loss) == (stated.reward, stated.advantage, stated.loss)
    assert (recipe.limit, recipe.stop) == (stated.limit, stated.stop)
    assert recipe.name == name


@pytest.mark.parametrize("name", recipe_names())
def test_the_papers_settings_are_kept(name: str) -> None:
    keys, stated = load_recipe(name).verl, RECIPES[name].verl
    assert {key: keys[key] for key in stated} == stated


@pytest.mark.parametrize("name", LIMITED)
def test_a_limit_fits_into_the_response_limit_on_both_profiles(name: str) -> None:
    for profile, longest in (("gpu", load_recipe(name).verl["data.max_response_length"]), ("cpu", 96)):
        recipe = load_recipe(name, profile=profile)  # type: ignore[arg-type]
        if isinstance(recipe.limit, FromReward):
            assert max(recipe.limit.of_reward(["new"], 0, recipe.reward, recipe.reward.init())) <= longest
            continue
        assert isinstance(recipe.limit, PerStep) and bounds(recipe.limit.at_most)[1] <= longest
        if isinstance(recipe.reward, DifficultyTruncation):
            assert max(recipe.reward.lengths) == recipe.limit.at_most


@pytest.mark.parametrize("name", recipe_names())
def test_it_goes_to_yaml_and_back(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe_from(recipe.to_node(), name) == recipe
    assert recipe_from(recipe.to_node(), name).to_node() == recipe.to_node()


@pytest.mark.parametrize("name", recipe_names())
def test_it_says_what_it_is_and_where_it_is_from(name: str) -> None:
    recipe = load_recipe(name)
    assert 10 < len(recipe.description) <= 120
    assert recipe.reference.keys() >= {"paper", "where"}
    assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", recipe.reference["paper"]) and recipe.reference["where"]


@pytest.mark.parametrize("name", recipe_names())
def test_it_sets_what_a_run_needs(name: str) -> None:
    recipe = load_recipe(name)
    keys = recipe.verl
    for key in (
        "data.train_batch_size",
        "data.max_prompt_length",
        "data.max_response_length",
        "actor_rollout_ref.rollout.n",
        "actor_rollout_ref.actor.ppo_mini_batch_size",
        "actor_rollout_ref.actor.optim.lr",
    ):
        assert isinstance(keys[key], int | float) and keys[key] > 0, key
    assert keys["data.train_batch_size"] % keys["actor_rollout_ref.actor.ppo_mini_batch_size"] == 0
    if isinstance(recipe.advantage, Advantage):
        assert keys["actor_rollout_ref.rollout.n"] > 1, "a group of one has nothing to compare with"
