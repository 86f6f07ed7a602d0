"""The keys of a recipe, and which of a flat list of keys are its own rather than verl's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from leanthink.core.errors import ConfigError

Profile = Literal["cpu", "gpu"]
"""Where a recipe is trained."""
PARTS: Final = ("reward", "advantage", "loss", "limit", "stop")
FAMILIES: Final = (
    "baseline",
    "length penalties",
    "switching",
    "decoupling",
    "stepwise verifiable reward",
    "truncation",
    "adaptive and scheduled budgets",
    "modes, exits, content",
)
"""The families of the shipped recipes, in the order of the tables."""
RESTS_ON: Final[Mapping[str, str]] = {
    "paper and code": "formula and settings were read in the paper, and held against its released code",
    "paper": "formula and settings were read in the paper; no released code was used",
    "code": "formula and settings are the released code's; the paper's own text could not be read, or says less",
    "partly confirmed": "part of the formula, or its constants, is known at second hand or not confirmed",
    "reconstructed": "the formula is ours, after a description in words",
}
"""What a recipe may rest on, from firm to loose, and what that means."""
PROSE: Final = ("family", "rests_on", "kept", "differs", "use_when", "not_when", "cost", "paper_result")
"""What a recipe says of itself in words, a paragraph each."""
AGENT: Final = "agent"
KEYS: Final = ("description", "reference", "wrong_may_beat_correct", "accepts", AGENT, *PARTS, "verl", "cpu", *PROSE)
AGENTS: Final = ("tools",)
"""Who samples a response of more than one turn."""
VERLS_REWARD: Final = ("custom_reward_function", "num_workers", "reward_manager", "reward_model", "sandbox_fusion")
"""What verl itself has under ``reward``."""
LONGEST_KEY: Final = 200
"""The most signs of a key, with the keys that it lies under."""

_TRAINERS: Final = re.compile(r"(?:\+{1,2}|~)?[A-Za-z_][A-Za-z0-9_./:@-]*")
"""A key of a trainer's, as Hydra takes it and a shell leaves it."""


def in_tree(key: str) -> bool:
    """Whether a key is the recipe's, whose reward verl's own keys share a name with."""
    path = key.split(".")
    if key == AGENT:
        return True
    return path[0] in PARTS and not (path[0] == "reward" and len(path) > 1 and path[1] in VERLS_REWARD)


def tree_keys(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that reach into a recipe's tree, not verl's configuration.

    >>> tree_keys({"reward.soft_overlong.limit": 96, "data.max_response_length": 96, "reward.num_workers": 1})
    {'reward.soft_overlong.limit': 96}
    """
    return {key: value for key, value in keys.items() if in_tree(key)}


def check_key(key: str, place: str, *, trainers: bool = False) -> None:
    """Refuse what is no key: too long, or with signs that no key has.

    Keys are printed in commands to be pasted, in comments below them and in errors, and looked up piece by piece.

    Args:
        key: the recipe's, verl's or, behind ``trl.``, TRL's.
        place: where it stands, for the error.
        trainers: whether it is for a trainer alone; the parts of a recipe's tree are named as their author likes.

    Raises:
        ConfigError: naming both, and the cure.
    """
    _check_length(key, place)
    if in_tree(key) and not trainers:
        if not key.isprintable():
            raise ConfigError(f"{place}: the key {key!r:.80} holds a sign that cannot be seen; leave it out")
    elif not _TRAINERS.fullmatch(key):
        raise ConfigError(f"{place}: {key!r:.80} is no key of verl's configuration; write one as data.train_batch_size")


def check_keys_written(keys: Mapping[str, Any], place: str, *, trainers: bool = False) -> None:
    """As `check_key`, of each key of a mapping, and of a trainer's with all that lies below it.

    Raises:
        ConfigError: as `check_key`.
    """
    for key, value in keys.items():
        check_key(key, place, trainers=trainers)
        if trainers or not in_tree(key):
            _check_below(value, key, place)


def check_keys_whole(keys: Mapping[str, Any], place: str) -> None:
    """A trainer's keys are written whole: what looks for ``data.max_response_length`` does not look into ``data``.

    Raises:
        ConfigError: a group of them is given as a mapping.

    >>> check_keys_whole({"data": {"seed": 1}}, "recipe a, verl")
    Traceback (most recent call last):
    ...
    leanthink.core.errors.ConfigError: recipe a, verl: data is a group of keys; write each whole, as 'data.seed: 1'
    """
    for key, value in keys.items():
        if key.isidentifier() and isinstance(value, Mapping) and value:
            path, inner = key, value
            while isinstance(inner, Mapping) and inner:
                first, inner = next(iter(inner.items()))
                path += f".{first}"
            raise ConfigError(f"{place}: {key} is a group of keys; write each whole, as '{path}: {inner!r:.80}'")


def _check_below(node: Any, path: str, place: str) -> None:
    if isinstance(node, Mapping):
        for key, value in node.items():
            below = f"{path}.{key}"
            _check_length(below, place)
            _check_below(value, below, place)
    elif isinstance(node, list | tuple):
        for item in node:
            _check_below(item, path, place)


def _check_length(key: str, place: str) -> None:
    if len(key) > LONGEST_KEY:
        raise ConfigError(f"{place}: the key {key!r:.80}... has {len(key):,} signs; give up to {LONGEST_KEY}")
