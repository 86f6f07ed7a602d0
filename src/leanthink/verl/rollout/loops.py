"""Which agent loop a recipe's training prompts go to; imports no verl."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

from leanthink.core.errors import ConfigError
from leanthink.core.reward import Reward
from leanthink.core.stopping import StopBias
from leanthink.recipe.definition import Recipe
from leanthink.rewards import EarlyExit, ModeSwitchReward, ThinkingCompression
from leanthink.rewards.probed import ProbedReward
from leanthink.training.sampling import only_part, sampling_kinds
from leanthink.verl import COMPRESSING, MODES, PROBING, SERIAL, STOPPING
from leanthink.verl.settings import Settings

Kind = TypeVar("Kind", bound=Reward)

CHANGES_SAMPLING: Final = frozenset({COMPRESSING, MODES, STOPPING})
"""Loops whose tokens were not sampled as the policy samples them: behind another text, or with a shift."""


def sampling_part(config: Any, kind: type[Kind]) -> Kind:
    """The part that says how an agent loop samples, from verl's configuration; built once: loops come with responses.

    Raises:
        ConfigError: the recipe has no such part.
    """
    recipe = _recipe_of(config)
    part = only_part(recipe.reward, kind)
    if part is None:
        raise ConfigError(f"recipe {recipe.name} has no {kind.__name__}; let its prompts name another agent loop")
    return cast(Kind, part)


def stop_of(config: Any) -> StopBias:
    """What ends thinking sooner, from verl's configuration.

    Raises:
        ConfigError: the recipe has no ``stop``.
    """
    recipe = _recipe_of(config)
    if recipe.stop is None:
        raise ConfigError(f"recipe {recipe.name} has no stop; give one, or let its prompts name another agent loop")
    return recipe.stop


def _recipe_of(config: Any) -> Recipe:
    return _built(json.dumps(Settings.read(config).node(), sort_keys=True))


@lru_cache(maxsize=4)
def _built(node: str) -> Recipe:
    return Settings.read(json.loads(node)).build()


LOOPS: Final[Mapping[type[Any], str]] = {
    ProbedReward: PROBING,
    ThinkingCompression: COMPRESSING,
    ModeSwitchReward: MODES,
    EarlyExit: SERIAL,
    StopBias: STOPPING,
}


def loop_of(recipe: Recipe) -> str | None:
    """The agent loop that a recipe's training rollouts need; None for the default one.

    Raises:
        ConfigError: two parts need different loops.
    """
    needed = sampling_kinds(recipe)
    return LOOPS[needed[0]] if needed else None
