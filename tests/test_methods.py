"""What pages say of recipes, parts, commands and runs is what these are: the writers of `make docs`."""

from __future__ import annotations

import importlib.util
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from leanthink.cli import COMMANDS, parser
from leanthink.core.errors import ConfigError, DataError
from leanthink.recipe.definition import load_recipe, recipe_names
from leanthink.recipe.keys import FAMILIES, PROSE, RESTS_ON
from leanthink.recipe.registry import REGISTRY
from leanthink.recipe.scoring import advantage_start

ROOT = Path(__file__).parents[1]
PARTS = {name for table in REGISTRY.values() for name in table}
LEAST, MOST = 4, 900
"""How many characters a paragraph of a shipped recipe has."""
MAP_PAGE, BLOCKS_PAGE = "docs/reference/recipes/index.md", "docs/reference/parts/index.md"
MAP = "| recipe | changes | state | cost | use when | not when |"
BLOCKS = "| kind | part | what it is |"


def loaded() -> ModuleType:
    """docs/build.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD = loaded()
from site_pages import commands, errors, evidence, facts, four, front, markdown, recipes, tables  # noqa: E402 - beside build.py


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A copy of the written pages, to change."""
    for page in BUILD.PAGES:
        copied(page, tmp_path)
    for page in (*BUILD.FILES, front.RESULTS):
        copied(page, tmp_path)
    return tmp_path


def copied(page: str, root: Path) -> None:
    (root / page).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / page, root / page)


def change(page: Path, old: str, new: str) -> None:
    text = page.read_text(encoding="utf-8")
    assert old in text
    page.write_text(text.replace(old, new, 1), encoding="utf-8")


def rows(page: str, header: str) -> list[list[str]]:
    """The rows of a page's table below its header, those that name a family left out."""
    lines = (ROOT / page).read_text(encoding="utf-8").split(f"{header}\n", 1)[1].splitlines()[1:]
    found = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[: lines.index("")]]
    return [[cell.strip() for cell in row] for row in found if not row[0].strip().startswith("**")]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_pages_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert BUILD.main(["--check"]) == 0, capsys.readouterr().err


def test_a_changed_table_is_stale_until_it_is_written_anew(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {page: (pages / page).read_text(encoding="utf-8") for page in BUILD.PAGES}
    assert BUILD.main(["--check"], pages) == 0
    change(pages / MAP_PAGE, "Tokens matter.", "Tokens do not matter.")
    change(pages / "README.md", "| [`trle`]", "| [`trlee`]")
    changed = (pages / "README.md").read_text(encoding="utf-8")
    assert BUILD.main(["--check"], pages) == 1
    assert capsys.readouterr().err == f"stale: README.md, {MAP_PAGE}; run `make docs` and commit what it writes\n"
    assert (pages / "README.md").read_text(encoding="utf-8") == changed  # a check writes nothing
    assert BUILD.main([], pages) == 0
    assert {page: (pages / page).read_text(encoding="utf-8") for page in BUILD.PAGES} == before


def test_what_is_written_by_hand_is_nobody_elses(pages: Path) -> None:
    change(pages / MAP_PAGE, "# The map of recipes\n", "# All recipes\n")
    change(pages / BLOCKS_PAGE, "## Building blocks\n", "## Blocks\n")
    assert BUILD.main(["--check"], pages) == 0


@pytest.mark.parametrize(
    ("page", "marker"),
    [(MAP_PAGE, "<!-- make docs: methods -->"), (BLOCKS_PAGE, "<!-- end of building blocks -->")],
)
def test_a_page_without_its_marker_is_refused(pages: Path, page: str, marker: str) -> None:
    change(pages / page, marker, "")
    with pytest.raises(ConfigError, match=rf"{re.escape(page)}: no table to write; give .*{marker}"):
        BUILD.main([], pages)


def test_a_recipe_of_no_family_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"recipe my_recipe, family: 'mine' is none; give one of baseline, .* or add"):
        tables.overview([replace(load_recipe("trle"), name="my_recipe", family="mine")], "README.md")


