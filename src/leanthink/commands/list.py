"""``leanthink list``: recipes and registered parts."""

from __future__ import annotations

import argparse
import inspect
import json
from typing import Any

from rich.console import Console
from rich.table import Table

from leanthink.core.reward import Composite, Reward
from leanthink.recipe.definition import load_recipe, recipe_names
from leanthink.recipe.registry import REGISTRY


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the recipes and the registry."""
    content = {"recipes": [_recipe(name) for name in recipe_names()], "parts": _parts()}
    if args.json:
        print(json.dumps(content, indent=1))
        return 0
    recipes = Table("recipe", "paper", "what it does", title="Recipes")
    for recipe in content["recipes"]:
        recipes.add_row(recipe["name"], recipe["paper"], recipe["description"])
    parts = Table("kind", "name", "scope", "arguments", "what it is", title="Parts")
    for part in content["parts"]:
        parts.add_row(part["kind"], part["name"], part["scope"], part["arguments"], part["description"])
    console.print(recipes, parts)
    return 0


def _recipe(name: str) -> dict[str, str]:
    recipe = load_recipe(name)
    return {
        "name": name,
        "paper": recipe.reference.get("paper", ""),
        "where": recipe.reference.get("where", ""),
        "description": recipe.description,
    }


def _parts() -> list[dict[str, str]]:
    return [
        {
            "kind": kind,
            "name": name,
            "scope": _scope(cls),
            "arguments": ", ".join(str(p) for p in inspect.signature(cls).parameters),
            "description": (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " "),
        }
        for kind, table in REGISTRY.items()
        for name, cls in table.items()
    ]


def _scope(cls: type) -> str:
    """The declared scope of a reward; a combinator has that of its parts."""
    if not issubclass(cls, Reward):
        return ""
    if issubclass(cls, Composite):
        return "its parts'"
    declared: Any = inspect.getattr_static(cls, "scope")
    return "response" if isinstance(declared, property) else str(declared.name).lower()
