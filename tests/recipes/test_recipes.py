"""Each shipped recipe is the Python object it says it is.

A new recipe needs an entry in ``RECIPES``: reward, advantage and loss spelled out.
"""

from __future__ import annotations

import re

import pytest

from leanthink.algorithms import Advantage, AnyAdvantage, Gae, Grpo, Loss, PpoClip, ReinforcePp, Rloo
from leanthink.module import Reward
from leanthink.recipe import load_recipe, recipe_from, recipe_names
from leanthink.rewards import Correct, KimiLength, Scale, SigmoidLength, StepwiseGain, Sum, ThinkOutcome
from leanthink.schedules import Stairs

VSRM = Sum(
    outcome=ThinkOutcome(right=1.0, wrong=0.0, no_box=-9.5, no_block=-10.0),
    steps=StepwiseGain(
        skip_chars=1000,
        min_gap_chars=400,
        probes=5,
        probe_tokens=768,
        tolerance=1e-5,
        window=4,
        decay=0.7,
        placement="step_start",
    ),
)
VSRM_SETS = {
    "data.train_batch_size": 256,
    "data.max_prompt_length": 768,
    "data.max_response_length": 7424,
    "actor_rollout_ref.rollout.n": 1,
    "actor_rollout_ref.rollout.temperature": 0.6,
    "actor_rollout_ref.rollout.top_p": 0.95,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 128,
    "actor_rollout_ref.actor.optim.lr": 1e-6,
    "trainer.total_epochs": 3,
}

RECIPES: dict[str, tuple[Reward, AnyAdvantage, Loss]] = {
    "grpo": (
        Correct(),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.2, aggregation="seq-mean-token-mean"),
    ),
    "kimi": (
        Sum(
            correct=Correct(),
            length=Scale(by=Stairs(values=(0.0, 0.5), boundaries=(20,)), of=KimiLength()),
        ),
        Grpo(scale="none"),
        PpoClip(low=0.2, high=0.2),
    ),
    "trle": (
        SigmoidLength(alpha=0.1, eps=1e-7, ddof=0, check_eos=True),
        Rloo(),
        PpoClip(low=0.2, high=0.2),
    ),
    "vsrm_ppo": (VSRM, Gae(gamma=1.0, lam=1.0), PpoClip(low=0.2, high=0.2, dual=3.0)),
    "vsrm_rpp": (VSRM, ReinforcePp(gamma=1.0), PpoClip(low=0.2, high=0.2, dual=3.0)),
}

SETS_OF_THE_PAPER = {  # verl's keys that the paper or its code state
    "grpo": {
        "actor_rollout_ref.rollout.n": 64,
        "actor_rollout_ref.actor.optim.lr": 1e-6,
        "data.max_response_length": 1024,
    },
    "kimi": {},
    "trle": {
        "data.train_batch_size": 32,
        "actor_rollout_ref.rollout.n": 8,
        "actor_rollout_ref.actor.optim.lr": 5e-6,
        "data.max_prompt_length": 512,
        "data.max_response_length": 32000,
        "algorithm.kl_ctrl.kl_coef": 0.001,
    },
    "vsrm_ppo": {**VSRM_SETS, "critic.optim.lr": 1e-5, "critic.cliprange_value": 0.5},
    "vsrm_rpp": VSRM_SETS,
}


def test_every_recipe_is_spelled_out_here() -> None:
    assert RECIPES.keys() == SETS_OF_THE_PAPER.keys() == set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_the_yaml_is_the_python_object(name: str) -> None:
    recipe = load_recipe(name)
    assert (recipe.reward, recipe.advantage, recipe.loss) == RECIPES[name]
    assert recipe.name == name


@pytest.mark.parametrize("name", recipe_names())
def test_the_papers_settings_are_kept(name: str) -> None:
    keys = load_recipe(name).verl
    assert {key: keys[key] for key in SETS_OF_THE_PAPER[name]} == SETS_OF_THE_PAPER[name]


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
