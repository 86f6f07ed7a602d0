"""From a sweep file to runs: recipes and variants × every combination of a grid × seeds."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from leanthink.core.errors import ConfigError, LeanthinkError, did_you_mean
from leanthink.core.text import as_label
from leanthink.recipe.keys import check_key
from leanthink.recipe.yaml import read_yaml
from leanthink.runs.floor import Floor
from leanthink.runs.identity import key_of

KEYS: Final = (
    *("recipes", "variants", "grid", "set", "seeds", "steps", "profile"),
    *("testbed", "engine", "model", "train_files", "val_files", "nodes", "gpus", "stop"),
)
VARIANT_KEYS: Final = ("recipe", "set", "grid")
STOP_KEYS: Final = ("below", "evaluations", "every")
FLAGS: Final = {"profile": str, "testbed": str, "engine": str, "model": str, "steps": int, "nodes": int, "gpus": int}
FILES: Final = {"train_files": "--train-file", "val_files": "--val-file"}
MOST: Final = 10_000
"""The most runs of a sweep: each is checked, and has a folder of its own."""
ASKED: Final = 100
"""The most changes of a run that are left out in turn to find the one that is wrong."""
LONGEST_NAME: Final = 160
"""The most signs of a run's name in that of its folder, for which file systems have 255."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What the arguments of ``leanthink train`` stand for.

    Attributes:
        steps: training steps; None for as many as the epochs hold.
        profile: ``cpu`` or ``gpu``.
        facts: what the run is, as `leanthink.runs.identity` has it.
    """

    steps: int | None
    profile: str
    facts: Mapping[str, Any]


Resolve = Callable[[Sequence[str]], Resolved]
"""From arguments to what they stand for; it raises where one is wrong."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One run of a sweep.

    Attributes:
        variant: what the run is called but for its seed.
        recipe: a recipe's name or path.
        overrides: changes to it, verl's keys included.
        seed: of data order, rollouts and training.
        arguments: all of this as arguments of ``leanthink train``, without ``--out``.
        steps: training steps; None for as many as the epochs hold.
        profile: ``cpu`` or ``gpu``.
        key: a hash of what the run is (`leanthink.runs.identity.key_of`); runs with equal keys would be the same run.
    """

    variant: str
    recipe: str
    overrides: Mapping[str, Any]
    seed: int
    arguments: tuple[str, ...]
    steps: int | None = None
    profile: str = ""
    key: str = ""

    @property
    def name(self) -> str:
        """The run's name for people."""
        return f"{self.variant} seed={self.seed}"

    @property
    def folder(self) -> str:
        """The name of the run's folder: readable, and another one where anything about the run is changed.

        >>> Planned(variant="trle alpha=0.4", recipe="trle", overrides={}, seed=1, arguments=(), key="c0f").folder
        'trle-alpha-0.4-seed-1-c0f'
        """
        readable = re.sub(r"[^A-Za-z0-9._]+", "-", self.name[:LONGEST_NAME])
        return f"{readable.strip('-')}-{self.key}"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a sweep file holds."""

    runs: tuple[Planned, ...]
    file: Path

    @property
    def varied(self) -> tuple[str, ...]:
        """All keys that some run overrides, in the file's order."""
        return tuple(dict.fromkeys(key for run in self.runs for key in run.overrides))


@dataclass(frozen=True, kw_only=True)
class _Arm:
    """A recipe or a named variant, with changes and a grid of its own; each key knows its place in the file."""

    label: str
    recipe: str
    fixed: Mapping[str, Any]
    grid: Mapping[str, Sequence[Any]]
    places: Mapping[str, str]


def load_sweep(file: Path, resolve: Resolve) -> Sweep:
    """The runs of a sweep file, every key of every run checked.

    Raises:
        ConfigError: naming the file, the place in it, the value and the cure; also where two runs would be the same.
    """
    return sweep_from(read_yaml(file), file, resolve)


