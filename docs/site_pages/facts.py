"""What a recipe changes, is made of and remembers, read off the objects that it builds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final

from leanthink.algorithms import Advantage
from leanthink.core.control import StatefulComposite, states
from leanthink.core.reward import Reward, StatefulReward
from leanthink.recipe.definition import Recipe, load_recipe
from leanthink.recipe.keys import PARTS
from leanthink.recipe.registry import Kind, kind_of, name_of
from leanthink.verl.rollout.loops import loop_of

BASELINE: Final = load_recipe("grpo")
"""What all other recipes are compared with."""


def changes(recipe: Recipe) -> list[str]:
    """The stages of a step that another part than the baseline's takes, or that only this recipe has."""
    different = [part for part in PARTS if type(getattr(recipe, part)) is not type(getattr(BASELINE, part))]
    return different + (["rollout"] if loop_of(recipe) is not None else [])


def kinds_used(recipe: Recipe) -> dict[str, Kind]:
    """Kind by registered name of all that a recipe is made of, each once, outermost first."""
    found: dict[str, Kind] = {}
    for part in PARTS:
        for name, kind in _names(getattr(recipe, part)):
            if ":" not in name:
                found.setdefault(name, kind)
    return found


def parts_used(recipe: Recipe) -> list[str]:
    """The registered names of all that a recipe is made of, each once, outermost first."""
    return list(kinds_used(recipe))


def own_parts(recipe: Recipe) -> dict[str, Kind]:
    """What a recipe has beyond the baseline; of the baseline all."""
    used, common = kinds_used(recipe), kinds_used(BASELINE)
    return {name: kind for name, kind in used.items() if name not in common} or used


def _names(value: Any) -> Iterator[tuple[str, Kind]]:
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _names(item)
    elif (kind := kind_of(type(value))) is not None:
        yield name_of(type(value)), kind
        if isinstance(value, Reward):
            yield from _names(value.children())
        if dataclasses.is_dataclass(value):
            yield from _names([getattr(value, field.name) for field in dataclasses.fields(value)])


def remembering(recipe: Recipe) -> list[str]:
    """The names of the parts whose state goes from step to step."""
    rewards = [part for _, part, _ in states(recipe.reward, recipe.reward.init())]
    found: list[Any] = [part for part in rewards if isinstance(part, StatefulReward | StatefulComposite)]
    if recipe.limit is not None and recipe.limit.reads_state:
        found.append(recipe.limit)
    if isinstance(recipe.advantage, Advantage) and recipe.advantage.reads_state:
        found.append(recipe.advantage)
    return [name_of(type(part)) for part in found]
