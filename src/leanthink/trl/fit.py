"""What of a recipe TRL can do: the one place that says what is refused, and what is otherwise than under verl.

`docs/howto/trl.md` prints the table of it, `leanthink show RECIPE --trainer trl` the lines of one recipe, and the
trainer refuses by it when it is made. Imports no TRL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from leanthink.algorithms import Advantage, Drpo, PpoClip, TokenAdvantage, VerlAdvantage
from leanthink.core.errors import ConfigError
from leanthink.core.limits import PerStep, Thinking
from leanthink.core.measured import PromptReward
from leanthink.recipe.definition import Recipe
from leanthink.recipe.registry import name_of
from leanthink.training.sampling import sampling_kinds

ACTOR: Final = "actor_rollout_ref.actor"
ROLLOUT: Final = "actor_rollout_ref.rollout"
FILTER: Final = "algorithm.filter_groups.enable"
LOW_VARIANCE: Final = frozenset({"low_var_kl", "k3"})
"""verl's names of the one estimate of the KL that TRL has."""

SERVED: Final = "leanthink.verl."
"""How the path of a function begins that asks a model which verl serves."""

AS_IT_IS: Final = "as it is"
WITH_NOTES: Final = "with the note"
ON_VERL: Final = "on verl only"


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a recipe fits TRL.

    Attributes:
        recipe: its name.
        lost: what of the method TRL cannot do; the recipe is refused where there is any.
        notes: what is otherwise than under verl, without changing the method.
    """

    recipe: str
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``as it is``, ``with the note``, or ``on verl only``."""
        return ON_VERL if self.lost else WITH_NOTES if self.notes else AS_IT_IS

    def check(self) -> None:
        """Refuse what TRL cannot do.

        Raises:
            ConfigError: naming all of it, and the cure.
        """
        if self.lost:
            raise ConfigError(
                f"recipe {self.recipe} under TRL would lose {'; and '.join(self.lost)}. Train it with verl: "
                f"leanthink train {self.recipe}"
            )


def fit_of(recipe: Recipe, keys: Mapping[str, Any] | None = None) -> Fit:
    """How a recipe fits TRL.

    Args:
        recipe: what to train by.
        keys: verl's keys as the run will have them; None for the recipe's own.

    >>> from leanthink.recipe.definition import load_recipe
    >>> fit_of(load_recipe("kimi")).verdict, fit_of(load_recipe("vsrm_ppo")).verdict
    ('as it is', 'on verl only')
    """
    keys = recipe.verl if keys is None else keys
    return Fit(recipe=recipe.name, lost=tuple(_lost(recipe, keys)), notes=tuple(_notes(recipe, keys)))


def _lost(recipe: Recipe, keys: Mapping[str, Any]) -> Iterator[str]:
    for kind, _ in sampling_kinds(recipe):
        parts = (recipe.stop, recipe.limit, *recipe.reward.walk())
        part = next(part for part in parts if isinstance(part, kind))
        yield f"the way its responses are sampled ({name_of(type(part))}), for which TRL has no agent loop of ours"
    if recipe.agent is not None:
        yield f"its tools (agent: {recipe.agent}), because leanthink counts one turn under TRL"
    advantage, loss = recipe.advantage, recipe.loss
    if isinstance(advantage, VerlAdvantage) and advantage.reads_critic:
        yield f"its critic (advantage {name_of(type(advantage))}), and TRL's GRPOTrainer trains none"
    elif not isinstance(advantage, Advantage | TokenAdvantage):
        yield f"its advantage, {name_of(type(advantage))}, which verl itself computes"
    if not isinstance(loss, PpoClip | Drpo):
        yield f"its loss, {name_of(type(loss))}, which changes verl's own"
    if recipe.limit is not None and not isinstance(recipe.limit, PerStep | Thinking):
        yield f"its limit per prompt ({name_of(type(recipe.limit))}); TRL has one limit for all"
    if keys.get(FILTER):
        yield (
            f"dynamic sampling ({FILTER}), which TRL has not: groups without a signal would not be replaced "
            f"({FILTER}=false drops it on purpose)"
        )
    for part in recipe.reward.walk():
        if isinstance(part, PromptReward) and str(getattr(part, "scorer", "")).startswith(SERVED):
            yield f"the model that {name_of(type(part))} asks, which verl serves (give a scorer of your own)"


def _notes(recipe: Recipe, keys: Mapping[str, Any]) -> Iterator[str]:
    loss = recipe.loss
    if keys.get("algorithm.use_kl_in_reward"):
        coefficient = keys.get("algorithm.kl_ctrl.kl_coef", 0.001)
        yield f"its KL penalty of {coefficient:g} stands in the loss (beta), not in the reward"
    if isinstance(loss, Drpo):
        yield (
            "in its advantage form: wrong responses weigh the same among themselves, as for tau to infinity, and PPO's "
            "clip of 0.2 stands for the penalty on the KL to the old policy"
        )
        return
    if keys.get(f"{ACTOR}.use_kl_loss"):
        kind = str(keys.get(f"{ACTOR}.kl_loss_type", "low_var_kl"))
        if kind.rstrip("+") not in LOW_VARIANCE:
            yield f"its KL to the reference is low_var_kl, the only one that TRL has, not {kind}"
