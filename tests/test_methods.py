"""The tables of README.md, recipes/README.md and docs/methods.md are those that recipes and parts give."""

from __future__ import annotations

import importlib.util
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from leanthink.cli import COMMANDS
from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe, recipe_names
from leanthink.recipe.keys import PROSE
from leanthink.recipe.registry import REGISTRY
from leanthink.recipe.scoring import advantage_start

ROOT = Path(__file__).parents[1]
PARTS = {name for table in REGISTRY.values() for name in table}
LEAST, MOST = 5, 900
"""How many characters a paragraph of a shipped recipe has."""
MAP = "| recipe | paper | parts | changes | state | cost | use when | not when | the paper's result |"
BLOCKS = "| kind | part | what it is |"


def loaded() -> ModuleType:
    """docs/build.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD = loaded()


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A copy of the written pages, to change."""
    for page in BUILD.PAGES:
        (tmp_path / page).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / page, tmp_path / page)
    return tmp_path


def change(page: Path, old: str, new: str) -> None:
    text = page.read_text(encoding="utf-8")
    assert old in text
    page.write_text(text.replace(old, new, 1), encoding="utf-8")


def rows(header: str) -> list[list[str]]:
    """The rows of a table of docs/methods.md below its header, those that name a family left out."""
    lines = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8").split(f"{header}\n", 1)[1].splitlines()[1:]
    found = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[: lines.index("")]]
    return [[cell.strip() for cell in row] for row in found if not row[0].strip().startswith("**")]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_pages_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert BUILD.main(["--check"]) == 0, capsys.readouterr().err


def test_a_changed_table_is_stale_until_it_is_written_anew(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {page: (pages / page).read_text(encoding="utf-8") for page in BUILD.PAGES}
    assert BUILD.main(["--check"], pages) == 0
    change(pages / "docs/methods.md", "Tokens matter.", "Tokens do not matter.")
    change(pages / "README.md", "| [`trle`]", "| [`trlee`]")
    changed = (pages / "README.md").read_text(encoding="utf-8")
    assert BUILD.main(["--check"], pages) == 1
    assert capsys.readouterr().err == "stale: README.md, docs/methods.md; run `make docs` and commit what it writes\n"
    assert (pages / "README.md").read_text(encoding="utf-8") == changed  # a check writes nothing
    assert BUILD.main([], pages) == 0
    assert {page: (pages / page).read_text(encoding="utf-8") for page in BUILD.PAGES} == before


def test_what_is_written_by_hand_is_nobody_elses(pages: Path) -> None:
    change(pages / "docs/methods.md", "# Methods\n", "# All methods\n")
    change(pages / "docs/methods.md", "## Building blocks\n", "## Blocks\n")
    assert BUILD.main(["--check"], pages) == 0


@pytest.mark.parametrize("marker", ["<!-- make docs: methods -->", "<!-- end of building blocks -->"])
def test_a_page_without_its_marker_is_refused(pages: Path, marker: str) -> None:
    change(pages / "docs/methods.md", marker, "")
    with pytest.raises(ConfigError, match=rf"docs/methods\.md: no table to write; give .*{marker}"):
        BUILD.main([], pages)


def test_a_recipe_of_no_family_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"recipe my_recipe, family: 'mine' is none; give one of baseline, .* or add"):
        BUILD.overview([replace(load_recipe("trle"), name="my_recipe", family="mine")])


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_says_all_there_is_to_say(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.family in BUILD.FAMILIES
    for key in PROSE:
        text = getattr(recipe, key)
        assert LEAST <= len(text) <= MOST, f"{name}, {key}: {len(text)} characters; say it in {LEAST} to {MOST}"
        assert "  " not in text, f"{name}, {key}: several blanks in a row; write one paragraph"
        assert key == "family" or text.endswith("."), f"{name}, {key}: write sentences"


def test_every_recipe_has_its_row_with_its_paper_and_its_state() -> None:
    table = {names(row[0])[0]: row for row in rows(MAP)}
    assert sorted(table) == recipe_names()
    for name, row in table.items():
        recipe = load_recipe(name)
        assert f"arXiv:{row[1].partition(' ')[2].partition(']')[0]}" == recipe.reference["paper"]
        remembers = recipe.reward.reads_state or bool(recipe.limit is not None and recipe.limit.init())
        remembers = remembers or bool(advantage_start(recipe))
        assert remembers == (row[4] != "none"), f"{name}: the state is {row[4]}"
        assert all(row), f"{name}: an empty cell"


def test_every_part_is_a_recipes_or_a_building_block() -> None:
    of_recipes = {part for name in recipe_names() for part in BUILD.parts_used(load_recipe(name))}
    blocks = {names(row[1])[0] for row in rows(BLOCKS)}
    assert of_recipes | blocks == PARTS and not of_recipes & blocks
    assert all(row[2].endswith(".") for row in rows(BLOCKS))


DERIVED = [
    ("grpo", [], ["correct", "grpo", "ppo_clip"], []),
    ("kimi", ["reward"], ["sum", "correct", "scale", "kimi_length", "stairs", "grpo", "ppo_clip"], []),
    ("drpo", ["loss"], ["correct", "grpo", "drpo"], []),
    ("thinkprune", ["limit"], ["correct", "grpo", "ppo_clip", "per_step", "stairs"], []),
    ("gfpo_adaptive", ["advantage"], ["correct", "adaptive_top_k", "grpo", "ppo_clip"], ["adaptive_top_k"]),
    ("palu", ["reward", "limit"], ["quantile_budget", "grpo", "ppo_clip", "from_reward"], ["quantile_budget"]),
    ("s_grpo", ["reward", "rollout"], ["early_exit", "grpo", "ppo_clip"], []),
]


@pytest.mark.parametrize(("name", "changes", "parts", "state"), DERIVED, ids=[row[0] for row in DERIVED])
def test_what_a_recipe_changes_is_made_of_and_remembers(
    name: str, changes: list[str], parts: list[str], state: list[str]
) -> None:
    recipe = load_recipe(name)
    assert (BUILD.changes(recipe), BUILD.parts_used(recipe), BUILD.remembering(recipe)) == (changes, parts, state)


def test_a_stop_a_limit_and_a_wrapper_of_a_recipe_of_ones_own_are_seen() -> None:
    recipe = load_recipe(
        "grpo",
        [
            "reward={sum: {a: correct, b: {collapse_guard: {of: history_length}}}}",
            "stop={stop_bias: {bias: 2.0}}",
            "limit={per_pass_rate: {thresholds: [0.5], lengths: [40, 20]}}",
        ],
    )
    assert BUILD.changes(recipe) == ["reward", "limit", "stop", "rollout"]
    assert BUILD.remembering(recipe) == ["collapse_guard", "history_length", "per_pass_rate"]


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert BUILD.table(["a"], [["x | y"]]).splitlines()[-1] == r"| x \| y |"


def test_the_commands_for_methods_without_a_recipe_exist() -> None:
    text = (
        (ROOT / "docs" / "methods.md").read_text(encoding="utf-8").split("## Without a recipe\n")[1].split("\n## ")[0]
    )
    commands = [name.split()[1] for name in names(text) if name.startswith("leanthink ")]
    assert commands and set(commands) <= set(COMMANDS)
