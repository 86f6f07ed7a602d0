"""``leanthink list``: recipes and registered parts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from leanthink.core.errors import ConfigError, did_you_mean
from leanthink.recipe.definition import Recipe, load_recipe, recipe_names
from leanthink.recipe.keys import FAMILIES
from leanthink.recipe.parts import KINDS, Part, named, parts
from leanthink.recipe.registry import REGISTRY, Kind

PLURALS: Final[dict[str, Kind]] = {
    **{kind: kind for kind in KINDS},
    **{f"{kind}s": kind for kind in KINDS},
    "losses": "loss",
    "stops": "stop",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"recipes, {', '.join(map(_plural, KINDS))}, or a recipe's or a part's name (default: recipes)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output; by default of all")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print recipes, and parts of the kinds or names that are asked for."""
    recipes, found = _asked(args.names or (["recipes", *KINDS] if args.json else ["recipes"]))
    if args.json:
        content = {"recipes": [_recipe(one) for one in recipes], "parts": [_part(one) for one in found]}
        print(json.dumps(content, indent=1))
        return 0
    for family in sorted({recipe.family for recipe in recipes}, key=_place):
        _print(console, family, ((one.name, _line(one)) for one in recipes if one.family == family))
    for kind in dict.fromkeys(part.kind for part in found):
        _print(console, _plural(kind), ((one.name, one.summary) for one in found if one.kind == kind))
    if not args.names:
        shown = ", ".join(f"`leanthink list {_plural(kind)}`" for kind in KINDS)
        console.print(f"A recipe or a part in full: `leanthink show NAME`. What recipes are made of: {shown}.")
    return 0


def _asked(names: Sequence[str]) -> tuple[list[Recipe], list[Part]]:
    """The recipes and parts that some words mean, each once."""
    known = recipe_names()
    recipes: dict[str, None] = {}
    found: dict[tuple[Kind, str], Part] = {}
    for name in names:
        if name in PLURALS:
            hits = list(parts([PLURALS[name]]))
        else:
            hits = named(name)
            mine = known if name == "recipes" else [name] if name in known else []
            if not hits and not mine:
                words = ["recipes", *map(_plural, KINDS), *known, *(one for kind in KINDS for one in REGISTRY[kind])]
                raise ConfigError(f"nothing is named {name!r}; {_near(name, words)}")
            recipes |= dict.fromkeys(mine)
        found |= {(part.kind, part.name): part for part in hits}
    return [load_recipe(name) for name in recipes], list(found.values())


def _near(name: str, words: Iterable[str]) -> str:
    near = did_you_mean(name, words)
    return near if near.startswith("did") else "give 'recipes', a kind of part, or a name that these list"


def _print(console: Console, title: str, rows: Iterable[tuple[str, str]]) -> None:
    """A title, and under it names with a line each."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    console.print(title, style="bold")
    console.print(Padding(table, (0, 0, 1, 2)))


def _place(family: str) -> tuple[int, str]:
    """Where a family stands; one that is not shipped comes last."""
    return FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), family


def _line(recipe: Recipe) -> str:
    paper = recipe.reference.get("paper", "")
    return f"{recipe.description} ({paper})" if paper else recipe.description


def _plural(kind: Kind) -> str:
    return "losses" if kind == "loss" else f"{kind}s"


def _recipe(recipe: Recipe) -> dict[str, str]:
    return {
        "name": recipe.name,
        "family": recipe.family,
        "paper": recipe.reference.get("paper", ""),
        "where": recipe.reference.get("where", ""),
        "description": recipe.description,
    }


def _part(part: Part) -> dict[str, str]:
    return {
        "kind": part.kind,
        "name": part.name,
        "scope": part.scope,
        "arguments": ", ".join(_signature(part)),
        "description": part.summary,
    }


def _signature(part: Part) -> list[str]:
    return [one.name if one.default is None else f"{one.name}={one.default}" for one in part.arguments]
