"""The state of reward and limit beside verl's checkpoint: written after each save, read by the step that follows."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, Final

from verl.trainer.ppo.checkpoint_callback import CheckpointCallback

from leanthink.config import build
from leanthink.control import check_like, check_state, moved
from leanthink.errors import StateError
from leanthink.limits import Limit
from leanthink.module import State
from leanthink.recipe import Recipe
from leanthink.verl.settings import Settings

logger = logging.getLogger(__name__)

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


def load_states(folder: Path, settings: Settings, recipe: Recipe | None = None) -> tuple[State, State]:
    """The states of reward and limit in a checkpoint.

    They may have been edited by hand, and are checked. Where reward or limit changed since, the run is refused, unless
    ``leanthink.changed_recipe`` is "migrate": then each part goes on with what was saved under its name, and the log
    tells which did, which start afresh and what is dropped. A limit that remembers nothing may change freely.

    Raises:
        StateError: the checkpoint has no state, a malformed one, or one of another recipe.
    """
    content = _read(folder)
    path, saved, migrates = folder / FILE, content["parts"], settings.changed_recipe == "migrate"
    recipe = settings.build() if recipe is None else recipe
    state: State = content["state"]
    if saved["reward"] != settings.reward:
        if not migrates:
            raise StateError(
                f"checkpoint {folder} belongs to recipe {content['recipe']}, this run trains {settings.recipe} with "
                "another reward; give the run its own folder, train the recipe of the checkpoint, or let each part go "
                "on with the state saved under its name: leanthink.changed_recipe=migrate"
            )
        before = build(saved["reward"], "reward", f"{path}, parts.reward")
        check_state(before, state, f"{path}, state")
        state, told = moved(recipe.reward, before, state)
        _tell(told)
    check_state(recipe.reward, state, f"{path}, state")
    return state, _limit_state(content, settings, recipe.limit, path)


def _limit_state(content: dict[str, Any], settings: Settings, limit: Limit | None, path: Path) -> State:
    """What the recipe's limit goes on with; empty where it remembers nothing."""
    saved = content["parts"].get("limit")
    before = None if saved is None else build(saved, "limit", f"{path}, parts.limit")
    fresh: State = {} if limit is None else limit.init()
    state: State = content.get("limit_state", fresh)
    if saved != settings.limit:
        if (limit is None or not limit.reads_state) and (before is None or not before.reads_state):
            return fresh
        if settings.changed_recipe != "migrate":
            raise StateError(
                f"{path}: the limit was {saved}, now it is {settings.limit}, and what it remembers would be lost; keep "
                "the limit, or set leanthink.changed_recipe=migrate: the same kind of limit goes on with its state, "
                "another starts afresh"
            )
        if type(before) is not type(limit) or state.keys() != fresh.keys():
            _tell([f"limit {settings.limit} starts afresh: what {saved} remembered is dropped"])
            return fresh
        _tell([f"limit {settings.limit} goes on with what {saved} remembered"])
    if limit is not None:
        check_like(state, fresh, f"{path}, limit_state")
        if (wrong := limit.wrong_state(state)) is not None:
            raise StateError(f"{path}, limit_state: {wrong}, or resume from an earlier checkpoint")
    return state


def _tell(lines: list[str]) -> None:
    for line in lines:
        logger.warning("changed recipe: %s", line)


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
        raise StateError(
            f"{path} is no JSON ({error}); put it right there, or resume from an earlier checkpoint"
        ) from error
    for key in ("recipe", "parts", "step", "state"):
        if not isinstance(content, dict) or key not in content:
            raise StateError(f"{path}: {key!r} is missing; put it back, or resume from an earlier checkpoint")
    return content
