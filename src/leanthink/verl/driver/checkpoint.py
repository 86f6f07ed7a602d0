"""Saves what a recipe's parts remember with each of verl's checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from verl.trainer.ppo.checkpoint_callback import CheckpointCallback


class SaveRewardState(CheckpointCallback):  # type: ignore[misc]  # verl is untyped
    """Named by ``trainer.checkpoint_callback_class``."""

    def on_save(self, trainer: Any, global_step: int, checkpoint_dir: str, **_: Any) -> None:
        """Write the states after ``global_step`` into its checkpoint.

        Raises:
            StateError: no run could go on from the reward's, which is told now, not at the resume.
        """
        trainer.replay_buffer.shaper.save(Path(checkpoint_dir), global_step)
