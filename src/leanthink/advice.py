"""Combinations that build and run, but whose parts work against each other: found before training, with the reason.

A rule is a function of the recipe and verl's keys that returns a warning or None; a new one joins ``RULES``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from leanthink.algorithms import Advantage, Grpo
from leanthink.batch import RolloutBatch
from leanthink.errors import AdviceWarning
from leanthink.groups import group_max, group_min
from leanthink.module import Reward
from leanthink.recipe import Recipe
from leanthink.rewards import CollapseGuard

Rule: TypeAlias = Callable[[Recipe, Mapping[str, Any]], str | None]

FILTER: Final = "algorithm.filter_groups"
LENGTHS: Final = tuple(2.0**power for power in range(18))  # up to the longest responses there are
GROUPS: Final = 100  # a reward of the batch may choose a small share of its groups
STEPS: Final = (0, 10_000)  # before and after any warm-up


def advice(recipe: Recipe, keys: Mapping[str, Any] | None = None) -> list[str]:
    """What is wrong with a combination although it runs; empty where nothing is.

    Args:
        recipe: the recipe.
        keys: verl's keys; the recipe's own where they are not given.

    >>> from leanthink.recipe import load_recipe
    >>> advice(load_recipe("trle"))
    []
    >>> advice(load_recipe("trle", ["advantage=grpo"]))  # doctest: +ELLIPSIS
    ["recipe trle: the advantage divides by the group's standard deviation, so in a group whose responses are all ..."]
    """
    found = (rule(recipe, recipe.verl if keys is None else keys) for rule in RULES)
    return [f"recipe {recipe.name}: {text}" for text in found if text is not None]


def warn(recipe: Recipe, keys: Mapping[str, Any] | None = None) -> None:
    """Each advice as an :class:`~leanthink.errors.AdviceWarning`."""
    for text in advice(recipe, keys):
        warnings.warn(text, AdviceWarning, stacklevel=2)


def depends_on_length(reward: Reward) -> bool:
    """Whether two correct responses of an all-correct group can earn differently for their length alone.

    It is tried out, so that it is true of anyone's reward: on groups of equal responses but for their length, at the
    first and at a late step, a second time with what the reward remembers. Columns it needs are all 1; a reward that
    cannot be scored like that counts as independent.

    >>> from leanthink.rewards import Correct, SigmoidLength
    >>> depends_on_length(SigmoidLength(alpha=0.1)), depends_on_length(Correct())
    (True, False)
    """
    count = len(LENGTHS) * GROUPS
    batch = RolloutBatch.of(
        group=[code for code in range(GROUPS) for _ in LENGTHS], length=LENGTHS * GROUPS, correct=[1] * count
    )
    batch = batch.replace(extras={name: [1.0] * count for name in reward.requires - set(RolloutBatch.CORE)})
    try:
        for step in STEPS:
            _, state = reward(batch.replace(step=step))
            value_N, _ = reward(batch.replace(step=step), state)
            if bool((group_max(value_N, batch.group) - group_min(value_N, batch.group) > 1e-12).any()):
                return True
    except Exception:  # of any kind: the reward may be anyone's, and the columns are made up
        return False
    return False


def std_hides_strength(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """Dividing by the standard deviation cancels any factor of the only thing that differs in a group."""
    if not (isinstance(recipe.advantage, Grpo) and recipe.advantage.scale == "std" and recipe.loss.reads_reward):
        return None
    if not depends_on_length(recipe.reward):
        return None
    return (
        "the advantage divides by the group's standard deviation, so in a group whose responses are all correct the "
        "strength of the length penalty cancels: a small one acts as a large one; where strength should count, take "
        "advantage rloo, or grpo with scale none"
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
    filter_drops_solved,
    loss_reads_no_reward,
    placement_lost,
    guard_sees_kept_groups,
)
