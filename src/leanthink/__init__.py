"""leanthink: reward modules and algorithms that make reasoning models think no longer than they need."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leanthink.batch import RolloutBatch
    from leanthink.module import Reward, Scope, StatefulReward, TextReward
    from leanthink.recipe import load_recipe

__version__ = "0.1.0"
__all__ = ["Reward", "RolloutBatch", "Scope", "StatefulReward", "TextReward", "load_recipe"]

_HOMES = {"RolloutBatch": "batch", "load_recipe": "recipe"}  # all else: module


def __getattr__(name: str) -> Any:
    """Imports the public names when they are asked for: the verifier's processes need no torch."""
    if name not in __all__:
        raise AttributeError(f"module 'leanthink' has no attribute {name!r}")
    return getattr(importlib.import_module(f"leanthink.{_HOMES.get(name, 'module')}"), name)
