"""A verl command in somebody's shell script, beside the one that a recipe stands for; the script is never run."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Final

from leanthink.core.errors import ConfigError, DataError
from leanthink.files.shell import Command, Script, Size, Word, read_script
from leanthink.recipe.registry import name_of
from leanthink.recipe.yaml import parse_yaml
from leanthink.verl import NAME
from leanthink.verl.hydra import Reference, literal
from leanthink.verl.start.launch import Job
from leanthink.verl.start.schema import MISSING, default_of

OVERRIDE: Final = re.compile(r"([+~]{0,2})([A-Za-z_][A-Za-z0-9_./@-]*)=(.*)", re.DOTALL)
TOPS: Final = ("actor_rollout_ref.", "algorithm.", "critic.", "data.", "trainer.")
"""Beginnings of keys by which a command of verl's is known."""
PROGRAM: Final = re.compile(r"(?=.*main)[\w./-]+", re.DOTALL)
DEEPEST: Final = 2
"""Commands in quotes, as in ``bash -c "..."``, inside of each other."""
TOLD: Final = 6
"""Names that a notice lists."""

MODEL: Final = "actor_rollout_ref.model.path"
TRAIN, VAL = "data.train_files", "data.val_files"
NODES, GPUS = "trainer.nnodes", "trainer.n_gpus_per_node"
TAKEN: Final = (MODEL, TRAIN, VAL, NODES, GPUS)
"""What the script's run stands on: it is taken over, so that the method alone differs."""
OF_THE_RUN: Final = (
    "trainer.project_name", "trainer.experiment_name", "trainer.default_local_dir", "trainer.rollout_data_dir",
    "trainer.validation_data_dir", "trainer.default_hdfs_dir", "trainer.logger", "hydra.run.dir",
)  # fmt: skip
"""Names and folders, which the run's folder decides."""
JUDGES: Final = ("custom_reward_function.", "reward_model.", "reward.", "sandbox_fusion.")
"""Who judged the responses, in verl's words of several versions."""
CALLS: Final = (
    "leanthink", "reward.", "trainer.use_v1", "trainer.v1.", "trainer.checkpoint_callback_class",
    "actor_rollout_ref.rollout.agent.", "algorithm.leanthink", "ray_kwargs.",
)  # fmt: skip
"""Beginnings of the keys that make verl call leanthink; they say nothing of the method."""


