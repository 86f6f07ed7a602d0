"""Writes the tables of recipes and parts: ``make docs``. With ``--check`` it writes nothing and names the stale pages.

What stands between two markers of a page is written here, all around them by hand. The words are the recipes' own
(``recipes/*.yaml``) and the first sentence of each part's docstring; what a recipe changes, which parts it is made of
and which of them remember something are read off the objects it builds.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from leanthink.algorithms import Advantage
from leanthink.core.control import StatefulComposite, states
from leanthink.core.errors import ConfigError
from leanthink.core.reward import Reward, StatefulReward
from leanthink.recipe.definition import Recipe, load_recipe, recipe_names
from leanthink.recipe.keys import FAMILIES, PARTS
from leanthink.recipe.registry import REGISTRY, kind_of, name_of
from leanthink.trl.fit import fit_of
from leanthink.verl.rollout.loops import loop_of

ROOT: Final = Path(__file__).parents[1]
BASELINE: Final = load_recipe("grpo")
"""What all other recipes are compared with."""
Recipes = Sequence[Recipe]


def changes(recipe: Recipe) -> list[str]:
    """The stages of a step that another part than the baseline's takes, or that only this recipe has."""
    different = [part for part in PARTS if type(getattr(recipe, part)) is not type(getattr(BASELINE, part))]
    return different + (["rollout"] if loop_of(recipe) is not None else [])


def parts_used(recipe: Recipe) -> list[str]:
    """The registered names of all that a recipe is made of, each once, outermost first."""
    found = (name for part in PARTS for name in _names(getattr(recipe, part)))
    return [name for name in dict.fromkeys(found) if ":" not in name]


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _names(item)
    elif kind_of(type(value)) is not None:
        yield name_of(type(value))
        if isinstance(value, Reward):
            yield from _names(value.children())
        if dataclasses.is_dataclass(value):
            yield from _names([getattr(value, field.name) for field in dataclasses.fields(value)])


def remembering(recipe: Recipe) -> list[str]:
    """The names of the parts whose state goes from step to step."""
    rewards = [part for _, part, _ in states(recipe.reward, recipe.reward.init())]
    found: list[Any] = [part for part in rewards if isinstance(part, StatefulReward | StatefulComposite)]
    if recipe.limit is not None and recipe.limit.reads_state:
        found.append(recipe.limit)
    if isinstance(recipe.advantage, Advantage) and recipe.advantage.reads_state:
        found.append(recipe.advantage)
    return [name_of(type(part)) for part in found]


def overview(recipes: Recipes) -> str:
    """The table of README.md: recipe, method, paper."""
    header = ["recipe", "method", "paper"]
    return table(
        header, by_family(recipes, lambda recipe: [link(recipe, "recipes"), recipe.description, paper(recipe)])
    )


def kept_and_differs(recipes: Recipes) -> str:
    """The table of recipes/README.md: what of each paper is kept, and what differs."""

    def row(recipe: Recipe) -> Sequence[str]:
        source = f"*{recipe.reference['title']}*, {paper(recipe)}: {recipe.reference['where']}"
        return [link(recipe, "."), source, recipe.kept, recipe.differs]

    return table(["recipe", "paper, section", "kept", "differs"], by_family(recipes, row))


def methods(recipes: Recipes) -> str:
    """The first table of docs/methods.md: which recipe to take when."""

    def row(recipe: Recipe) -> Sequence[str]:
        own = [name for name in parts_used(recipe) if name not in parts_used(BASELINE)]
        return [
            link(recipe, "../recipes"),
            paper(recipe),
            code(own or parts_used(recipe)),
            ", ".join(changes(recipe)) or "nothing",
            code(remembering(recipe)) or "none",
            recipe.cost,
            recipe.use_when,
            recipe.not_when,
            recipe.paper_result,
        ]

    header = ["recipe", "paper", "parts", "changes", "state", "cost", "use when", "not when", "the paper's result"]
    return table(header, by_family(recipes, row))