def test_a_recipe_that_rests_on_no_known_word_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"recipe my_recipe, rests_on: 'hope'; give one of paper and code, paper,"):
        tables.overview([replace(load_recipe("trle"), name="my_recipe", rests_on="hope")], "README.md")


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_says_all_there_is_to_say(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.family in FAMILIES and recipe.rests_on in RESTS_ON
    for key in PROSE:
        text = getattr(recipe, key)
        assert LEAST <= len(text) <= MOST, f"{name}, {key}: {len(text)} characters; say it in {LEAST} to {MOST}"
        assert "  " not in text, f"{name}, {key}: several blanks in a row; write one paragraph"
        assert key in ("family", "rests_on") or text.endswith("."), f"{name}, {key}: write sentences"


def test_every_recipe_has_its_row_with_its_state() -> None:
    table = {names(row[0])[0]: row for row in rows(MAP_PAGE, MAP)}
    assert sorted(table) == recipe_names()
    for name, row in table.items():
        recipe = load_recipe(name)
        remembers = recipe.reward.reads_state or bool(recipe.limit is not None and recipe.limit.init())
        remembers = remembers or bool(advantage_start(recipe))
        assert remembers == (row[2] != "none"), f"{name}: the state is {row[2]}"
        assert all(row), f"{name}: an empty cell"


def test_every_part_is_a_recipes_or_a_building_block() -> None:
    of_recipes = {part for name in recipe_names() for part in facts.parts_used(load_recipe(name))}
    blocks = {names(row[1])[0] for row in rows(BLOCKS_PAGE, BLOCKS)}
    assert of_recipes | blocks == PARTS and not of_recipes & blocks
    assert all(row[2].endswith(".") for row in rows(BLOCKS_PAGE, BLOCKS))


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
    assert (facts.changes(recipe), facts.parts_used(recipe), facts.remembering(recipe)) == (changes, parts, state)


def test_a_stop_a_limit_and_a_wrapper_of_a_recipe_of_ones_own_are_seen() -> None:
    recipe = load_recipe(
        "grpo",
        [
            "reward={sum: {a: correct, b: {collapse_guard: {of: history_length}}}}",
            "stop={stop_bias: {bias: 2.0}}",
            "limit={per_pass_rate: {thresholds: [0.5], lengths: [40, 20]}}",
        ],
    )
    assert facts.changes(recipe) == ["reward", "limit", "stop", "rollout"]
    assert facts.remembering(recipe) == ["collapse_guard", "history_length", "per_pass_rate"]


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert markdown.table(["a"], [["x | y"]]).splitlines()[-1] == r"| x \| y |"


def test_the_commands_for_methods_without_a_recipe_exist() -> None:
    text = (ROOT / "docs" / "howto" / "merging.md").read_text(encoding="utf-8").split("## Without a recipe\n")[1]
    named = [name.split()[1] for name in names(text) if name.startswith("leanthink ")]
    assert named and set(named) <= set(COMMANDS)


def test_every_recipe_and_part_has_its_section_where_links_lead() -> None:
    for name in recipe_names():
        page = ROOT / markdown.family_page(load_recipe(name).family)
        assert f"\n## {name}\n" in page.read_text(encoding="utf-8")
    from site_pages.parts import page_of

    for kind, parts in REGISTRY.items():
        for name in parts:
            assert f"\n## {kind} {name}\n" in (ROOT / page_of(kind, name)).read_text(encoding="utf-8")


def test_a_recipes_settings_are_its_files_words_without_prose_and_head() -> None:
    shown = recipes.settings("trle")
    assert shown.startswith("reward: {sigmoid_length: {alpha: 0.1}}") and "# run_rloo_1.5B.sh" in shown
    assert "family" not in shown and "2502.04463" not in shown


def test_every_option_of_the_parser_is_on_the_page() -> None:
    text = commands.commands([], "docs/reference/commands.md")
    (choices,) = (one.choices for one in parser()._actions if hasattr(one, "choices") and isinstance(one.choices, dict))
    for name, sub in choices.items():
        section = text.split(f"## leanthink {name}\n", 1)[1].partition("\n## ")[0]
        for action in sub._actions:
            assert action.dest == "help" or all(word in section for word in action.option_strings), (name, action)


def test_errors_are_those_that_the_sources_raise() -> None:
    text = errors.errors([], "docs/reference/messages.md")
    row = next(line for line in text.splitlines() if line.startswith("| `TrustError`"))
    assert "`ValueError`" in row and "`core`" in row
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines()[2:]]
    assert [one[0] for one in cells if not one[3]] == ["`LeanthinkError`"]  # the base alone is raised nowhere


