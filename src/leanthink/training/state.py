"""What a recipe's parts remember, beside a trainer's checkpoint: written with each, read by the step that follows."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from leanthink.algorithms import Advantage
from leanthink.core.control import check_like, check_state, moved
from leanthink.core.errors import ConfigError, DataError, StateError
from leanthink.core.limits import Limit
from leanthink.core.reward import State
from leanthink.files.reading import read_json
from leanthink.files.writing import write_text
from leanthink.recipe.definition import Recipe
from leanthink.recipe.nodes import build
from leanthink.recipe.scoring import advantage_start
from leanthink.training.settings import Settings

logger = logging.getLogger(__name__)

FILE: Final = "leanthink.json"

Other = Literal["limit", "advantage"]
OTHERS: Final[tuple[Other, ...]] = get_args(Other)
"""What may remember beside the reward."""


@dataclass(frozen=True, kw_only=True)
class States:
    """What the parts of a recipe remember; empty for one that is not there or remembers nothing."""

    reward: State = field(default_factory=dict)
    limit: State = field(default_factory=dict)
    advantage: State = field(default_factory=dict)

    @staticmethod
    def start(recipe: Recipe) -> States:
        """Before the first step."""
        limit = {} if recipe.limit is None else recipe.limit.init()
        return States(reward=recipe.reward.init(), limit=limit, advantage=advantage_start(recipe))


def save_states(folder: Path, settings: Settings, states: States, step: int) -> None:
    """Write recipe and states into a checkpoint's folder, whole or not at all."""
    content = {"recipe": settings.recipe, "parts": settings.parts(), "step": step, "state": states.reward}
    for kind in OTHERS:
        if state := getattr(states, kind):
            content[f"{kind}_state"] = state
    write_text(folder / FILE, json.dumps(content, indent=1, allow_nan=False) + "\n")


def load_states(
    folder: Path, settings: Settings, recipe: Recipe | None = None, after_step: int | None = None
) -> States:
    """The states in a checkpoint; ``after_step`` is the step that it has to be of, where that is known.

    They may have been edited by hand, and are checked. Where the reward changed since, or another part that remembers,
    the run is refused, unless ``leanthink.changed_recipe`` is "migrate": then each part goes on with what was saved
    under its name, and the log tells which did, which start afresh and what is dropped. A limit or an advantage that
    remembers nothing may change freely.

    Raises:
        StateError: the checkpoint has no state, a malformed one, or one of another recipe or step.
    """
    content = _read(folder, settings.earlier_checkpoint)
    path, saved, migrates = folder / FILE, content["parts"], settings.changed_recipe == "migrate"
    if after_step is not None and content["step"] != after_step:
        raise StateError(
            f"{path}: step is {content['step']!r}, but the run goes on after step {after_step}: the file is another "
            "checkpoint's; put the right one back, or resume from an earlier checkpoint"
        )
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
    return States(reward=state, **{kind: _state_of(kind, content, settings, recipe, path) for kind in OTHERS})


def saved_step(folder: Path, settings: Settings) -> int:
    """The step after which the states in a checkpoint were saved.

    Raises:
        StateError: the checkpoint has no state, or a malformed one.
    """
    step = _read(folder, settings.earlier_checkpoint)["step"]
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise StateError(
            f"{folder / FILE}: step is {step!r}; give a whole number, or resume from an earlier checkpoint"
        )
    return step


def _state_of(kind: Other, content: dict[str, Any], settings: Settings, recipe: Recipe, path: Path) -> State:
    """What the recipe's limit, or advantage, goes on with; empty where it remembers nothing."""
    saved, now = content["parts"].get(kind), getattr(settings, kind)
    part, key = _memory(getattr(recipe, kind)), f"{kind}_state"
    before, place = part if saved == now else None, f"{path}, {key}"
    if saved != now and saved is not None:
        try:
            before = _memory(build(saved, kind, f"{path}, parts.{kind}"))
        except ConfigError:
            if key in content:  # what remembered nothing need not be there any more
                raise
    state = {} if before is None else _checked(before, content.get(key, {}), place)
    if saved == now or (part is None and before is None):
        return state
    if settings.changed_recipe != "migrate":
        raise StateError(
            f"{path}: the {kind} was {saved}, now it is {now}, and "
            f"{'what it remembers would be lost' if before is not None else 'that would begin without a memory'}; keep "
            f"the {kind}, or set leanthink.changed_recipe=migrate: the same kind of {kind} goes on with its state, "
            "another starts afresh"
        )
    fresh: State = {} if part is None else part.init()
    if part is None or type(before) is not type(part) or state.keys() != fresh.keys():
        _tell([f"{kind}: what {saved} remembered is dropped"] if before is not None else [])
        _tell([f"{kind} {now} starts afresh"] if part is not None else [])
        return fresh
    _tell([f"{kind} {now} goes on with what {saved} remembered"])
    return _checked(part, state, place)


def _checked(part: Limit | Advantage, state: Any, place: str) -> State:
    """A state that the part can go on from, or an error; one that is missing lacks its entries."""
    check_like(state, part.init(), place)
    if (wrong := part.wrong_state(state)) is not None:
        raise StateError(f"{place}: {wrong}, or resume from an earlier checkpoint")
    checked: State = state
    return checked


def _memory(part: Any) -> Limit | Advantage | None:
    """The part itself where it remembers something."""
    return part if isinstance(part, Limit | Advantage) and part.reads_state else None


def _tell(lines: list[str]) -> None:
    for line in lines:
        logger.warning("changed recipe: %s", line)


def _read(folder: Path, earlier: str) -> dict[str, Any]:
    path = folder / FILE
    try:
        content: dict[str, Any] = read_json(path)
    except FileNotFoundError:
        raise StateError(
            f"checkpoint {folder} has no reward state ({FILE}): it was saved without leanthink, or the run died while "
            f"saving it; {earlier}"
        ) from None
    except DataError as error:
        raise StateError(f"{error}; put it right there, or resume from an earlier checkpoint") from error
    for key in ("recipe", "parts", "step", "state"):
        if not isinstance(content, dict) or key not in content:
            raise StateError(f"{path}: {key!r} is missing; put it back, or resume from an earlier checkpoint")
    parts = content["parts"]
    if not isinstance(parts, dict) or "reward" not in parts:
        raise StateError(
            f"{path}: parts is {parts!r:.80}; give the nodes of the recipe's parts, {{'reward': ...}} at least, or "
            "resume from an earlier checkpoint"
        )
    return content
