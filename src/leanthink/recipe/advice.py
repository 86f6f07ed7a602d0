"""Combinations that build and run, but whose parts work against each other: found before training, with the reason.

A rule is a function of the recipe and verl's keys that returns a warning or None; a new one joins ``RULES``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from leanthink.algorithms import Advantage, Grpo
from leanthink.core.batch import RolloutBatch
from leanthink.core.control import BudgetReward
from leanthink.core.errors import AdviceWarning
from leanthink.core.reward import Reward
from leanthink.recipe.definition import Recipe
from leanthink.rewards import CollapseGuard, EarlyExit
from leanthink.rewards.budget import THINKING_LENGTH
from leanthink.rewards.early_exit import EXIT_ORDER

Rule: TypeAlias = Callable[[Recipe, Mapping[str, Any]], str | None]

FILTER: Final = "algorithm.filter_groups"
LENGTHS: Final = tuple(2.0**power for power in range(18))  # up to the longest responses there are
GROUPS: Final = 100  # a reward of the batch may choose a small share of its groups
STEPS: Final = (0, 10_000)  # before and after any warm-up
FILLS: Final = (0.0, 1.0, 2.0)  # of columns: a gate is open at one of them, a response well-formed
LONGER: Final = frozenset({THINKING_LENGTH, EXIT_ORDER})  # columns that are the greater the longer the response


def advice(recipe: Recipe, keys: Mapping[str, Any] | None = None) -> list[str]:
    """What is wrong with a combination although it runs; empty where nothing is.

    Args:
        recipe: the recipe.
        keys: verl's keys; the recipe's own where they are not given.

    >>> from leanthink.recipe.definition import load_recipe
    >>> advice(load_recipe("trle"))
    []
    >>> advice(load_recipe("trle", ["advantage=grpo"]))  # doctest: +ELLIPSIS
    ["recipe trle: the advantage divides by the group's standard deviation, so in a group whose responses are all ..."]
    """
    found = (rule(recipe, recipe.verl if keys is None else keys) for rule in RULES)
    return [f"recipe {recipe.name}: {text}" for text in found if text is not None]


def warn(recipe: Recipe, keys: Mapping[str, Any] | None = None) -> None:
    """Each advice as an :class:`~leanthink.core.errors.AdviceWarning`."""
    for text in advice(recipe, keys):
        warnings.warn(text, AdviceWarning, stacklevel=2)


def depends_on_length(reward: Reward) -> bool:
    """Whether two correct responses of an all-correct group can earn differently for their length alone.

    It is tried out, so that it is true of anyone's reward: on groups of equal responses but for their length, at the
    first and at a late step, a second time with what the reward remembers, with several values in the columns that it
    needs. A reward that cannot be scored like that counts as independent.

    >>> from leanthink.rewards import Correct, SigmoidLength
    >>> depends_on_length(SigmoidLength(alpha=0.1)), depends_on_length(Correct())
    (True, False)
    """
    for fill in FILLS:
        batch, turned = (_all_correct(reward, fill, lengths) for lengths in (LENGTHS, LENGTHS[::-1]))
        try:
            for step in STEPS:
                _, state = reward(batch.replace(step=step))
                value_N, turned_N = (reward(one.replace(step=step), state)[0] for one in (batch, turned))
                if bool(((value_N - turned_N).abs() > 1e-12).any()):
                    return True
        except Exception:  # of any kind: the reward may be anyone's, and the columns are made up
            continue
    return False


def _all_correct(reward: Reward, fill: float, lengths: tuple[float, ...]) -> RolloutBatch:
    """Groups of correct responses of these lengths, with every column that the reward needs."""
    count = len(lengths) * GROUPS
    batch = RolloutBatch.of(
        group=[code for code in range(GROUPS) for _ in lengths], length=lengths * GROUPS, correct=[1] * count
    )
    needed = reward.requires - set(RolloutBatch.CORE)
    return batch.replace(extras={name: batch.length if name in LONGER else [fill] * count for name in needed})


def _divides_by_std(recipe: Recipe) -> bool:
    return isinstance(recipe.advantage, Grpo) and recipe.advantage.scale == "std" and recipe.loss.reads_reward


def _has_exits(reward: Reward) -> bool:
    return any(isinstance(part, EarlyExit) for part in reward.walk())


def std_hides_strength(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """Dividing by the standard deviation cancels any factor of the only thing that differs in a group.

    An outcome within a budget has no strength, and of early exits `std_undoes_decay` tells.
    """
    if isinstance(recipe.reward, BudgetReward) or _has_exits(recipe.reward):
        return None
    if not _divides_by_std(recipe) or not depends_on_length(recipe.reward):
        return None
    return (
        "the advantage divides by the group's standard deviation, so in a group whose responses are all correct the "
        "strength of the length penalty cancels: a small one acts as a large one; where strength should count, take "
        "advantage rloo, or grpo with scale none"
    )


def std_undoes_decay(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """S-GRPO takes the group's mean off and nothing else."""
    if not _divides_by_std(recipe) or not _has_exits(recipe.reward):
        return None
    return (
        "the advantage divides by the group's standard deviation, which undoes in part that each early exit earns a "
        "fixed share of the one before (1, 1/2, 1/4, ...); take grpo with scale none, as S-GRPO does"
    )