def test_evidence_is_what_tests_and_records_say(tmp_path: Path) -> None:
    assert "sigmoid_length" in evidence.worked(load_recipe("trle"))
    assert evidence.told({"steps": 2, "leanthink": "0.1.0", "verl": "0.9.1", "engine": "tiny", "how": "x"}) == (
        "2 steps, x; leanthink 0.1.0, verl 0.9.1, tiny"
    )
    assert "No record of: CPU engine" in evidence.of_recipe(replace(load_recipe("trle"), name="none_such"))
    for text, told in (
        ("trlle: {}", "no recipe 'trlle'; did you mean 'trle'"),
        ("trle: {gpus: {}}", "no column 'gpus'; did you mean 'gpu'"),
        ("trle: {gpu: {steps: 3}}", "trle, gpu: steps; give steps, leanthink, verl, engine, how"),
    ):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=re.escape(told)):
            evidence.records(path)


def test_the_points_are_the_start_and_each_method_once() -> None:
    line = "| {} | 2 | {} ± 1 | 0 | {} ± 1 |"
    rows = (("`a`", 50, 10), ("b", 90, 20), ("c", 80, 30), ("b", 91, 21))
    table = [front.CHAINS, "| --- |", *(line.format(*one) for one in rows)]
    text = "The start: 74.7 ± 1.7 % at 41.4 ± 0.7 tokens.\n\n" + "\n".join(table) + "\n\nEnd."
    assert front.points(text, front.CHAINS) == [("the start", 41.4, 74.7), ("a", 10, 50), ("b", 20, 90), ("c", 30, 80)]
    search = (
        f"{front.SEARCH}\n| --- |\n| the start | | 70.9 ± 1 | 27.5 |\n| `a` | 3 | 96 ± 1 | 18.0 ± 0.1 | 2.0 |\n\nEnd."
    )
    assert front.points(search, front.SEARCH) == [("the start", 27.5, 70.9), ("a", 18.0, 96.0)]
    for head in (front.CHAINS, front.SEARCH):
        with pytest.raises(DataError, match="no line 'The start"):
            front.points("# Results", head)


def test_four_responses_are_scored_by_the_recipes_themselves() -> None:
    """TRLE by hand: mean 1,400 and deviation 748.33 over the right ones, alpha 0.1; RLOO over four."""
    shown = four.four_responses([load_recipe("trle")], "docs/explanation/formulas.md").splitlines()[-1]
    assert " 0.974, 0.957, 0.921, 0.000 | 0.349, 0.325, 0.277, -0.951 |" in shown
    kimi = four.four_responses([load_recipe("kimi")], "docs/explanation/formulas.md").splitlines()[-1]
    assert " 1.250, 1.083, 0.750, 0.000 |" in kimi  # weight 0.5 behind the warm-up: 1 + 0.5 lambda
    assert not four.fits(load_recipe("hapo")) and not four.fits(load_recipe("lcpo_exact"))
