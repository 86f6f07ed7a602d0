"""The same recipes under TRL's ``GRPOTrainer``: whole groups, state that survives a resume, metrics by part.

``LeanthinkGRPOTrainer`` is TRL's trainer with a recipe in place of reward functions; ``LeanthinkMixin`` stands before
any other subclass of it; ``config`` makes a recipe's settings TRL's; ``reward`` is a plain reward function for whoever
can name nothing else; ``fit_of`` says what of a recipe TRL can do. TRL is imported when one of them is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from leanthink.trl.arguments import config
    from leanthink.trl.fit import Fit, fit_of
    from leanthink.trl.function import reward
    from leanthink.trl.mixin import LeanthinkMixin
    from leanthink.trl.rows import dataset
    from leanthink.trl.trainer import LeanthinkGRPOTrainer

__all__ = ["Fit", "LeanthinkGRPOTrainer", "LeanthinkMixin", "config", "dataset", "fit_of", "reward"]

_HOMES: Final = {
    "Fit": "fit",
    "LeanthinkGRPOTrainer": "trainer",
    "LeanthinkMixin": "mixin",
    "config": "arguments",
    "dataset": "rows",
    "fit_of": "fit",
    "reward": "function",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"leanthink.trl.{_HOMES[name]}"), name)
