"""What has a short name in recipes: every part that ``rewards``, ``algorithms`` and the core's own modules export."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Final, Literal, get_args

from leanthink import algorithms, rewards
from leanthink.core import limits, schedules, stopping
from leanthink.core.errors import ConfigError
from leanthink.core.functions import full_name, short_name
from leanthink.core.reward import Reward

Kind = Literal["reward", "advantage", "loss", "limit", "stop", "schedule"]

BASES: Final[Mapping[Kind, tuple[type, ...]]] = {
    "reward": (Reward,),
    "advantage": (algorithms.Advantage, algorithms.TokenAdvantage, algorithms.VerlAdvantage),
    "loss": (algorithms.Loss,),
    "limit": (limits.Limit,),
    "stop": (stopping.StopBias,),
    "schedule": (schedules.Schedule,),
}
"""What a class of each kind is a subclass of."""


def kind_of(cls: type) -> Kind | None:
    """What a class is by its base: a reward, an advantage and so on; None for anything else.

    >>> kind_of(rewards.Correct), kind_of(int)
    ('reward', None)
    """
    return next((kind for kind, bases in BASES.items() if issubclass(cls, bases)), None)


def table_of(modules: Iterable[ModuleType]) -> dict[Kind, dict[str, type]]:
    """The parts that modules export, by kind and short name, in order.

    A module exports what its ``__all__`` names; without one, the public classes written in it. A base, which names
    ``ABC`` or leaves a method abstract, and what is of no kind, is no part.

    Raises:
        ConfigError: two classes of a kind have one name, or a class is final and lacks a method.
    """
    found: dict[Kind, dict[str, type]] = {kind: {} for kind in get_args(Kind)}
    for cls in dict.fromkeys(_exported(modules)):
        kind = kind_of(cls)
        if kind is None or _is_base(cls):
            continue
        name = short_name(cls)
        if name in found[kind]:
            raise ConfigError(
                f"{full_name(found[kind][name])} and {full_name(cls)} are both the {kind} {name!r}; "
                'give one of them a name of its own: registered_as = "..." in the class'
            )
        found[kind][name] = cls
    return {kind: dict(sorted(table.items())) for kind, table in found.items()}


def _exported(modules: Iterable[ModuleType]) -> Iterator[type]:
    for module in modules:
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        for name in getattr(module, "__all__", own):
            if isinstance(value := getattr(module, name), type) and not name.startswith("_"):
                yield value


def _is_base(cls: type) -> bool:
    lacking = sorted(getattr(cls, "__abstractmethods__", ()))
    if lacking and getattr(cls, "__final__", False):
        raise ConfigError(f"{full_name(cls)} is final and lacks {', '.join(lacking)}; write what is missing")
    return bool(lacking) or ABC in cls.__bases__


REGISTRY: Final[Mapping[Kind, Mapping[str, type]]] = table_of((rewards, algorithms, limits, stopping, schedules))
"""Every part with a short name."""

_NAMES: Final = {cls: name for table in REGISTRY.values() for name, cls in table.items()}


def name_of(cls: type) -> str:
    """The registry name of a class, or ``pkg.mod:Name``.

    >>> name_of(rewards.KimiLength), name_of(dict)
    ('kimi_length', 'builtins:dict')
    """
    return _NAMES.get(cls) or full_name(cls)
