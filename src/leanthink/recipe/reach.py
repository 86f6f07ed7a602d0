"""Which lengths of a recipe no response can have under a response limit; each part declares its own (``in_tokens``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from leanthink.core.reward import Reward
from leanthink.core.schedules import Schedule, bounds
from leanthink.recipe.definition import Recipe
from leanthink.recipe.registry import name_of


class Length(NamedTuple):
    """A length in a recipe: its place as an override has it, the greatest it ever is, and whether it is one number."""

    path: str
    greatest: float
    is_number: bool

    @property
    def shown(self) -> str:
        """Its value in words."""
        return f"{'' if self.is_number else 'up to '}{self.greatest:g} tokens"


def beyond(recipe: Recipe, longest: float) -> Iterator[Length]:
    """The lengths in a recipe's tree that are greater than the response limit at some step.

    >>> from leanthink.recipe.definition import load_recipe
    >>> [length.path for length in beyond(load_recipe("laser"), 4096)]
    ['reward.sum.length.step_length.target']
    """
    return (length for length in _lengths(recipe) if length.greatest > longest)


def _lengths(recipe: Recipe) -> Iterator[Length]:
    parts = [("loss", recipe.loss), ("limit", recipe.limit)]
    for path, part in [*_rewards("reward", recipe.reward), *parts]:
        for name in getattr(part, "in_tokens", ()):
            value = getattr(part, name)
            if value is not None:
                yield Length(f"{path}.{name_of(type(part))}.{name}", _greatest(value), isinstance(value, int | float))


def _rewards(path: str, reward: Reward) -> Iterator[tuple[str, Any]]:
    """Each part of a reward with the path that leads to it, a part in its default included."""
    yield path, reward
    for name, child in reward.children().items():
        yield from _rewards(f"{path}.{name_of(type(reward))}.{name}", child)


def _greatest(value: Any) -> float:
    if isinstance(value, tuple | list):
        return max(map(_greatest, value), default=0.0)
    return bounds(value)[1] if isinstance(value, Schedule) else float(value)