def sweep_from(node: Any, file: Path, resolve: Resolve) -> Sweep:
    """As `load_sweep`, from the file's content."""
    _mapping(node, str(file), KEYS)
    if not node.get("recipes") and not node.get("variants"):
        raise ConfigError(
            f"{file}: nothing to train; give recipes: [grpo, trle] or variants: {{NAME: {{recipe: trle}}}}"
        )
    common = _common_arguments(node, file)
    grid = _grid(node.get("grid"), f"{file}, grid")
    fixed = _changes(node.get("set"), f"{file}, set")
    seeds = _seeds(node.get("seeds"), f"{file}, seeds")
    arms = list(_arms(node, file))
    count = sum(math.prod(map(len, _axes(arm, grid).values())) for arm in arms) * len(seeds)
    if count > MOST:
        told = f"{count:,}" if count < 10**18 else f"more than {10**18:,}"
        raise ConfigError(
            f"{file} asks for {told} runs: every value of a grid with every other, recipes and variants: "
            f"{len(arms):,}, seeds: {len(seeds):,}; ask for up to {MOST:,}"
        )
    runs: dict[str, Planned] = {}
    for arm in arms:
        places = {**dict.fromkeys(fixed, "set"), **dict.fromkeys(grid, "grid"), **arm.places}
        axes = _axes(arm, grid)
        for values in itertools.product(*axes.values()):
            chosen = dict(zip(axes, values, strict=True))
            overrides = {**fixed, **arm.fixed, **chosen}
            variant = " ".join([arm.label, *_shown({key: chosen[key] for key in chosen if len(axes[key]) > 1})])
            for seed in seeds:
                planned = Planned(
                    variant=variant,
                    recipe=arm.recipe,
                    overrides=overrides,
                    seed=seed,
                    arguments=(
                        _located(arm.recipe, file),
                        *common,
                        "--seed",
                        str(seed),
                        *map(_override, *_columns(overrides)),
                    ),
                )
                planned = _with_key(planned, resolve, file, places)
                if planned.key in runs:
                    raise ConfigError(
                        f"{file}: {as_label(planned.name)!r} would be the same run as "
                        f"{as_label(runs[planned.key].name)!r}; leave one out"
                    )
                runs[planned.key] = planned
    _unique([run.name for run in runs.values()], file)
    return Sweep(runs=tuple(runs.values()), file=file)


