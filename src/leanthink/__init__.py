"""leanthink: reward modules and algorithms that make reasoning models think no longer than they need.

What an author of a reward or a program needs is here, and imported when it is first asked for: ``import leanthink``
itself costs nothing. Rewards and advantages lie by name in ``leanthink.rewards`` and ``leanthink.algorithms``.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from leanthink.algorithms import Advantage, Loss, TokenAdvantage, as_tensors
    from leanthink.core import groups, schedules
    from leanthink.core.batch import RolloutBatch
    from leanthink.core.control import BudgetReward, StatefulComposite
    from leanthink.core.errors import (
        AdviceWarning,
        BatchError,
        ConfigError,
        DataError,
        DependencyError,
        LeanthinkError,
        MissingColumnError,
        StateError,
    )
    from leanthink.core.limits import Limit
    from leanthink.core.measured import PromptReward, TextReward, TokenReward
    from leanthink.core.placement import Placement
    from leanthink.core.reward import (
        Breakdown,
        Composite,
        Part,
        PlacedReward,
        Reward,
        RewardN,
        Scope,
        State,
        StatefulReward,
    )
    from leanthink.core.schedules import Number, Schedule, at, bounds
    from leanthink.recipe.definition import Recipe, load_recipe, recipe_from, recipe_names
    from leanthink.recipe.nodes import build, describe
    from leanthink.recipe.scoring import ScoredStep, score_step
    from leanthink.replay.batches import TextBatch, batch_from_texts
    from leanthink.training.filtering import kept_groups
    from leanthink.verify import Judgement, Verdict, Verifier, VerifierError, extract_answer

__all__ = [
    "Advantage",
    "AdviceWarning",
    "BatchError",
    "Breakdown",
    "BudgetReward",
    "Composite",
    "ConfigError",
    "DataError",
    "DependencyError",
    "Judgement",
    "LeanthinkError",
    "Limit",
    "Loss",
    "MissingColumnError",
    "Number",
    "Part",
    "PlacedReward",
    "Placement",
    "PromptReward",
    "Recipe",
    "Reward",
    "RewardN",
    "RolloutBatch",
    "Schedule",
    "Scope",
    "ScoredStep",
    "State",
    "StateError",
    "StatefulComposite",
    "StatefulReward",
    "TextBatch",
    "TextReward",
    "TokenAdvantage",
    "TokenReward",
    "Verdict",
    "Verifier",
    "VerifierError",
    "as_tensors",
    "at",
    "batch_from_texts",
    "bounds",
    "build",
    "describe",
    "extract_answer",
    "groups",
    "kept_groups",
    "load_recipe",
    "recipe_from",
    "recipe_names",
    "schedules",
    "score_step",
]
__version__ = "0.2.0"

_HOMES: Final = {
    "algorithms": "Advantage Loss TokenAdvantage as_tensors",
    "core.batch": "RolloutBatch",
    "core.control": "BudgetReward StatefulComposite",
    "core.errors": "AdviceWarning BatchError ConfigError DataError DependencyError LeanthinkError MissingColumnError "
    "StateError",
    "core.limits": "Limit",
    "core.measured": "PromptReward TextReward TokenReward",
    "core.placement": "Placement",
    "core.reward": "Breakdown Composite Part PlacedReward Reward RewardN Scope State StatefulReward",
    "core.schedules": "Number Schedule at bounds",
    "recipe.definition": "Recipe load_recipe recipe_from recipe_names",
    "recipe.nodes": "build describe",
    "recipe.scoring": "ScoredStep score_step",
    "replay.batches": "TextBatch batch_from_texts",
    "training.filtering": "kept_groups",
    "verify": "Judgement Verdict Verifier VerifierError extract_answer",
}
_HOME: Final = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name in ("groups", "schedules"):
        value: Any = importlib.import_module(f"leanthink.core.{name}")
    elif name in _HOME:
        value = getattr(importlib.import_module(f"leanthink.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module 'leanthink' has no attribute {name!r}")
    globals()[name] = value  # so that it is not asked for again
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
