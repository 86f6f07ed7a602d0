"""TRL's ``GRPOTrainer`` with a recipe in place of reward functions."""

from __future__ import annotations

from leanthink.core.errors import DependencyError

try:
    from trl import GRPOTrainer
except ImportError as error:
    raise DependencyError("TRL is not installed; install it with `pip install 'leanthink[trl]'`") from error

from leanthink.trl.mixin import LeanthinkMixin


class LeanthinkGRPOTrainer(LeanthinkMixin, GRPOTrainer):  # type: ignore[misc]  # trl is untyped
    """``LeanthinkGRPOTrainer(model, recipe="trle", args=config("trle"), train_dataset=data)``.

    The data have the columns ``prompt`` (a text or messages) and a gold answer; see `leanthink.trl.rows`.
    """
