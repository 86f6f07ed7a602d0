"""Lengths that no response can have, and penalties that begin beyond the response limit, are told."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from leanthink.core.batch import RolloutBatch
from leanthink.core.limits import PerPassRate, PerStep
from leanthink.core.reward import Reward, RewardN
from leanthink.core.schedules import Stairs
from leanthink.recipe.advice import advice
from leanthink.recipe.definition import Recipe, load_recipe, recipe_names
from leanthink.recipe.lengths import LONGEST
from leanthink.recipe.reach import beyond
from leanthink.recipe.registry import REGISTRY
from leanthink.rewards import (
    AdaptiveStepLength,
    Correct,
    CosineLength,
    DifficultyTruncation,
    Scale,
    SoftOverlong,
    StepLength,
    Sum,
    Truncation,
)

MEANT_AS_LENGTHS = {"limit", "longest", "target", "budget", "lower_bound", "upper_bound"}


def told(recipe: Recipe, code: str, **keys: Any) -> str | None:
    found = [text for text in advice(recipe, {**recipe.verl, **keys}) if text.endswith(f"[{code}]")]
    return found[0] if found else None


@pytest.mark.parametrize("kind", ["reward", "limit", "loss"])
def test_every_part_declares_its_lengths(kind: Any) -> None:
    for name, cls in REGISTRY[kind].items():
        fields = {field.name: str(field.type) for field in dataclasses.fields(cls)}
        declared = getattr(cls, "in_tokens", ())
        declared = declared if isinstance(declared, tuple) else ()
        assert set(declared) <= set(fields), name
        numbers = {field for field, type_ in fields.items() if "float" in type_ or "Number" in type_}
        assert MEANT_AS_LENGTHS & numbers <= set(declared), name


@pytest.mark.parametrize("profile", ["gpu", "cpu"])
@pytest.mark.parametrize("name", recipe_names())
def test_no_recipe_has_a_length_beyond_its_own_limit(name: str, profile: Any) -> None:
    recipe = load_recipe(name, profile=profile)
    longest = 96 if profile == "cpu" else recipe.verl[LONGEST]
    assert list(beyond(recipe, longest)) == []


@pytest.mark.parametrize(
    ("recipe", "paths"),
    [
        (Recipe(name="a", reward=CosineLength(limit=1001)), {"reward.cosine_length.limit": 1001.0}),
        (Recipe(name="a", reward=CosineLength(limit=1000)), {}),
        (
            Recipe(name="a", reward=Sum(c=Correct(), l=Scale(by=0.5, of=SoftOverlong(limit=2000, buffer=9)))),
            {"reward.sum.l.scale.of.soft_overlong.limit": 2000.0},
        ),
        (
            Recipe(name="a", reward=DifficultyTruncation(thresholds=(0.5,), lengths=(3000, 900))),
            {"reward.difficulty_truncation.lengths": 3000.0},
        ),
        (
            Recipe(name="a", reward=Truncation(limit=Stairs(values=(500, 4000), boundaries=(9,)))),
            {"reward.truncation.limit": 4000.0},
        ),
        (
            Recipe(name="a", reward=Correct(), limit=PerStep(at_most=Stairs(values=(4000, 900), boundaries=(9,)))),
            {"limit.per_step.at_most": 4000.0},
        ),
        (
            Recipe(name="a", reward=Correct(), limit=PerPassRate(thresholds=(0.5,), lengths=(1500, 900))),
            {"limit.per_pass_rate.lengths": 1500.0},
        ),
        (
            Recipe(name="a", reward=Sum(c=Correct(), l=AdaptiveStepLength(lower_bound=1100, upper_bound=2000))),
            {
                "reward.sum.l.adaptive_step_length.lower_bound": 1100.0,
                "reward.sum.l.adaptive_step_length.upper_bound": 2000.0,
            },
        ),
    ],
)
def test_lengths_beyond_are_named_by_their_place(recipe: Recipe, paths: dict[str, float]) -> None:
    assert {length.path: length.greatest for length in beyond(recipe, 1000)} == paths
    text = told(recipe, "length_beyond_limit", **{LONGEST: 1000})
    assert (text is not None) == bool(paths)
    for path in paths:
        assert text is not None and path in text


@pytest.mark.parametrize(
    ("name", "longest"), [("laser", 1024), ("dler", 1024), ("thinkprune", 1024), ("curriculum", 128)]
)
def test_the_cure_cures(name: str, longest: int) -> None:
    recipe = load_recipe(name, [f"{LONGEST}={longest}"])
    text = told(recipe, "length_beyond_limit")
    assert text is not None and f"no response has more than {longest} tokens" in text
    cure = text.partition("; set ")[2].partition(",")[0]
    assert told(load_recipe(name, [f"{LONGEST}={longest}", cure]), "length_beyond_limit") is None


@dataclass(frozen=True, kw_only=True)
class FarAway(Reward):
    """A price of tokens beyond a number; it declares nothing."""

    start: float
    is_term = True

    def score(self, batch: RolloutBatch) -> RewardN:
        return -(batch.length - self.start).clamp(min=0)


@pytest.mark.parametrize(("longest", "idle"), [(1000, True), (3000, True), (3001, False), (9000, False)])
def test_a_penalty_that_begins_beyond_the_limit_is_told(longest: int, idle: bool) -> None:
    recipe = Recipe(name="mine", reward=Sum(c=Correct(), l=FarAway(start=3000)))
    text = told(recipe, "penalty_is_idle", **{LONGEST: longest})
    assert (text is not None) == idle
    if text is not None:
        assert f"only beyond {longest} tokens" in text and f"; set {LONGEST}=4096, or shorten" in text
        assert told(recipe, "penalty_is_idle", **{LONGEST: 4096}) is None


def test_without_a_length_in_the_reward_nothing_is_idle() -> None:
    assert told(load_recipe("grpo"), "penalty_is_idle", **{LONGEST: 4}) is None


def test_a_bonus_for_every_response_is_told() -> None:
    recipe = Recipe(name="mine", reward=Sum(c=Correct(), l=StepLength(target=8192)))
    assert "step_length.target is 8192 tokens" in str(told(recipe, "length_beyond_limit", **{LONGEST: 4096}))


@pytest.mark.parametrize(
    ("keys", "is_told"),
    [
        ({"trainer.device": "cuda", "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 33_000}, True),
        ({"trainer.device": "cuda", "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 16_384}, False),
        ({"trainer.device": "cpu", "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 33_000}, False),
    ],
)
def test_long_micro_batches_without_fused_kernels_are_told(keys: dict[str, Any], is_told: bool) -> None:
    recipe = load_recipe("trle")
    text = told(recipe, "logits_unfused", **keys)
    assert (text is not None) == is_told
    if text is not None:
        assert "20 GB each time; set actor_rollout_ref.model.use_fused_kernels=true" in text
    assert told(recipe, "logits_unfused", **keys, **{"actor_rollout_ref.model.use_fused_kernels": True}) is None
