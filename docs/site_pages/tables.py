"""The tables of recipes and parts on README.md, recipes/README.md and the pages of the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import Recipe
from leanthink.recipe.keys import RESTS_ON
from leanthink.recipe.parts import parts
from leanthink.trl.fit import fit_of
from site_pages.facts import changes, parts_used, remembering
from site_pages.markdown import Recipes, by_family, code, paper, recipe_link, table
from site_pages.parts import part_link


def rests_on(recipe: Recipe) -> str:
    """What a recipe rests on.

    Raises:
        ConfigError: none of the words for it.
    """
    if recipe.rests_on not in RESTS_ON:
        raise ConfigError(f"recipe {recipe.name}, rests_on: {recipe.rests_on!r}; give one of {', '.join(RESTS_ON)}")
    return recipe.rests_on


def overview(recipes: Recipes, page: str) -> str:
    """The table of README.md: recipe, method, paper, what it rests on."""

    def row(recipe: Recipe) -> Sequence[str]:
        return [recipe_link(recipe, page, to_file=True), recipe.description, paper(recipe), rests_on(recipe)]

    return table(["recipe", "method", "paper", "rests on"], by_family(recipes, row))


def kept_and_differs(recipes: Recipes, page: str) -> str:
    """The table of recipes/README.md: what of each paper is kept, and what differs."""

    def row(recipe: Recipe) -> Sequence[str]:
        source = f"*{recipe.reference['title']}*, {paper(recipe)}: {recipe.reference['where']}"
        return [recipe_link(recipe, page, to_file=True), source, rests_on(recipe), recipe.kept, recipe.differs]

    return table(["recipe", "paper, section", "rests on", "kept", "differs"], by_family(recipes, row))


def what_it_rests_on(recipes: Recipes, page: str) -> str:
    """What the words of the column mean, and how many recipes each is said of."""
    counts = [sum(rests_on(recipe) == word for recipe in recipes) for word in RESTS_ON]
    rows = [[word, text, str(count)] for (word, text), count in zip(RESTS_ON.items(), counts, strict=True)]
    return table(["rests on", "which means", "recipes"], rows)


def methods(recipes: Recipes, page: str) -> str:
    """The map: which recipe to take when."""

    def row(recipe: Recipe) -> Sequence[str]:
        return [
            recipe_link(recipe, page),
            ", ".join(changes(recipe)) or "nothing",
            code(remembering(recipe)) or "none",
            recipe.cost,
            recipe.use_when,
            recipe.not_when,
        ]

    return table(["recipe", "changes", "state", "cost", "use when", "not when"], by_family(recipes, row))


def building_blocks(recipes: Recipes, page: str) -> str:
    """The registered parts that no recipe uses."""
    used = {name for recipe in recipes for name in parts_used(recipe)}
    unused = [part for part in parts() if part.name not in used]
    return table(["kind", "part", "what it is"], [[one.kind, part_link(one, page), one.summary] for one in unused])


def under_trl(recipes: Recipes, page: str) -> str:
    """What of each recipe TRL can do."""

    def row(recipe: Recipe) -> Sequence[str]:
        fit = fit_of(recipe)
        return [recipe_link(recipe, page), fit.verdict, "; ".join(fit.lost or fit.notes)]

    return table(["recipe", "under TRL", "the note, or what would be lost"], by_family(recipes, row))
