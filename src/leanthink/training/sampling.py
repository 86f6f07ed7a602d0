"""Which parts of a recipe say how its training responses are sampled, beyond plain sampling of the policy."""

from __future__ import annotations

from typing import Any, Final

from leanthink.core.batch import PROMPT_KEY, RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.limits import LIMIT, Thinking
from leanthink.core.reward import Reward
from leanthink.recipe.definition import Recipe
from leanthink.recipe.scoring import measured_rewards
from leanthink.rewards import EarlyExit, ThinkingCompression
from leanthink.rewards.counted import COLUMN_OF
from leanthink.rewards.opened import MANY, OpenedReward
from leanthink.rewards.probed import ProbedReward, probed_part

KINDS: Final[tuple[type[Any], ...]] = (ProbedReward, ThinkingCompression, OpenedReward, EarlyExit)
"""Rewards whose responses are sampled in a way of their own: probed, compressed, begun in a mode, ended early."""


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


def sampling_kinds(recipe: Recipe) -> list[tuple[type[Any], str]]:
    """The kinds of parts by which a recipe's training responses are sampled, with their names; none for plain sampling.

    Raises:
        ConfigError: two parts of one kind want different ways.
    """
    parts = ((kind, _part(recipe.reward, kind)) for kind in KINDS)
    found = [(kind, type(part).__name__) for kind, part in parts if part is not None]
    if recipe.stop is not None:
        found.append((type(recipe.stop), type(recipe.stop).__name__))
    if isinstance(recipe.limit, Thinking):
        found.append((Thinking, f"limit {type(recipe.limit).__name__}"))
    return found


def check_one(found: list[tuple[type[Any], str]]) -> None:
    """Refuse parts that each sample responses in a way of their own.

    Raises:
        ConfigError: there is more than one.
    """
    if len(found) > 1:
        kinds = " and ".join(name for _, name in found)
        raise ConfigError(f"{kinds} each sample responses in a way of their own; keep one of them in the recipe")


def columns_of_data(reward: Reward) -> frozenset[str]:
    """The columns of a reward that the data have to bring, in each row.

    Not among them is what is measured, what the sampling says of responses that it samples in a way of its own, and
    what training makes.

    >>> from leanthink.recipe.definition import load_recipe
    >>> sorted(columns_of_data(load_recipe("lcpo_max").reward)), sorted(columns_of_data(load_recipe("vsrm_rpp").reward))
    (['at_most', 'budget'], [])
    """
    made = {PROMPT_KEY, LIMIT, *COLUMN_OF.values(), *RolloutBatch.CORE}
    made |= {part.column for part in measured_rewards(reward)}
    plain = tuple(kind for kind in KINDS if kind is not OpenedReward)
    by_sampling = (part.requires for part in reward.walk() if isinstance(part, plain) and not part.children())
    opened = (part.opening(0, MANY).columns for part in reward.walk() if isinstance(part, OpenedReward))
    return reward.requires - made - frozenset().union(*by_sampling, *opened)


def _part(reward: Reward, kind: type[Any]) -> Any:
    return probed_part(reward) if kind is ProbedReward else only_part(reward, kind)
