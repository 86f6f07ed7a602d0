"""Which agent loop a recipe's training prompts go to; imports no verl."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

from leanthink.core.batch import PROMPT_KEY, RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.limits import LIMIT, Thinking
from leanthink.core.reward import Reward
from leanthink.core.stopping import StopBias
from leanthink.recipe.definition import Recipe
from leanthink.recipe.scoring import measured_rewards
from leanthink.rewards import EarlyExit, ThinkingCompression
from leanthink.rewards.counted import COLUMN_OF
from leanthink.rewards.opened import MANY, OpenedReward
from leanthink.rewards.probed import ProbedReward, probed_part
from leanthink.verl import COMPRESSING, MODES, PROBING, SERIAL, STOPPING, THINKING, TOOLS
from leanthink.verl.settings import Settings

Kind = TypeVar("Kind", bound=Reward)

CHANGES_SAMPLING: Final = frozenset({COMPRESSING, MODES, STOPPING})
"""Loops whose tokens were not sampled as the policy samples them: behind another text, or with a shift."""


def only_part(reward: Reward, kind: type[Any]) -> Any:
    """The one part of this kind in a reward tree; None without one.

    Raises:
        ConfigError: there are two, with different arguments, and a response is sampled in one way.
    """
    parts = list(dict.fromkeys(part for part in reward.walk() if isinstance(part, kind)))
    if len(parts) > 1:
        raise ConfigError(
            f"the reward has {len(parts)} different {kind.__name__} parts, which say how responses are sampled; keep "
            "one, or give them the same arguments"
        )
    return parts[0] if parts else None


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


_NEEDS: Final[tuple[tuple[str, type[Any], Callable[[Reward], Any]], ...]] = (
    (PROBING, ProbedReward, probed_part),
    (COMPRESSING, ThinkingCompression, lambda reward: only_part(reward, ThinkingCompression)),
    (MODES, OpenedReward, lambda reward: only_part(reward, OpenedReward)),
    (SERIAL, EarlyExit, lambda reward: only_part(reward, EarlyExit)),
)


def check_rollouts(recipe: Recipe, rollouts: int) -> None:
    """Refuse a number of rollouts that a part which opens them cannot share out.

    Raises:
        ConfigError: naming the part.
    """
    part = only_part(recipe.reward, OpenedReward)
    if part is not None:
        part.opening(0, rollouts)


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
    needed = [(name, kind.__name__) for name, kind, part_of in _NEEDS if part_of(recipe.reward) is not None]
    if recipe.stop is not None:
        needed.append((STOPPING, type(recipe.stop).__name__))
    if isinstance(recipe.limit, Thinking):
        needed.append((THINKING, f"limit {type(recipe.limit).__name__}"))
    if recipe.agent is not None:
        _check_turns(recipe, [kind for _, kind in needed])
        return TOOLS
    if len(needed) > 1:
        kinds = " and ".join(kind for _, kind in needed)
        raise ConfigError(f"{kinds} each sample responses in a way of their own; keep one of them in the recipe")
    return needed[0][0] if needed else None


def columns_of_data(reward: Reward) -> frozenset[str]:
    """The columns of a reward that the data have to bring, in each row's ``extra_info``.

    Not among them is what is measured, what an agent loop says of the responses it samples, and what training makes.

    >>> from leanthink.recipe.definition import load_recipe
    >>> sorted(columns_of_data(load_recipe("lcpo_max").reward)), sorted(columns_of_data(load_recipe("vsrm_rpp").reward))
    (['at_most', 'budget'], [])
    """
    sampled = tuple(kind for _, kind, _ in _NEEDS if kind is not OpenedReward)
    made = {PROMPT_KEY, LIMIT, *COLUMN_OF.values(), *RolloutBatch.CORE}
    made |= {part.column for part in measured_rewards(reward)}
    by_loop = (part.requires for part in reward.walk() if isinstance(part, sampled) and not part.children())
    opened = (part.opening(0, MANY).columns for part in reward.walk() if isinstance(part, OpenedReward))
    return reward.requires - made - frozenset().union(*by_loop, *opened)
