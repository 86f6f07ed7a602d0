"""The table of evidence: what of each recipe was checked or run, from tests and from `benchmarks/evidence.yaml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from leanthink.core.errors import DataError, did_you_mean
from leanthink.recipe.definition import Recipe, recipe_names
from leanthink.recipe.registry import REGISTRY
from leanthink.recipe.yaml import read_yaml
from leanthink.trl.fit import ON_VERL, fit_of
from site_pages.facts import own_parts
from site_pages.markdown import Recipes, by_family, code, recipe_link, table

ROOT: Final = Path(__file__).parents[2]
RECORDS: Final = ROOT / "benchmarks" / "evidence.yaml"
COLUMNS: Final = {
    "cpu": "CPU engine",
    "vllm": "vLLM server",
    "gpu": "GPU",
    "nodes": "several nodes",
}
"""The columns that come of records, and their heads."""
FACTS: Final = ("steps", "leanthink", "verl", "engine", "how")
"""What a record says; all but ``how`` are needed."""
WORKED: Final = re.compile(r"^def test_\w*(?:worked|paper)\w*\(", re.MULTILINE)
"""What a test is called that holds a part against a worked example."""


@cache
def records(path: Path = RECORDS) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """The records, by recipe and column.

    Raises:
        DataError: a recipe, a column or a fact that is none.
    """
    found = read_yaml(path) or {}
    known = recipe_names()
    for recipe, columns in found.items():
        if recipe not in known:
            raise DataError(f"{path}: no recipe {recipe!r}; {did_you_mean(recipe, known)}")
        for column, facts in columns.items():
            if column not in COLUMNS:
                raise DataError(f"{path}, {recipe}: no column {column!r}; {did_you_mean(column, COLUMNS)}")
            if not set(FACTS[:4]) <= set(facts) <= set(FACTS):
                raise DataError(f"{path}, {recipe}, {column}: {', '.join(facts)}; give {', '.join(FACTS)}")
    return found


def told(facts: Mapping[str, Any] | None) -> str:
    """A record as a cell; empty where there is none."""
    if not facts:
        return ""
    how = f", {facts['how']}" if "how" in facts else ""
    return f"{facts['steps']} steps{how}; leanthink {facts['leanthink']}, verl {facts['verl']}, {facts['engine']}"


def worked(recipe: Recipe) -> list[str]:
    """The recipe's own parts whose test file holds them against a worked example."""
    return [name for name, kind in own_parts(recipe).items() if _has_worked_example(REGISTRY[kind][name])]


@cache
def _has_worked_example(cls: type) -> bool:
    _, room, *inner = cls.__module__.split(".")
    path = ROOT / "tests" / room / f"test_{inner[-1]}.py"
    return path.is_file() and WORKED.search(path.read_text(encoding="utf-8")) is not None


def under_trl(recipe: Recipe) -> str:
    """What the tests under TRL do with a recipe."""
    return "" if fit_of(recipe).verdict == ON_VERL else "2 steps, and the numbers of verl to 1e-6"


def of_recipe(recipe: Recipe) -> str:
    """All evidence for a recipe, in a cell."""
    found = [f"worked examples of {code(worked(recipe))}"] if worked(recipe) else []
    if trl := under_trl(recipe):
        found.append(f"TRL: {trl}")
    own = records().get(recipe.name, {})
    found += [f"{head}: {told(own[column])}" for column, head in COLUMNS.items() if column in own]
    missing = [head for column, head in COLUMNS.items() if column not in own]
    return ". ".join([*found, f"No record of: {', '.join(missing)}" if missing else ""]).rstrip(". ") + "."


def evidence(recipes: Recipes, page: str) -> str:
    """The table: a recipe a row."""

    def row(recipe: Recipe) -> list[str]:
        own = records().get(recipe.name, {})
        return [
            recipe_link(recipe, page),
            code(worked(recipe)),
            under_trl(recipe),
            *(told(own.get(column)) for column in COLUMNS),
        ]

    return table(["recipe", "worked examples of", "TRL", *COLUMNS.values()], by_family(recipes, row))
