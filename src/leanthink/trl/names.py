"""Which of TRL's inner names the trainer stands on, and whether the installed TRL still has them so."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Final

from leanthink.core.errors import DependencyError
from leanthink.core.installed import version_of

VERSIONS: Final = ">=1.16,<2"
"""The versions of TRL that `leanthink[trl]` installs; 1.16 is the one that is tested."""

METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "_calculate_rewards": ("inputs", "prompts", "completions", "completion_ids_list"),
    "_generate": ("prompts",),
    "_generate_and_score_completions": ("inputs",),
    "_load_optimizer_and_scheduler": ("checkpoint",),
    "_save_checkpoint": ("model", "trial"),
    "log": ("logs", "start_time"),
}
"""What is overridden, with the arguments it takes beside ``self``."""


def check_names(trainer: type) -> None:
    """Refuse a trainer whose inner names are not those that were overridden.

    Args:
        trainer: the class that the mixin stands before, such as TRL's ``GRPOTrainer``.

    Raises:
        DependencyError: naming the method, what it takes, what is expected, and the versions that fit.
    """
    for name, wanted in METHODS.items():
        method = getattr(trainer, name, None)
        taken = None if method is None else _arguments(method)
        if taken != wanted and (taken is None or "*" not in taken):
            told = "is not there" if taken is None else f"takes ({', '.join(taken)})"
            raise DependencyError(
                f"{trainer.__module__}.{trainer.__qualname__}.{name} {told}, but leanthink fits one that takes "
                f"({', '.join(wanted)}), as TRL 1.16 has it; TRL is {version_of('trl') or 'not installed'}: "
                f"install it with `pip install 'trl{VERSIONS}'`, or 'trl==1.16.0'"
            )


def _arguments(method: object) -> tuple[str, ...]:
    """The names of a method's arguments; ``*`` for any, as where somebody has put a function around it."""
    assert callable(method)
    parameters = inspect.signature(method).parameters.values()
    return tuple(
        "*" if one.kind is one.VAR_POSITIONAL else one.name
        for one in parameters
        if one.name != "self" and one.kind is not one.VAR_KEYWORD
    )
