"""Which agent loop a recipe's training prompts go to; imports no verl."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

from leanthink.errors import ConfigError
from leanthink.module import Reward
from leanthink.rewards import EarlyExit, ModeSwitchReward, ThinkingCompression
from leanthink.rewards.probed import ProbedReward, probed_part
from leanthink.verl.settings import NAME, PROBING, Settings

Kind = TypeVar("Kind", bound=Reward)

COMPRESSING: Final = "leanthink_compressing"

MODES: Final = "leanthink_modes"
SERIAL: Final = "leanthink_serial"

LOOPS: Final[Mapping[str, str]] = {
    NAME: "leanthink.verl.rollout.FactsAgentLoop",
    PROBING: "leanthink.verl.probing.ProbingAgentLoop",
    COMPRESSING: "leanthink.verl.compressing.CompressingAgentLoop",
    MODES: "leanthink.verl.modes.ModesAgentLoop",
    SERIAL: "leanthink.verl.serial.SerialAgentLoop",
}
"""Our agent loops, as verl's own configuration files name theirs."""

CHANGES_CONTEXT: Final = frozenset({COMPRESSING, MODES})
"""Loops after which a token no longer stands behind what it was sampled behind."""


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
    return cast(Kind, _sampling_part(json.dumps(Settings.read(config).node(), sort_keys=True), kind))


@lru_cache(maxsize=4)
def _sampling_part(node: str, kind: type[Reward]) -> Reward:
    settings = Settings.read(json.loads(node))
    part = only_part(settings.build().reward, kind)
    if part is None:
        raise ConfigError(f"recipe {settings.recipe} has no {kind.__name__}; let its prompts name another agent loop")
    return cast(Reward, part)


_NEEDS: Final[tuple[tuple[str, type[Any], Callable[[Reward], Any]], ...]] = (
    (PROBING, ProbedReward, probed_part),
    (COMPRESSING, ThinkingCompression, lambda reward: only_part(reward, ThinkingCompression)),
    (MODES, ModeSwitchReward, lambda reward: only_part(reward, ModeSwitchReward)),
    (SERIAL, EarlyExit, lambda reward: only_part(reward, EarlyExit)),
)


def loop_of(reward: Reward) -> str | None:
    """The agent loop that a reward's training rollouts need; None for the default one.

    Raises:
        ConfigError: two parts need different loops.
    """
    needed = [(name, kind) for name, kind, part_of in _NEEDS if part_of(reward) is not None]
    if len(needed) > 1:
        kinds = " and ".join(kind.__name__ for _, kind in needed)
        raise ConfigError(f"{kinds} each sample responses in a way of their own; keep one of them in the reward")
    return needed[0][0] if needed else None
