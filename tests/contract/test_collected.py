"""What test files declare is collected; what is declared twice, elsewhere or not at all names the file to change."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from collected import REGISTERED, TESTS, collected, file_of, lacking_examples, lacking_recipes
from leanthink.recipe.definition import recipe_names
from leanthink.recipe.registry import REGISTRY
from leanthink.rewards import AdaptiveStepLength, CosineLength, KimiLength

HEAD = "from collected import SpelledOut\nfrom leanthink.algorithms import *\nfrom leanthink.rewards import *\n"
KIMI = 'RECIPES = {"kimi": SpelledOut(reward=KimiLength(), advantage=Grpo(), loss=PpoClip(), verl={"a.b": 1})}\n'


def written(folder: Path, **files: str) -> Path:
    """A folder of tests with these files, named by room and stem."""
    for name, text in files.items():
        room, _, stem = name.partition("_")
        (folder / room).mkdir(exist_ok=True)
        (folder / room / f"test_{stem}.py").write_text(HEAD + text)
    return folder


def test_all_that_a_file_declares_is_found(tmp_path: Path) -> None:
    kimi = f'EXAMPLES = [KimiLength()]\nCOLUMNS = {{"c": len}}\n{KIMI}'
    cosine = "EXAMPLES = [CosineLength(limit=9), CosineLength(limit=8)]\nWRONG_MAY_BEAT_CORRECT = [CosineLength]\n"
    centred = "EXAMPLES = [NoBaseline()]\nNOT_CENTRED = [NoBaseline]\n"
    found = collected(
        written(tmp_path, rewards_kimi_length=kimi, rewards_cosine_length=cosine, algorithms_advantages=centred)
    )
    assert found.examples["kimi_length"] == [KimiLength()]
    assert found.examples["cosine_length"] == [CosineLength(limit=9), CosineLength(limit=8)]
    assert (found.columns, found.wrong_may_beat_correct) == ({"c": len}, (CosineLength,))
    assert (found.recipes["kimi"].verl, [cls.__name__ for cls in found.not_centred]) == ({"a.b": 1}, ["NoBaseline"])


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"rewards_kimi_length": KIMI, "rewards_correct": KIMI},
            "tests/rewards/test_correct.py and tests/rewards/test_kimi_length.py both declare 'kimi' under RECIPES; "
            "keep one",
        ),
        (
            {"rewards_budget": "COLUMNS = {'budget': len}", "algorithms_drpo": "COLUMNS = {'budget': len}"},
            "tests/algorithms/test_drpo.py and tests/rewards/test_budget.py both declare 'budget' under COLUMNS; "
            "keep one",
        ),
        (
            {"rewards_correct": "EXAMPLES = [KimiLength()]"},
            "tests/rewards/test_correct.py has an example of KimiLength; "
            "move it to EXAMPLES in tests/rewards/test_kimi_length.py",
        ),
        (
            {"rewards_correct": "class Mine: ...\nEXAMPLES = [Mine()]"},
            "tests/rewards/test_correct.py has an example of Mine, which is not registered; register it, or drop it",
        ),
        (
            {"rewards_kimi_length": KIMI.replace('"kimi"', '"kimmi"')},
            "tests/rewards/test_kimi_length.py spells out 'kimmi' under RECIPES, which is no recipe; "
            "write recipes/kimmi.yaml, or correct the name; did you mean 'kimi'",
        ),
    ],
    ids=["recipe twice", "column twice", "another's example", "unregistered", "no such recipe"],
)
def test_a_declaration_that_cannot_be_right_names_its_files(tmp_path: Path, files: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError) as caught:
        collected(written(tmp_path, **files))
    assert str(caught.value).startswith(told)


def test_settings_may_not_be_left_out(tmp_path: Path) -> None:
    """A paper that states none is written ``verl={}``."""
    with pytest.raises(TypeError, match="verl"):
        collected(written(tmp_path, rewards_kimi_length=KIMI.replace(', verl={"a.b": 1}', "")))


def test_what_is_lacking_is_told_with_the_file_to_put_it_in() -> None:
    found = collected()
    examples = {name: values for name, values in found.examples.items() if name not in ("adaptive_step_length", "drpo")}
    recipes = {name: stated for name, stated in found.recipes.items() if name != "siri_low"}
    less = dataclasses.replace(found, examples=examples, recipes=recipes)
    assert lacking_examples(less) == [
        "no example of adaptive_step_length; add one to EXAMPLES in tests/rewards/test_step_length.py",
        "no example of drpo; add one to EXAMPLES in tests/algorithms/test_drpo.py",
    ]
    assert lacking_recipes(less) == [
        "recipe siri_low is not spelled out; add it to RECIPES in tests/algorithms/test_advantages.py or "
        "tests/algorithms/test_losses.py or tests/core/test_limits.py or tests/rewards/test_correct.py"
    ]
    assert len(lacking_examples(collected(TESTS / "support"))) == len(REGISTERED)
    assert len(lacking_recipes(collected(TESTS / "support"))) == len(recipe_names())


def test_a_class_has_the_test_file_of_its_source() -> None:
    assert file_of(AdaptiveStepLength) == "tests/rewards/test_step_length.py"
    for table in REGISTRY.values():
        for cls in table.values():
            assert (TESTS.parent / file_of(cls)).is_file()


def test_pytests_own_copy_of_a_test_file_is_left_alone(tmp_path: Path) -> None:
    before = dict(sys.modules)
    collected(written(tmp_path, rewards_correct="from leanthink.rewards import Correct"))
    assert {name: module for name, module in sys.modules.items() if name in before} == before
    assert {name.partition(".")[0] for name in sys.modules.keys() - before} <= {"collected_from"}
