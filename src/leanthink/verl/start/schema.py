"""Whether keys are verl's own, asked of verl's configuration before anything starts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from leanthink.core.errors import ConfigError, did_you_mean
from leanthink.verl.hydra import Reference

MISSING: Final = object()
"""Stands for the value of a key that verl has not."""


def check_keys(keys: Mapping[str, Any]) -> None:
    """Raise where a key is not in verl's configuration, or its value is of another kind.

    Keys that begin with ``+`` are new to verl: one that verl has is refused, for Hydra would refuse it.

    Raises:
        ConfigError: naming the key, the value and the cure.
    """
    for key, value in keys.items():
        if key.startswith("+") and not key.startswith("++") and _has(key[1:]):
            raise ConfigError(f"{key}: verl has this key, and + is for new ones; write {key[1:]}={value!r}")
        if not key.startswith(("+", "~", "hydra.")):
            _check(key, value)


def _check(key: str, value: Any) -> None:
    node: Any = _config()
    words = key.split(".")
    for depth, word in enumerate(words):
        if not isinstance(node, Mapping):
            where = ".".join(words[:depth])
            raise ConfigError(f"{key}: verl's {where} is {node!r:.60} and holds no {word!r}; write {where}={value!r}")
        if word not in node:
            where = ".".join(words[:depth]) or "the top"
            raise ConfigError(
                f"{key}: verl has no {word!r} at {where}; {did_you_mean(word, map(str, node))} (a key that is new to "
                "verl begins with +)"
            )
        node = node[word]
    for kind, name in ((bool, "true or false"), ((int, float), "a number"), (Mapping, "a mapping")):
        if isinstance(node, kind):
            wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
            if wrong and value is not None and not isinstance(value, Reference):
                raise ConfigError(f"{key}: {value!r} is not {name}, which verl has there ({node!r:.60}); give {name}")
            return


def _has(key: str) -> bool:
    return default_of(key) is not MISSING


def default_of(key: str) -> Any:
    """What verl's configuration has under a key, references as they stand; `MISSING` where it has no such key."""
    node: Any = _config()
    for word in key.split("."):
        if not isinstance(node, Mapping) or word not in node:
            return MISSING
        node = node[word]
    return node


@cache
def _config() -> Mapping[str, Any]:
    """verl's whole configuration as it ships, references unresolved."""
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with initialize_config_module("verl.trainer.config", version_base=None):
            config = compose("ppo_trainer")
    plain: Mapping[str, Any] = OmegaConf.to_container(config, resolve=False)
    return plain
