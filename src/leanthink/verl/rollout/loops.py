"""Which agent loop a recipe's training prompts go to; imports no verl."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

from leanthink.core.errors import ConfigError
from leanthink.core.limits import Thinking
from leanthink.core.reward import Reward
from leanthink.core.schedules import bounds
from leanthink.core.stopping import StopBias
from leanthink.recipe.definition import Recipe
from leanthink.rewards import EarlyExit, ThinkingCompression
from leanthink.rewards.opened import OpenedReward
from leanthink.rewards.probed import ProbedReward
from leanthink.training.sampling import check_one, only_part, sampling_kinds
from leanthink.verl import COMPRESSING, MODES, PROBING, SERIAL, STOPPING, THINKING, TOOLS
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


def thinking_of(config: Any) -> Thinking:
    """The budget of the thinking, from verl's configuration.

    Raises:
        ConfigError: the recipe has none.
    """
    recipe = _recipe_of(config)
    if not isinstance(recipe.limit, Thinking):
        raise ConfigError(f"recipe {recipe.name} has no limit of thinking; let its prompts name another agent loop")
    return recipe.limit


def _recipe_of(config: Any) -> Recipe:
    return _built(json.dumps(Settings.read(config).node(), sort_keys=True))


@lru_cache(maxsize=4)
def _built(node: str) -> Recipe:
    return Settings.read(json.loads(node)).build()


LOOPS: Final[Mapping[type[Any], str]] = {
    ProbedReward: PROBING,
    ThinkingCompression: COMPRESSING,
    OpenedReward: MODES,
    EarlyExit: SERIAL,
    StopBias: STOPPING,
    Thinking: THINKING,
}


def check_rollouts(recipe: Recipe, rollouts: int) -> None:
    """Refuse a number of rollouts that a part which opens them cannot share out.

    Raises:
        ConfigError: naming the part.
    """
    part = only_part(recipe.reward, OpenedReward)
    if part is not None:
        part.opening(0, rollouts)


def check_thinking(recipe: Recipe, longest: int) -> None:
    """Refuse a budget of thinking that leaves no room for an answer behind it.

    Raises:
        ConfigError: with the tokens of both.
    """
    limit = recipe.limit
    if not isinstance(limit, Thinking) or limit.at_most is None:
        return
    most = bounds(limit.at_most)[1]
    if most + limit.answer >= longest:
        raise ConfigError(
            f"recipe {recipe.name}, limit.thinking: {most:g} tokens of thinking and {limit.answer} for the answer, and "
            f"what ends the thinking, do not fit into data.max_response_length {longest}; lower at_most or answer"
        )


def _check_turns(recipe: Recipe, needed: list[str]) -> None:
    """Refuse what knows one turn only, where responses have several."""
    if needed:
        raise ConfigError(
            f"recipe {recipe.name}: {needed[0]} samples a response of one turn, and agent: {recipe.agent} has several; "
            "leave out one of the two"
        )
    if (part := next((part for part in recipe.reward.walk() if part.is_placed), None)) is not None:
        raise ConfigError(
            f"recipe {recipe.name}: {type(part).__name__} pays single tokens, whose places are not known in a response "
            f"of several turns; leave it out, or agent: {recipe.agent}"
        )


def loop_of(recipe: Recipe) -> str | None:
    """The agent loop that a recipe's training rollouts need; None for the default one.

    Raises:
        ConfigError: two parts need different loops, or one knows one turn only and there are several.
    """
    needed = sampling_kinds(recipe)
    if recipe.agent is not None:
        _check_turns(recipe, [name for _, name in needed])
        return TOOLS
    check_one(needed)
    return LOOPS[needed[0][0]] if needed else None
