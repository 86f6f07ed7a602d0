"""What the test files of methods declare, collected for the tests that hold for every method and every recipe.

A source file has one test file: ``rewards/kimi_length.py`` has ``tests/rewards/test_kimi_length.py``. At its top stand,
each only where there is something to say:

- ``EXAMPLES``: every registered class of its source file, at settings that make it bite;
- ``COLUMNS``: how to draw a column that examples or recipes read; one file says it for all;
- ``RECIPES``: the recipes that are about its source file, spelled out from their papers;
- ``WRONG_MAY_BEAT_CORRECT``, ``NOT_CENTRED``: classes that, by their papers, do not keep that promise.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from leanthink.algorithms import AnyAdvantage, Loss
from leanthink.core.errors import did_you_mean
from leanthink.core.limits import Limit
from leanthink.core.reward import Reward
from leanthink.core.stopping import StopBias
from leanthink.recipe.definition import load_recipe, recipe_names
from leanthink.recipe.registry import REGISTRY, name_of

TESTS = Path(__file__).parents[1]
ROOMS = ("rewards", "algorithms", "core")
REGISTERED = {name: cls for table in REGISTRY.values() for name, cls in table.items()}


@dataclass(frozen=True, kw_only=True)
class SpelledOut:
    """A recipe as its paper states it: the parts that its YAML has to build, and verl's keys that it has to keep.

    ``verl`` holds what the paper or its released code states, and is empty where they state nothing.
    """

    reward: Reward
    advantage: AnyAdvantage
    loss: Loss
    limit: Limit | None = None
    stop: StopBias | None = None
    verl: Mapping[str, Any]


@dataclass(kw_only=True)
class Collected:
    """The declarations of all files; examples by registered name."""

    examples: dict[str, list[Any]] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)
    recipes: dict[str, SpelledOut] = field(default_factory=dict)
    wrong_may_beat_correct: tuple[type, ...] = ()
    not_centred: tuple[type, ...] = ()


@cache
def collected(tests: Path = TESTS) -> Collected:
    """The declarations below a folder of tests.

    Raises:
        ValueError: an example in another file than its class's, one of a class that is not registered, a recipe without
            YAML, or one or a column that two files declare; naming the files.
    """
    found = Collected()
    said_in: dict[tuple[str, str], str] = {}
    for path in sorted(path for room in ROOMS for path in (tests / room).glob("test_*.py")):
        file = f"tests/{path.parent.name}/{path.name}"
        said = vars(_imported(path, file))
        for example in said.get("EXAMPLES", ()):
            found.examples.setdefault(_name_of(type(example), file), []).append(example)
        for kind, into in (("COLUMNS", found.columns), ("RECIPES", found.recipes)):
            for name, value in said.get(kind, {}).items():
                if name in into:
                    raise ValueError(f"{said_in[kind, name]} and {file} both declare {name!r} under {kind}; keep one")
                into[name], said_in[kind, name] = value, file
        found.wrong_may_beat_correct += tuple(said.get("WRONG_MAY_BEAT_CORRECT", ()))
        found.not_centred += tuple(said.get("NOT_CENTRED", ()))
    for name in sorted(found.recipes.keys() - set(recipe_names())):
        cure = f"write recipes/{name}.yaml, or correct the name; {did_you_mean(name, recipe_names())}"
        raise ValueError(f"{said_in['RECIPES', name]} spells out {name!r} under RECIPES, which is no recipe; {cure}")
    return found


def file_of(cls: type) -> str:
    """The test file of a class: that of its source file.

    >>> file_of(REGISTERED["kimi_length"])
    'tests/rewards/test_kimi_length.py'
    """
    _, room, source = cls.__module__.split(".")
    return f"tests/{room}/test_{source}.py"


def lacking_examples(found: Collected) -> list[str]:
    """A sentence for every registered name that no file has an example of."""
    lacking = sorted(REGISTERED.keys() - found.examples.keys())
    return [f"no example of {name}; add one to EXAMPLES in {file_of(REGISTERED[name])}" for name in lacking]


def lacking_recipes(found: Collected) -> list[str]:
    """A sentence for every recipe that no file spells out."""
    lacking = sorted(set(recipe_names()) - found.recipes.keys())
    return [f"recipe {name} is not spelled out; add it to RECIPES in {_files_of_recipe(name)}" for name in lacking]


def _imported(path: Path, file: str) -> ModuleType:
    """A second copy of a test file, under a name of its own, so that pytest imports its own as ever."""
    name = ".".join(("collected_from", *path.with_suffix("").parts[1:]))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, f"{file} is no Python file"
    sys.modules[name] = module = importlib.util.module_from_spec(spec)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _name_of(cls: type, file: str) -> str:
    """The registered name of an example's class, whose file this has to be."""
    name = name_of(cls)
    if name not in REGISTERED:
        raise ValueError(f"{file} has an example of {cls.__name__}, which is not registered; register it, or drop it")
    if file != file_of(cls):
        raise ValueError(f"{file} has an example of {cls.__name__}; move it to EXAMPLES in {file_of(cls)}")
    return name


def _files_of_recipe(name: str) -> str:
    """Where a recipe may be spelled out: the test files of its parts."""
    recipe = load_recipe(name)
    parts = [*recipe.reward.walk(), recipe.advantage, recipe.loss, recipe.limit, recipe.stop]
    return " or ".join(sorted({file_of(type(part)) for part in parts if type(part) in REGISTERED.values()}))
