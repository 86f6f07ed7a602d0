"""Writes what pages say of recipes, parts, commands and runs: ``make docs``. With ``--check`` it names stale pages.

What stands between two markers of a page is written here, all around them by hand. The words are the recipes' own
(``recipes/*.yaml``), the docstrings of the parts and the help of the command line; what a recipe changes, which parts
it is made of and which of them remember something are read off the objects it builds. ``docs/site_pages`` holds the
writers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

from leanthink.core.errors import ConfigError  # noqa: E402
from leanthink.recipe.definition import load_recipe, recipe_names  # noqa: E402
from leanthink.recipe.keys import FAMILIES  # noqa: E402
from site_pages import commands, errors, evidence, four, front, parts, recipes, tables  # noqa: E402
from site_pages.markdown import Write, family_page  # noqa: E402

PAGES: Final[Mapping[str, Mapping[str, Write]]] = {
    "README.md": {"recipes": tables.overview},
    "recipes/README.md": {"what it rests on": tables.what_it_rests_on, "recipes": tables.kept_and_differs},
    "docs/howto/trl.md": {"recipes under TRL": tables.under_trl},
    "docs/reference/recipes/index.md": {"what it rests on": tables.what_it_rests_on, "methods": tables.methods},
    "docs/reference/parts/index.md": {"building blocks": tables.building_blocks, "parts": parts.index},
    "docs/reference/evidence.md": {"evidence": evidence.evidence},
    "docs/reference/commands.md": {"commands": commands.commands},
    "docs/reference/messages.md": {"errors": errors.errors, "failures": errors.failures},
    "docs/explanation/formulas.md": {"four responses": four.four_responses},
    **{family_page(family): {"recipes of the family": recipes.WRITERS[family]} for family in FAMILIES},
    **{f"docs/reference/parts/{name}.md": {"parts": parts.sections(name)} for name in parts.NAMES},
}
"""Each page with its markers, and what stands between them."""
FILES: Final = {"docs/assets/front.svg": front.picture}
"""Files that are written whole, from a root."""


def stale(root: Path) -> dict[str, str]:
    """The pages below a root that are not as they should be, each with the text it should have.

    Raises:
        ConfigError: a page lacks a marker.
    """
    shipped = [load_recipe(name) for name in recipe_names()]
    found = {}
    for page, blocks in PAGES.items():
        text = before = (root / page).read_text(encoding="utf-8")
        for name, write in blocks.items():
            opening, closing = f"<!-- make docs: {name} -->", f"<!-- end of {name} -->"
            head, opened, rest = text.partition(f"{opening}\n")
            _, closed, tail = rest.partition(f"{closing}\n")
            if not (opened and closed):
                raise ConfigError(f"{page}: no table to write; give {opening!r} and, below it, {closing!r} as lines")
            text = f"{head}{opened}\n{write(shipped, page)}\n\n{closed}{tail}"
        if text != before:
            found[page] = text
    for path, whole in FILES.items():
        text = whole(root)
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text:
            found[path] = text
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
