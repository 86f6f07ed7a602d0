"""The reference of parts: what each is, its formula and source, its arguments, and who uses it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Final

from leanthink.core.reward import Composite
from leanthink.recipe.parts import LOOKS_AT, Part, parts
from leanthink.recipe.registry import REGISTRY, Kind
from site_pages.facts import kinds_used
from site_pages.markdown import PART_PAGES, Recipes, Write, link, part_anchor, recipe_link, table

REWARDS: Final = {
    "rewards_put_together": "made of other rewards",
    "rewards_length": "of the response's length, as a term to add to correctness",
    "rewards_whole": "whole rewards, correctness included",
    "rewards_of_text": "of text, tokens, steps of thinking, modes",
}
"""The pages of rewards, and what stands on each."""
MANY: Final = 12
"""From how many recipes on they are counted instead of named."""
NAMES: Final = (*REWARDS, *dict.fromkeys(PART_PAGES.values()))
"""All pages of parts."""


def page_of(kind: Kind, name: str) -> str:
    """The page that a part stands on."""
    return f"docs/reference/parts/{PART_PAGES.get(kind) or _reward_page(REGISTRY[kind][name])}.md"


def _reward_page(cls: type) -> str:
    bases = {base.__name__ for base in cls.__mro__}
    if bases & {"MeasuredReward", "OpenedReward", "ProbedReward", "PlacedReward", "PieceReward"}:
        return "rewards_of_text"
    if issubclass(cls, Composite):
        return "rewards_put_together"
    declared = inspect.getattr_static(cls, "is_term", False)
    return "rewards_length" if declared is True else "rewards_whole"


def part_link(part: Part, page: str) -> str:
    """A part's name, linked to its section."""
    return name_link(part.kind, part.name, page)


def name_link(kind: Kind, name: str, page: str) -> str:
    """The same, of a part that is only named."""
    return f"[`{name}`]({link(page, page_of(kind, name), part_anchor(kind, name))})"


def section(part: Part, users: str) -> Iterator[str]:
    """The section of a part."""
    cls = REGISTRY[part.kind][part.name]
    yield f"## {part.kind} {part.name}"
    yield ""
    yield f"{part.summary}"
    yield ""
    for paragraph in part.text:
        yield paragraph
        yield ""
    if part.arguments:
        rows = [
            [f"`{one.name}`", one.kind, f"`{one.default}`" if one.default is not None else "must be given", one.text]
            for one in part.arguments
        ]
        yield table(["argument", "takes", "default", "meaning"], rows)
        yield ""
    scope = f"Looks at {LOOKS_AT[part.scope]}; in Python " if part.scope else "In Python "
    home = cls.__module__.removeprefix("leanthink.").split(".")[0]
    where = f"leanthink.{home}" if home in ("rewards", "algorithms") else cls.__module__
    yield f"*{scope}`{where}.{cls.__name__}`; used by {users or 'no recipe'}.*"
    yield ""
    if part.example:
        yield "```pycon"
        yield re.sub(r"\n\n(?=>>>|\Z)", "\n", part.example).rstrip()
        yield "```"
        yield ""


def sections(which: str) -> Write:
    """The writer of a page of parts."""

    def write(recipes: Recipes, page: str) -> str:
        used = {recipe.name: kinds_used(recipe) for recipe in recipes}
        lines: list[str] = []
        for part in parts():
            if page_of(part.kind, part.name) == f"docs/reference/parts/{which}.md":
                users = [one for one in recipes if used[one.name].get(part.name) == part.kind]
                shown = (
                    ", ".join(recipe_link(one, page) for one in users) if len(users) < 12 else f"{len(users)} recipes"
                )
                lines += section(part, shown)
        return "\n".join(lines).rstrip()

    return write


def index(recipes: Recipes, page: str) -> str:
    """All parts by kind, a line each."""
    rows = [[part.kind, part_link(part, page), LOOKS_AT.get(part.scope, ""), part.summary] for part in parts()]
    return table(["kind", "part", "looks at", "what it is"], rows)
