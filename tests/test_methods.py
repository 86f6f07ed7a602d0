"""docs/methods.md names every registered part and every recipe, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from leanthink.cli import COMMANDS
from leanthink.recipe.definition import load_recipe, recipe_names
from leanthink.recipe.registry import REGISTRY
from leanthink.recipe.scoring import advantage_start

TEXT = (Path(__file__).parents[1] / "docs" / "methods.md").read_text(encoding="utf-8")
METHODS_HEADER = "| method | paper | recipes | parts | changes | state | cost | use it when | not when |"
BLOCKS_HEADER = "| parts | what for |"
PARTS = {name for table in REGISTRY.values() for name in table}


def table(header: str) -> list[dict[str, str]]:
    """The rows below a header, by column."""
    columns = cells(header)
    lines = TEXT.split(header + "\n", 1)[1].splitlines()[1:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        assert len(cells(line)) == len(columns), f"not {len(columns)} cells: {line}"
        rows.append(dict(zip(columns, cells(line), strict=True)))
    return rows


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


METHODS, BLOCKS = table(METHODS_HEADER), table(BLOCKS_HEADER)


def test_every_part_and_every_recipe_has_a_row_and_every_row_names_what_exists() -> None:
    named_parts = {name for row in [*METHODS, *BLOCKS] for name in names(row["parts"])}
    named_recipes = [name for row in METHODS for name in names(row["recipes"])]
    hint = "add or correct a row of docs/methods.md"
    assert (PARTS - named_parts, named_parts - PARTS) == (set(), set()), hint
    assert sorted(named_recipes) == recipe_names(), hint


def test_rows_are_full_and_in_order() -> None:
    assert [row["method"].lower() for row in METHODS] == sorted(row["method"].lower() for row in METHODS)
    for row in METHODS:
        empty = [column for column in row if not row[column]]
        assert empty in ([], ["recipes", "parts"]), f"{row['method']}: nothing under {empty}"  # a command is enough


@pytest.mark.parametrize("row", METHODS, ids=lambda row: row["method"])
def test_paper_state_and_parts_are_the_recipes(row: dict[str, str]) -> None:
    for name in names(row["recipes"]):
        recipe = load_recipe(name)
        assert recipe.reference["paper"] == f"arXiv:{row['paper']}"
        remembers = recipe.reward.reads_state or bool(recipe.limit is not None and recipe.limit.init())
        remembers = remembers or bool(advantage_start(recipe))
        assert remembers == (row["state"] != "none"), f"{name}: the state is {row['state']}"
    used = {part for name in names(row["recipes"]) for part in parts_of(load_recipe(name).to_node())}
    assert used & set(names(row["parts"])) or not names(row["recipes"])
    if not names(row["recipes"]):
        assert f"leanthink {row['changes'].partition('`leanthink ')[2].partition('`')[0]}".split()[1] in COMMANDS


def parts_of(node: object) -> set[str]:
    """Every word of a recipe's tree that is a registered name."""
    if isinstance(node, dict):
        return {str(key) for key in node if key in PARTS} | {
            part for value in node.values() for part in parts_of(value)
        }
    if isinstance(node, list | tuple):
        return {part for value in node for part in parts_of(value)}
    return {node} if isinstance(node, str) and node in PARTS else set()
