"""What four responses to one prompt earn under each recipe that needs no more than their lengths and verdicts."""

from __future__ import annotations

from typing import Any, Final

from leanthink.core.batch import RolloutBatch
from leanthink.recipe.definition import Recipe
from leanthink.recipe.scoring import score_step
from site_pages.markdown import Recipes, by_family, recipe_link, table

LENGTHS: Final = (600, 1200, 2400, 1000)
CORRECT: Final = (1, 1, 1, 0)
STEP: Final = 100
"""Behind the warm-ups of the recipes that have one."""


def fits(recipe: Recipe) -> bool:
    """Whether a recipe needs nothing but lengths and verdicts, and one prompt and one step show what it does."""
    return not (recipe.reward.requires - set(RolloutBatch.CORE) or recipe.reward.reads_state)


def numbers(values: Any) -> str:
    """Four numbers, as a cell."""
    return ", ".join(f"{value:.3f}".replace("-0.000", "0.000") for value in values.tolist())


def four_responses(recipes: Recipes, page: str) -> str:
    """The table: rewards and advantages, a recipe a row."""
    batch = RolloutBatch.of(group=[0] * 4, length=LENGTHS, correct=CORRECT, step=STEP)

    def row(recipe: Recipe) -> list[str]:
        step = score_step(recipe, batch)
        return [
            recipe_link(recipe, page),
            numbers(step.reward),
            "" if step.advantage is None else numbers(step.advantage),
        ]

    fitting = [recipe for recipe in recipes if fits(recipe)]
    return table(["recipe", "rewards", "advantages"], by_family(fitting, row))