def _axes(arm: _Arm, grid: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The grid of an arm: its own, and the common one where the arm says nothing of a key."""
    return {**{key: values for key, values in grid.items() if key not in arm.fixed}, **arm.grid}


def _located(recipe: str, file: Path) -> str:
    """A recipe's name, or the path of its file: beside the sweep file, or else from where the command runs."""
    beside = file.parent / recipe
    return str(beside) if recipe.endswith((".yaml", ".yml")) and beside.exists() else recipe


def _columns(overrides: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    return list(overrides), list(overrides.values())


def _override(key: str, value: Any) -> str:
    """``key=value`` as ``leanthink train`` reads it; JSON is YAML.

    >>> _override("advantage", {"grpo": {"scale": "none"}})
    'advantage={"grpo": {"scale": "none"}}'
    """
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def _with_key(planned: Planned, resolve: Resolve, file: Path, places: Mapping[str, str]) -> Planned:
    """The run with the hash of its content, once everything about it is found right."""
    try:
        resolved = resolve(planned.arguments)
    except LeanthinkError as error:
        asked = itertools.islice(planned.overrides, ASKED)
        guilty = next((key for key in asked if _builds_without(key, planned, resolve)), None)
        place = "" if guilty is None else f", {places[guilty]}, {guilty}"
        raise ConfigError(f"{file}{place} (run {as_label(planned.name)!r}): {error}") from error
    return replace(planned, key=key_of(resolved.facts), steps=resolved.steps, profile=resolved.profile)


def _builds_without(key: str, planned: Planned, resolve: Resolve) -> bool:
    """Whether a run that is wrong would be right without one of its changes."""
    change = _override(key, planned.overrides[key])
    try:
        resolve([argument for argument in planned.arguments if argument != change])
    except LeanthinkError:
        return False
    return True


def _arms(node: Mapping[str, Any], file: Path) -> Iterator[_Arm]:
    recipes = node.get("recipes") or []
    if isinstance(recipes, str):
        raise ConfigError(f"{file}, recipes: {recipes!r:.80} is no list; write [{recipes:.80}]")
    if not isinstance(recipes, Sequence | Mapping):
        raise ConfigError(f"{file}, recipes: {recipes!r:.80}; give a list of recipes, or {{recipe: {{key: [values]}}}}")
    names = [_word(name, f"{file}, recipes", "a recipe's name, or a path ending in .yaml") for name in recipes]
    if twice := _twice(names):
        raise ConfigError(f"{file}, recipes: {twice!r:.80} is given twice; keep one")
    for name in names:
        place = f"recipes, {as_label(name)}"
        axes = _grid(recipes[name] if isinstance(recipes, Mapping) else None, f"{file}, {place}")
        yield _Arm(label=Path(name).stem, recipe=name, fixed={}, grid=axes, places=dict.fromkeys(axes, place))
    variants = {} if node.get("variants") is None else node["variants"]
    if not isinstance(variants, Mapping):
        raise ConfigError(f"{file}, variants: {variants!r:.80}; give {{NAME: {{recipe: R, set: {{key: value}}}}}}")
    for name, variant in variants.items():
        place = f"variants, {as_label(name)}"
        _mapping(variant, f"{file}, {place}", VARIANT_KEYS)
        if variant.get("recipe") is None:
            raise ConfigError(f"{file}, {place}: 'recipe' is missing; give recipe: NAME, or a path ending in .yaml")
        recipe = _word(variant["recipe"], f"{file}, {place}, recipe", "a recipe's name, or a path ending in .yaml")
        fixed = _changes(variant.get("set"), f"{file}, {place}, set")
        axes = _grid(variant.get("grid"), f"{file}, {place}, grid")
        places = {**dict.fromkeys(fixed, f"{place}, set"), **dict.fromkeys(axes, f"{place}, grid")}
        yield _Arm(label=str(name), recipe=recipe, fixed=fixed, grid=axes, places=places)


def _common_arguments(node: Mapping[str, Any], file: Path) -> list[str]:
    """What all runs share, as arguments of ``leanthink train``."""
    arguments = []
    for key, kind in FLAGS.items():
        value = node.get(key)
        if value is None:
            continue
        if not isinstance(value, kind) or isinstance(value, bool):
            wanted = "a whole number" if kind is int else "text"
            raise ConfigError(f"{file}, {key}: {value!r:.80} is not {wanted}; give {wanted}")
        arguments += [f"--{key}", str(value) if kind is int else _word(value, f"{file}, {key}", "a name or a path")]
    if node.get("profile") not in (None, "cpu", "gpu"):
        raise ConfigError(f"{file}, profile: {node['profile']!r:.80} is no profile; give cpu or gpu")
    for key, flag in FILES.items():
        value = node.get(key) or []
        if not isinstance(value, str | list):
            raise ConfigError(f"{file}, {key}: {value!r:.80} is no list of paths; write [data/train.parquet]")
        for path in [value] if isinstance(value, str) else value:
            arguments += [
                flag,
                _word(path, f"{file}, {key}", "a file's path; ./ before a name that begins with -"),
            ]
    stop = node.get("stop")
    if stop is not None:
        _mapping(stop, f"{file}, stop", STOP_KEYS)
        if not isinstance(stop.get("below"), float | int) or isinstance(stop["below"], bool):
            raise ConfigError(f"{file}, stop: 'below' is missing or no number; give the accuracy, as in below: 0.3")
        every, count = stop.get("every", 10), stop.get("evaluations", 2)
        if not all(type(number) is int and number >= 1 for number in (every, count)):
            told = f"every is {every!r:.80}, evaluations {count!r:.80}"
            raise ConfigError(f"{file}, stop: {told}; give whole numbers from 1")
        try:
            floor = Floor(below=float(stop["below"]), evaluations=count)
        except ConfigError as error:
            raise ConfigError(f"{file}, stop, below: {error}") from error
        arguments += ["--stop-below", str(floor.below), "--stop-evaluations", str(count), f"trainer.test_freq={every}"]
    return arguments


def _seeds(value: Any, place: str) -> list[int]:
    seeds = [1] if value is None else value
    if not isinstance(seeds, list) or not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds):
        raise ConfigError(f"{place}: {value!r:.80} is no list of whole numbers; write [1, 2]")
    if not seeds:
        raise ConfigError(f"{place}: the list is empty; give at least one seed")
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"{place}: {value!r:.80} names a seed twice; keep one")
    return seeds