def filter_drops_solved(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """Dynamic sampling on correctness leaves no all-correct groups."""
    on_correctness = keys.get(f"{FILTER}.enable") and keys.get(f"{FILTER}.metric", "acc") == "acc"
    if not on_correctness or not depends_on_length(recipe.reward):
        return None
    return (
        f"{FILTER} drops every group whose responses are all correct, the very groups in which the length penalty can "
        f"shorten without a loss; set {FILTER}.enable=false"
    )


def filter_stops_budgets(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """A reward that moves its prompts' budgets has to see every group."""
    part = next((part for part in recipe.reward.walk() if isinstance(part, BudgetReward)), None)
    if part is None or not keys.get(f"{FILTER}.enable"):
        return None
    return (
        f"{FILTER} drops groups before {type(part).__name__} sees them, so that the budgets of their prompts stay as "
        f"they are, solved or not; set {FILTER}.enable=false"
    )


def loss_reads_no_reward(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """A loss that reads raw correctness makes a length penalty in the reward a matter of plots."""
    if recipe.loss.reads_reward or not depends_on_length(recipe.reward):
        return None
    return (
        "the loss reads raw correctness, not the reward, so the length penalty in the reward trains nothing; take "
        "reward correct, or let the loss prefer by the reward (drpo: preference reward)"
    )


def placement_lost(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """An advantage by response knows nothing of the tokens at which a reward fell."""
    if not (recipe.reward.is_placed and isinstance(recipe.advantage, Advantage)):
        return None
    part = next(part for part in recipe.reward.walk() if part.is_placed and not part.children())
    return (
        f"{type(part).__name__} pays single tokens, but the advantage {type(recipe.advantage).__name__} is one number "
        "per response, so only the sum over a response counts; give an advantage by token: gae, outcome_and_steps or "
        "reinforce_pp"
    )


def guard_sees_kept_groups(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """A guard goes by the accuracy of the batch, and dynamic sampling chooses what comes into it."""
    if not keys.get(f"{FILTER}.enable") or not any(isinstance(part, CollapseGuard) for part in recipe.reward.walk()):
        return None
    return (
        f"collapse_guard reads the accuracy of the batch, and {FILTER} leaves its all-wrong groups out, so that a "
        f"collapse hardly shows; set {FILTER}.enable=false"
    )


RULES: Final[tuple[Rule, ...]] = (
    std_hides_strength,
    std_undoes_decay,
    filter_drops_solved,
    filter_stops_budgets,
    loss_reads_no_reward,
    placement_lost,
    guard_sees_kept_groups,
)