def building_blocks(recipes: Recipes) -> str:
    """The second table of docs/methods.md: the registered parts that no recipe uses."""
    used = {name for recipe in recipes for name in parts_used(recipe)}
    unused = [(kind, name, cls) for kind, parts in REGISTRY.items() for name, cls in parts.items() if name not in used]
    return table(
        ["kind", "part", "what it is"], [[kind, f"`{name}`", first_sentence(cls)] for kind, name, cls in unused]
    )


def under_trl(recipes: Recipes) -> str:
    """The table of docs/trl.md: what of each recipe TRL can do."""

    def row(recipe: Recipe) -> Sequence[str]:
        fit = fit_of(recipe)
        told = "; ".join(fit.lost or fit.notes)
        return [link(recipe, "../recipes"), fit.verdict, told]

    return table(["recipe", "under TRL", "the note, or what would be lost"], by_family(recipes, row))


def by_family(recipes: Recipes, row: Callable[[Recipe], Sequence[str]]) -> list[Sequence[str]]:
    """A row for each recipe, below one that names its family.

    Raises:
        ConfigError: a recipe of no family.
    """
    for recipe in recipes:
        if recipe.family not in FAMILIES:
            raise ConfigError(
                f"recipe {recipe.name}, family: {recipe.family!r} is none; give one of {', '.join(FAMILIES)}, or add "
                "yours to FAMILIES in leanthink.recipe.keys"
            )
    rows: list[Sequence[str]] = []
    for family in FAMILIES:
        members = [row(recipe) for recipe in recipes if recipe.family == family]
        if members:
            rows += [[f"**{family}**", *[""] * (len(members[0]) - 1)], *members]
    return rows


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [header, ["---"] * len(header), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def link(recipe: Recipe, folder: str) -> str:
    """A recipe's name, linked to its file; ``folder`` is that of the recipes as seen from the page."""
    return f"[`{recipe.name}`]({folder}/{recipe.name}.yaml)"


def paper(recipe: Recipe) -> str:
    """A recipe's paper, linked."""
    number = recipe.reference["paper"].removeprefix("arXiv:")
    return f"[arXiv {number}](https://arxiv.org/abs/{number})"


def code(names: Sequence[str]) -> str:
    """Names as code, with commas between them."""
    return ", ".join(f"`{name}`" for name in names)


def first_sentence(cls: type) -> str:
    """The first paragraph of a class's docstring, its markup made Markdown's."""
    text = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
    return re.sub(r":\w+:`([^`]+)`", r"`\1`", text).replace("``", "`")


PAGES: Final[Mapping[str, Mapping[str, Callable[[Recipes], str]]]] = {
    "README.md": {"recipes": overview},
    "recipes/README.md": {"recipes": kept_and_differs},
    "docs/trl.md": {"recipes under TRL": under_trl},
    "docs/methods.md": {"methods": methods, "building blocks": building_blocks},
}
"""Each page with its markers, and what stands between them."""


def stale(root: Path) -> dict[str, str]:
    """The pages below a root that are not as they should be, each with the text it should have.

    Raises:
        ConfigError: a page lacks a marker.
    """
    recipes = [load_recipe(name) for name in recipe_names()]
    found = {}
    for page, blocks in PAGES.items():
        text = before = (root / page).read_text(encoding="utf-8")
        for name, write in blocks.items():
            opening, closing = f"<!-- make docs: {name} -->", f"<!-- end of {name} -->"
            head, opened, rest = text.partition(f"{opening}\n")
            _, closed, tail = rest.partition(f"{closing}\n")
            if not (opened and closed):
                raise ConfigError(f"{page}: no table to write; give {opening!r} and, below it, {closing!r} as lines")
            text = f"{head}{opened}\n{write(recipes)}\n\n{closed}{tail}"
        if text != before:
            found[page] = text
    return found


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write the stale pages, or name them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is stale")
    check = parser.parse_args(arguments).check
    pages = stale(root)
    if check and pages:
        print(f"stale: {', '.join(pages)}; run `make docs` and commit what it writes", file=sys.stderr)
        return 1
    for page, text in pages.items():
        (root / page).write_text(text, encoding="utf-8")
        print(f"wrote {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
