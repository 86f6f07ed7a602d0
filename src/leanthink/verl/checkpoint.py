"""The state of reward and limit beside verl's checkpoint: written after each save, read by the step that follows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from verl.trainer.ppo.checkpoint_callback import CheckpointCallback

from leanthink.errors import StateError
from leanthink.module import State
from leanthink.verl.settings import Settings

FILE: Final = "leanthink.json"


class SaveRewardState(CheckpointCallback):  # type: ignore[misc]  # verl is untyped
    """Named by ``trainer.checkpoint_callback_class``."""

    def on_save(self, trainer: Any, global_step: int, checkpoint_dir: str, **_: Any) -> None:
        """Write the state after ``global_step`` into its checkpoint."""
        shaper = trainer.replay_buffer.shaper
        save_state(Path(checkpoint_dir), shaper.settings, shaper.state, global_step, shaper.limit_state)


def save_state(folder: Path, settings: Settings, state: State, step: int, limit_state: State | None = None) -> None:
    """Write recipe and state into a checkpoint, whole or not at all."""
    content = {"recipe": settings.recipe, "parts": settings.parts(), "step": step, "state": state}
    if limit_state:
        content["limit_state"] = limit_state
    part = folder / f".{FILE}.part"
    with part.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / FILE)


def load_state(folder: Path, settings: Settings) -> State:
    """The reward state in a checkpoint.

    Raises:
        StateError: the checkpoint has none, or was saved by another recipe.
    """
    content = _read(folder)
    if content["parts"]["reward"] != settings.reward:
        raise StateError(
            f"checkpoint {folder} belongs to recipe {content['recipe']}, this run trains {settings.recipe} with "
            "another reward; give the run its own folder, or train the recipe of the checkpoint"
        )
    state: State = content["state"]
    return state


def load_limit_state(folder: Path, settings: Settings) -> State | None:
    """What the recipe's limit remembers in a checkpoint; None where it was saved under another limit.

    A run may well go on under another limit, as the next round of a shrinking one does; that one starts afresh.
    """
    content = _read(folder)
    state: State | None = content.get("limit_state")
    return state if content["parts"].get("limit") == settings.limit else None


def _read(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StateError(
            f"checkpoint {folder} has no reward state ({FILE}): it was saved without leanthink, or the run died while "
            "saving it; resume from an earlier one with trainer.resume_mode=resume_path "
            "trainer.resume_from_path=.../global_step_K"
        ) from None
    except ValueError as error:
        raise StateError(f"{path} is no JSON ({error}); resume from an earlier checkpoint") from error
    return content
