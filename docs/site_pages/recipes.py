"""The reference of recipes: a section for each, by family, with its paper, what is kept and differs, and its file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from leanthink.recipe.definition import Recipe
from leanthink.recipe.keys import FAMILIES
from leanthink.trl.fit import fit_of
from site_pages.evidence import of_recipe
from site_pages.facts import changes, own_parts, remembering
from site_pages.markdown import Recipes, Write, code, link, paper, table
from site_pages.parts import name_link
from site_pages.tables import rests_on

ROOT: Final = Path(__file__).parents[2]
PROSE_BEGINS: Final = "\nfamily:"
"""Where a recipe's file goes over from settings to prose."""


def section(recipe: Recipe, page: str) -> Iterator[str]:
    """The section of a recipe."""
    yield f"## {recipe.name}"
    yield ""
    yield f"{recipe.description}."
    yield ""
    yield f"*{recipe.reference['title']}*, {paper(recipe)}: {recipe.reference['where']}."
    yield ""
    fit = fit_of(recipe)
    trl = fit.verdict + (f": {'; '.join(fit.lost or fit.notes)}" if fit.lost or fit.notes else "")
    rows = [
        ["use when", recipe.use_when],
        ["not when", recipe.not_when],
        ["the paper's result", recipe.paper_result],
        ["rests on", rests_on(recipe)],
        ["kept", recipe.kept],
        ["differs", recipe.differs],
        ["parts, with formulas", ", ".join(name_link(kind, name, page) for name, kind in own_parts(recipe).items())],
        ["changes", ", ".join(changes(recipe)) or "nothing"],
        ["remembers", code(remembering(recipe)) or "nothing"],
        ["costs", recipe.cost],
        ["under TRL", trl],
        ["evidence", of_recipe(recipe)],
    ]
    if recipe.wrong_may_beat_correct:
        rows.append(["beware", "by its paper, a wrong response may earn more than a correct one"])
    rows += [["knowingly", f"`{name}`: {reason}"] for name, reason in recipe.accepts.items()]
    yield table([f"[recipes/{recipe.name}.yaml]({link(page, f'recipes/{recipe.name}.yaml')})", ""], rows)
    yield ""
    yield "```yaml"
    yield settings(recipe.name)
    yield "```"
    yield ""


def settings(name: str) -> str:
    """The parts and keys of a recipe's file, as they stand there, comments included."""
    text = (ROOT / "recipes" / f"{name}.yaml").read_text(encoding="utf-8").partition(PROSE_BEGINS)[0]
    lines = text.splitlines()
    first = next(row for row, line in enumerate(lines) if line.startswith("reference:"))
    behind = next(row for row in range(first + 1, len(lines)) if not lines[row].startswith((" ", "\t")))
    return "\n".join(lines[behind:]).strip()


def sections(family: str) -> Write:
    """The writer of a family's page."""

    def write(recipes: Recipes, page: str) -> str:
        lines = [line for recipe in recipes if recipe.family == family for line in section(recipe, page)]
        return "\n".join(lines).rstrip()

    return write


WRITERS: Final = {family: sections(family) for family in FAMILIES}
