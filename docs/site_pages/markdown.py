"""Markdown in the small: tables, links from one page to another, names as code."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import Recipe
from leanthink.recipe.keys import FAMILIES
from leanthink.recipe.registry import Kind

Recipes = Sequence[Recipe]
Write = Callable[[Recipes, str], str]
"""From all recipes and a page's path (from the root) to what stands between two of its markers."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [header, ["---"] * len(header), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(names: Sequence[str]) -> str:
    """Names as code, with commas between them."""
    return ", ".join(f"`{name}`" for name in names)


def link(page: str, target: str, anchor: str = "") -> str:
    """The address of a file (from the root) as seen from a page.

    >>> link("docs/howto/trl.md", "recipes/trle.yaml")
    '../../recipes/trle.yaml'
    """
    path = posixpath.relpath(target, posixpath.dirname(page) or ".")
    return f"{path}#{anchor}" if anchor else path


def family_page(family: str) -> str:
    """The page of a family's recipes.

    >>> family_page("modes, exits, content")
    'docs/reference/recipes/modes_exits_content.md'
    """
    return f"docs/reference/recipes/{family.replace(',', '').replace(' ', '_')}.md"


def recipe_link(recipe: Recipe, page: str, *, to_file: bool = False) -> str:
    """A recipe's name, linked to its section, or to its file."""
    target = f"recipes/{recipe.name}.yaml" if to_file else family_page(recipe.family)
    return f"[`{recipe.name}`]({link(page, target, '' if to_file else recipe.name)})"


def paper(recipe: Recipe) -> str:
    """A recipe's paper, linked."""
    number = recipe.reference["paper"].removeprefix("arXiv:")
    return f"[arXiv {number}](https://arxiv.org/abs/{number})"


def by_family(recipes: Recipes, row: Callable[[Recipe], Sequence[str]]) -> list[Sequence[str]]:
    """A row for each recipe, below one that names its family.

    Raises:
        ConfigError: a recipe of no family.
    """
    for recipe in recipes:
        check_family(recipe)
    rows: list[Sequence[str]] = []
    for family in FAMILIES:
        members = [row(recipe) for recipe in recipes if recipe.family == family]
        if members:
            rows += [[f"**{family}**", *[""] * (len(members[0]) - 1)], *members]
    return rows


def check_family(recipe: Recipe) -> None:
    """Raises where the tables have no place for a recipe."""
    if recipe.family not in FAMILIES:
        raise ConfigError(
            f"recipe {recipe.name}, family: {recipe.family!r} is none; give one of {', '.join(FAMILIES)}, or add "
            "yours to FAMILIES in leanthink.recipe.keys"
        )


PART_PAGES = {
    "advantage": "advantages",
    "loss": "losses",
    "limit": "limits_stops_schedules",
    "stop": "limits_stops_schedules",
    "schedule": "limits_stops_schedules",
}


def part_anchor(kind: Kind, name: str) -> str:
    """Where a part stands on its page: kinds share names, as the advantage and the loss ``gpg`` do."""
    return f"{kind}-{name}"
