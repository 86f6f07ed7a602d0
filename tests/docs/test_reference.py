"""The written reference names all that there is: metrics, options, warnings, keys; what migration pages map exists."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator

import pytest
import torch

from collected import collected
from leanthink.core.errors import LeanthinkError
from leanthink.recipe.advice import RULES
from leanthink.recipe.definition import load_recipe, recipe_names
from leanthink.recipe.keys import KEYS, PARTS
from leanthink.recipe.scoring import score_step
from leanthink.testing import _measured_columns, random_batch
from leanthink.verl.settings import Settings
from pages import ROOT, WRITTEN

if str(ROOT / "docs") not in sys.path:
    sys.path.insert(0, str(ROOT / "docs"))
from site_pages import front

METRICS = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")


def expanded(name: str) -> Iterator[str]:
    """The names that one with alternatives in braces stands for."""
    if found := re.search(r"\{([^{}]*)\}", name):
        for one in found[1].split(","):
            yield from expanded(name[: found.start()] + one + name[found.end() :])
    else:
        yield name


def patterns() -> list[re.Pattern[str]]:
    """What the first cells of the page's tables stand for: words in capitals, and ``...``, are anything."""
    cells = [line.split(" | ")[0] for line in METRICS.splitlines() if line.startswith("| `")]
    named = [one for cell in cells for code in re.findall(r"`([^`]+)`", cell) for one in expanded(code)]
    found = []
    for name in named:
        pattern = re.escape(name).replace(r"\.\.\./", "(.*/)?").replace(r"\.\.\.", ".*")
        found.append(re.compile(re.sub(r"[A-Z]{3,}", ".*", pattern)))
    return found


@pytest.mark.parametrize("name", recipe_names())
def test_every_metric_of_a_step_is_on_the_page(name: str) -> None:
    recipe, drawn = load_recipe(name), collected().columns
    columns = {column: drawn[column] for column in recipe.reward.requires if column in drawn}
    columns |= _measured_columns(recipe.reward, columns)
    batch = random_batch(torch.Generator().manual_seed(1), step=3, columns=columns)
    known = patterns()
    for metric in score_step(recipe, batch).metrics:
        assert any(one.fullmatch(metric) for one in known), f"{metric} is not on the page"


def test_numbers_that_are_quoted_are_those_of_the_results() -> None:
    """What README.md and the guide to methods say of the testbed stands in results.md."""
    results = (ROOT / front.RESULTS).read_text(encoding="utf-8")
    tasks = [front.points(results, head) for head in (front.CHAINS, front.SEARCH)]
    assert [one[0].name for one in tasks] == ["the start"] * 2
    known = {(point.tokens, point.accuracy) for one in tasks for point in one}
    guide = (ROOT / "docs" / "which_method.md").read_text(encoding="utf-8")
    quoted = [(float(one), float(other)) for one, other in re.findall(r"([\d.]+) tokens at ([\d.]+) %", guide)]
    assert len(quoted) >= 12 and set(quoted) <= known
    shown = (ROOT / "README.md").read_text(encoding="utf-8").split("| | accuracy % | tokens |\n")[1].split("\n\n")[0]
    cells = [re.findall(r"([\d.]+) ± [\d.]+", row) for row in shown.splitlines()[1:]]
    assert len(cells) == 3 and {(float(tokens), float(accuracy)) for accuracy, tokens in cells} <= known


def test_every_option_has_its_row() -> None:
    page = (ROOT / "docs" / "reference" / "verl.md").read_text(encoding="utf-8")
    options = {field.name for field in dataclasses.fields(Settings)} - {"recipe", *PARTS}
    assert options <= set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))


def test_every_warning_and_every_key_of_a_recipe_is_told() -> None:
    messages = (ROOT / "docs" / "reference" / "messages.md").read_text(encoding="utf-8")
    codes = re.findall(r"^\| `(\w+)` \|", WRITTEN.sub("", messages), re.MULTILINE)
    assert sorted(codes) == sorted(rule.__name__ for rule in RULES)
    recipe = (ROOT / "docs" / "reference" / "recipe_file.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \| ", recipe.split("## What may stand in it")[1].split("\n## ")[0], re.MULTILINE)
    assert set(KEYS) == {name for row in rows for name in re.findall(r"`(\w+)`", row)}


TERMS = ("adaptive_step_length", "stepwise_gain")
"""The parts whose arguments the page names by ``...`` alone."""
UNKNOWN = re.compile(r"nothing named|no argument|no such|did you mean")


def mapped() -> Iterator[tuple[str, str]]:
    """Section by section of the page on forks: each key or override of ours, with the recipes it is said of."""
    page = (ROOT / "docs" / "tutorials" / "migration_forks.md").read_text(encoding="utf-8")
    for section in page.split("\n## ")[1:]:
        recipes = [name for name in re.findall(r"`(\w+)`", section.partition("\n|")[0]) if name in recipe_names()]
        stem = ""
        for line in section.splitlines():
            cell = line.split(" | ")[-1] if line.startswith("| ") else ""
            for key in (key for code in re.findall(r"`([^`\s]+)`", cell) for key in expanded(code)):
                key = stem + key.removeprefix("...") if key.startswith("...") else key
                path = key.partition("=")[0].split(".")
                if path[0] in PARTS and len(path) > 2:
                    behind = next((at for at, word in enumerate(path) if word in TERMS), len(path))
                    stem = "".join(f"{word}." for word in path[:behind])
                    yield " ".join(recipes), key


def test_forks_arguments_are_found() -> None:
    assert len(set(mapped())) >= 25


@pytest.mark.parametrize(("recipes", "key"), sorted(set(mapped())))
def test_what_a_forks_argument_becomes_is_there(recipes: str, key: str) -> None:
    """A value builds; of a key alone the name is known, whatever number may stand there."""
    name, _, value = key.partition("=")
    refused = []
    for recipe in recipes.split():
        try:
            load_recipe(recipe, [f"{name}={value or 1}"])
        except LeanthinkError as error:
            refused.append(str(error))
    known = [error for error in refused if not UNKNOWN.search(error)] if not value else []
    assert known or len(refused) < len(recipes.split()), "; ".join(refused)