@dataclass(frozen=True, kw_only=True)
class Theirs:
    """A verl command in a script: its line, its program, its keys, and what only a run would tell of their values."""

    line: int
    program: str
    values: Mapping[str, Any]
    unknown: Mapping[str, tuple[str, ...]]
    notices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two commands side by side; values are (theirs, the recipe's).

    Attributes:
        recipe: keys of both, which the recipe's own settings change.
        profile: keys of both, which leanthink's settings for GPUs change.
        added: keys of the recipe's alone that are not at verl's default; beside them that default, or `MISSING`.
        lost: keys of theirs alone that verl has, and that are not at its default.
        judges: keys of theirs about who judges a response.
        foreign: keys of theirs that verl has not.
        same: how many keys have the same value, a default included.
        calls: how many keys make verl call leanthink.
    """

    recipe: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    profile: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    added: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    lost: Mapping[str, Any] = field(default_factory=dict)
    judges: Mapping[str, Any] = field(default_factory=dict)
    foreign: Mapping[str, Any] = field(default_factory=dict)
    same: int = 0
    calls: int = 0


def find_command(text: str, place: str, line: int | None = None) -> Theirs:
    """The verl command in a script.

    Args:
        text: the script.
        place: what to call it in an error.
        line: on which line the command begins; needed where there are several.

    Raises:
        DataError: it holds no such command, or several and ``line`` is none of theirs.
    """
    size = Size()
    script = read_script(text, place, size)
    found = list(_verl_commands(script, place, size, 0))
    lines = ", ".join(str(command.line) for command, _ in found)
    if line is not None:
        found = [one for one in found if one[0].line == line]
    if not found and lines:
        raise DataError(f"{place}: no verl command begins on line {line}; they begin on {lines}")
    if not found:
        raise DataError(
            f"{place} holds no verl command: none of its {len(script.commands)} commands gives keys as "
            "data.train_batch_size=8 to a program; give the script that starts the trainer"
        )
    if len(found) > 1:
        raise DataError(
            f"{place} holds {len(found)} verl commands, on lines {lines}; name one, as in {place}:{lines.split(',')[0]}"
        )
    command, behind = found[0]
    return _theirs(command, behind, script)


def _verl_commands(script: Script, place: str, size: Size, depth: int) -> list[tuple[Command, Command | None]]:
    """verl's commands, those in quotes included, each with the one behind it."""
    found: list[tuple[Command, Command | None]] = []
    for command, next_one in zip_longest(script.commands, script.commands[1:]):
        keys = [match[2] for word in command.words if (match := OVERRIDE.fullmatch(word.text))]
        hits = sum(key.startswith(TOPS) for key in keys)
        if hits and (_program(command.words) or hits > 2):
            found.append((command, next_one))
        for word in command.words if depth < DEEPEST else ():
            if "main" in word.text and any(top in word.text for top in TOPS) and " " in word.text:
                inner = _verl_commands(read_script(word.text, place, size), place, size, depth + 1)
                found += [(Command(line=command.line, words=one.words), after) for one, after in inner]
    return found


def _program(words: Sequence[Word]) -> str:
    """The module or file that a command has Python run; empty without one."""
    for place, word in enumerate(words[:-1]):
        if word.text == "-m" and PROGRAM.fullmatch(words[place + 1].text):
            return words[place + 1].text
    return next((word.text for word in words if word.text.endswith(".py") and PROGRAM.fullmatch(word.text)), "")


def _theirs(command: Command, behind: Command | None, script: Script) -> Theirs:
    values: dict[str, Any] = {}
    unknown: dict[str, tuple[str, ...]] = {}
    notices = []
    for word in command.words:
        if match := OVERRIDE.fullmatch(word.text):
            values[match[2]] = value_of(match[3])
            unknown.pop(match[2], None)
            if word.unknown:
                unknown[match[2]] = word.unknown
        elif word.text.startswith(("--config-name", "--config-path")):
            notices.append(f"{word.text}: a configuration of their own, which is not read; its defaults are not known")
    if behind is not None and behind.words and OVERRIDE.fullmatch(behind.words[0].text):
        notices.append(
            f"line {behind.line}: {behind.words[0].text[:60]} and what follows is no part of the command: a comment or "
            "an empty line ends it above"
        )
    if script.unsure:
        told = [f"{name} (line {line})" for name, line in script.unsure.items()]
        more = f" and {len(told) - TOLD} more" if len(told) > TOLD else ""
        notices.append(
            f"a branch or a loop may set these again; the first value is taken: {', '.join(told[:TOLD])}{more}"
        )
    return Theirs(
        line=command.line, program=_program(command.words), values=values, unknown=unknown, notices=tuple(notices)
    )


def value_of(text: str) -> Any:
    """A value as Hydra would read it, nearly: YAML; text where it is none.

    >>> value_of("1e-6"), value_of("True"), value_of("['console','wandb']"), value_of("${x}: {")
    (1e-06, True, ['console', 'wandb'], '${x}: {')
    """
    try:
        return parse_yaml(text, "a value")
    except ConfigError:
        return text


def compare(theirs: Theirs, job: Job) -> Difference:
    """What the job would change in their command, add to it, or leave out of it."""
    ours = {key.lstrip("+"): value for key, value in job.keys().items()}
    written = {key: value_of(literal(value)) for key, value in ours.items()}
    if ours["algorithm.adv_estimator"] == NAME:
        ours["algorithm.adv_estimator"] = f"{NAME} ({name_of(type(job.recipe.advantage))})"
    own = {
        *job.recipe.verl,
        *(key for key in ours if key.startswith(("actor_rollout_ref.actor.policy_loss", "algorithm."))),
    }
    own |= {key for key in ours if ".actor.clip_ratio" in key or key.endswith(".loss_agg_mode")}
    sides: dict[str, dict[str, Any]] = {
        name: {} for name in ("recipe", "profile", "added", "lost", "judges", "foreign")
    }
    same = 0
    known = importlib.util.find_spec("verl") is not None
    for key, value in theirs.values.items():
        if key in TAKEN or key in OF_THE_RUN or (key.startswith(CALLS) and value == written.get(key)):
            continue
        default = default_of(key) if known else None
        if key.startswith(JUDGES):
            sides["judges"][key] = value
        elif key in ours:
            other = _resolved(ours[key], ours, known)
            if value == written[key] or (key not in theirs.unknown and is_same(value, other)):
                same += 1
            else:
                sides["recipe" if key in own else "profile"][key] = (value, other)
        elif default is MISSING:
            sides["foreign"][key] = value
        elif known and key not in theirs.unknown and is_same(value, _resolved(default, ours, known)):
            same += 1
        else:
            sides["lost"][key] = value
    calls = 0
    for key, value in ours.items():
        if key in theirs.values or key in TAKEN or key in OF_THE_RUN:
            continue
        default = default_of(key) if known else MISSING
        other = _resolved(value, ours, known)
        if key.startswith(CALLS):
            calls += 1
        elif default is not MISSING and is_same(other, _resolved(default, ours, known)):
            same += 1
        else:
            sides["added"][key] = (default, other)
    return Difference(**sides, same=same, calls=calls)


def _resolved(value: Any, ours: Mapping[str, Any], known: bool) -> Any:
    """A reference to another key as that key's value, where it is one."""
    for _ in range(8):
        match = (
            re.fullmatch(r"\$\{(?:oc\.select:)?([A-Za-z0-9_.]+)(?:,([^{}]*))?\}", str(value))
            if isinstance(value, str)
            else None
        )
        if match is None:
            return value
        below = default_of(match[1]) if known else MISSING
        value = ours.get(match[1], match[2] if below is MISSING else below)
    return str(value) if isinstance(value, Reference) else value


def is_same(one: Any, other: Any) -> bool:
    """Whether two values mean the same to verl.

    >>> is_same(1, 1.0), is_same(True, 1), is_same("None", None), is_same("1e-6", 1e-06), is_same("a", "b")
    (True, False, False, True, False)
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) != isinstance(other, str):
        one, other = (value_of(value) if isinstance(value, str) else value for value in (one, other))
    return bool(one == other)