def _grid(value: Any, place: str) -> dict[str, list[Any]]:
    axes = _changes(value, place)
    for key, values in axes.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(
                f"{place}, {key}: {values!r:.80} is no list of values; write [{values!s:.80}] (and [[1, 2]] for one "
                "value that is a list itself)"
            )
        if _twice([json.dumps(item, sort_keys=True, default=str) for item in values]):
            raise ConfigError(f"{place}, {key}: {values!r:.80} holds a value twice; keep one")
    return axes


def _changes(value: Any, place: str) -> dict[str, Any]:
    changes = {} if value is None else value
    if not isinstance(changes, Mapping) or not all(isinstance(key, str) for key in changes):
        raise ConfigError(f"{place}: {value!r:.80} is no mapping; give {{key: value}}, as in trainer.save_freq: 10")
    for key in changes:
        _word(key, place, "a key of the recipe or of verl, as in trainer.save_freq")
        if "=" in key:
            raise ConfigError(f"{place}: the key {key!r:.80} holds a =, at which it would be cut; write {{key: value}}")
        check_key(key, place)
    return dict(changes)


def _word(value: Any, place: str, wanted: str) -> str:
    """A text that stands on a command line for itself, and never for an option of ``leanthink train``.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(value, str) or not value or value.startswith("-") or "\0" in value:
        told = "begins as an option does" if isinstance(value, str) and value.startswith("-") else "is no text"
        raise ConfigError(f"{place}: {value!r:.80} {told}; give {wanted}")
    return value


def _mapping(node: Any, place: str, allowed: Sequence[str]) -> None:
    if not isinstance(node, Mapping):
        raise ConfigError(f"{place}: {node!r:.80} is no mapping; its keys are {', '.join(allowed)}")
    for key in node:
        if key not in allowed:
            raise ConfigError(f"{place}: no key {key!r:.80}; {did_you_mean(key, allowed)}")


def _shown(chosen: Mapping[str, Any]) -> Iterator[str]:
    """``alpha=0.4`` for each choice; as much of the key as tells it from the others.

    >>> list(_shown({"reward.sigmoid_length.alpha": 0.4, "loss.ppo_clip.low": 0.2}))
    ['alpha=0.4', 'low=0.2']
    >>> list(_shown({"reward.sum.a.scale.by": 1, "reward.sum.b.scale.by": 2}))
    ['a.scale.by=1', 'b.scale.by=2']
    """
    for key, value in chosen.items():
        words = key.split(".")
        ends = (".".join(words[-n:]) for n in range(1, len(words) + 1))
        short = next(end for end in ends if sum(f".{other}".endswith(f".{end}") for other in chosen) == 1)
        yield f"{short}={value if isinstance(value, str | int | float) else json.dumps(value, default=str)}"


def _unique(names: Sequence[str], file: Path) -> None:
    if twice := _twice(names):
        raise ConfigError(
            f"{file}: two runs are called {as_label(twice)!r}; give one of them another name under variants"
        )


def _twice(names: Sequence[str]) -> str | None:
    """The first name that comes more than once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)
