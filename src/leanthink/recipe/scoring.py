"""One training step through a recipe: facts in; reward, named parts, advantage, state and diagnostics out.

Training and replay both go through :func:`score_step`, so what a replay shows is what a run would do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from leanthink.algorithms import Advantage, AnyAdvantage, TokenAdvantage
from leanthink.core.batch import RolloutBatch
from leanthink.core.control import events, shown
from leanthink.core.errors import BatchError, ConfigError, MissingColumnError
from leanthink.core.functions import full_name
from leanthink.core.groups import group_count, group_max, group_mean, group_min
from leanthink.core.limits import FORCED, THINKING_LIMIT
from leanthink.core.measured import MeasuredReward
from leanthink.core.placement import Placement, token_rewards
from leanthink.core.reward import Breakdown, Reward, RewardN, State
from leanthink.recipe.definition import Recipe
from leanthink.rewards.counted import (
    CALLS,
    CONTEXT_TOKENS,
    FAILED_CALLS,
    THINKING_LENGTH,
    TOOL_TOKENS,
    TURNS,
    tokens_of,
)
from leanthink.rewards.effort_length import EFFORT

Truncated = Literal["keep", "mask", "exclude"]

SHOWN: Final[Mapping[str, str]] = {
    THINKING_LENGTH: "length/thinking",
    TOOL_TOKENS: "tools/tokens",
    CONTEXT_TOKENS: "tools/context_tokens",
    TURNS: "tools/turns",
    CALLS: "tools/calls",
    FAILED_CALLS: "tools/failed_calls",
    THINKING_LIMIT: "thinking_limit",
    FORCED: "forced_share",
}
"""Columns whose means are shown where a batch has them, each by the name it is shown under."""


@dataclass(frozen=True, kw_only=True)
class ScoredStep:
    """What a recipe makes of one batch: (N,) reward, advantage and named parts, the new state, scalar metrics.

    ``placement`` says at which tokens some of the reward falls. ``advantage`` is that of each response: where the
    recipe's is by token, the mean over its tokens; None where it needs more than rewards (see `mean_advantage`).
    ``events`` are what belongs into the log. Where the advantage remembers something, ``advantage_state`` is what, and
    ``chosen`` (N,) says which responses it chose.
    """

    reward: RewardN
    advantage: RewardN | None
    parts: Mapping[str, RewardN]
    state: State
    metrics: Mapping[str, float]
    placement: Placement | None = None
    events: Sequence[str] = ()
    advantage_state: State = field(default_factory=dict)
    chosen: Bool[Tensor, " N"] | None = None


def score_step(
    recipe: Recipe,
    batch: RolloutBatch | Mapping[str, Any],
    state: State | None = None,
    truncated: Truncated = "keep",
    advantage_state: State | None = None,
) -> ScoredStep:
    """Reward, advantage and diagnostics of one batch; the advantage is the loss's own where it makes one.

    Args:
        recipe: what to score by.
        batch: the responses of whole groups, or their columns as lists, as :meth:`RolloutBatch.of` takes them.
        state: the reward's, before this step.
        truncated: what becomes of truncated responses after the reward (see :func:`overlong_filter`).
        advantage_state: the advantage's, before this step; None for a fresh one.

    Raises:
        MissingColumnError: a column the reward needs is not there, named before anything is computed.
        ConfigError: something else than a recipe.
        BatchError: something else than a batch, or one that cannot be scored.

    >>> from leanthink.recipe.definition import load_recipe
    >>> step = score_step(load_recipe("gr3"), {"group": [0, 0], "length": [10, 30], "correct": [1, 1]})
    >>> step.reward, step.advantage
    (tensor([0.8584, 0.6689], dtype=torch.float64), tensor([ 0.0947, -0.0947], dtype=torch.float64))
    """
    if not isinstance(recipe, Recipe):
        cure = "Recipe(name=..., reward=...)" if isinstance(recipe, Reward) else "one of load_recipe(...)"
        raise ConfigError(f"score_step: {recipe!r:.80} is no recipe; give {cure}")
    if not isinstance(batch, RolloutBatch):
        if not isinstance(batch, Mapping):
            raise BatchError(
                f"score_step: {type(batch).__name__} is no batch; give RolloutBatch.of(...), or its columns"
            )
        batch = RolloutBatch.of(**batch)
    missing = sorted(recipe.reward.requires - set(batch.extras) - set(RolloutBatch.CORE))
    if missing:
        raise MissingColumnError(
            f"recipe {recipe.name} needs the column {missing[0]!r}, which the data lack; "
            f"add it to every response (there are: {', '.join([*RolloutBatch.CORE, *batch.extras])})"
        )
    result = recipe.reward.breakdown(batch, state)
    advantage = recipe.loss.advantage(result.reward, batch.group, batch.correct, batch.length)
    chosen_N, remembered = None, advantage_start(recipe) if advantage_state is None else advantage_state
    if advantage is None:
        if isinstance(recipe.advantage, Advantage) and recipe.advantage.reads_state:
            chosen_N, remembered = choose(recipe.advantage, result.reward, batch, truncated, remembered)
        advantage = mean_advantage(recipe.advantage, batch, result, truncated, chosen_N)
    metrics = step_metrics(batch, result.reward, result.parts, advantage, is_batch_wide(recipe))
    metrics |= {f"control/{name}": value for name, value in shown(recipe.reward, batch.step, result.state).items()}
    if chosen_N is not None and isinstance(recipe.advantage, Advantage):
        more = {"chosen_share": float(chosen_N.double().mean()), **recipe.advantage.shown(remembered)}
        metrics |= {f"control/advantage/{name}": value for name, value in more.items()}
    return ScoredStep(
        reward=result.reward,
        advantage=advantage,
        parts=result.parts,
        state=result.state,
        metrics=metrics,
        placement=result.placement,
        events=events(recipe.reward, recipe.reward.init() if state is None else state, result.state),
        advantage_state=remembered,
        chosen=chosen_N,
    )


def is_batch_wide(recipe: Recipe) -> bool:
    """Whether one advantage depends on the responses of other groups, as whitening does; a loss's own never."""
    return recipe.loss.reads_advantage and (not isinstance(recipe.advantage, Advantage) or recipe.advantage.batch_wide)


def mean_advantage(
    advantage: AnyAdvantage,
    batch: RolloutBatch,
    result: Breakdown,
    truncated: Truncated = "keep",
    chosen_N: Bool[Tensor, " N"] | None = None,
) -> RewardN | None:
    """One advantage per response: the estimator's own, or the mean over the response's tokens where it has many.

    Those that were not chosen, where an advantage chooses, have 0. None for an estimator of verl's that reads a
    critic's values: without them there is nothing to compute.
    """
    if isinstance(advantage, Advantage):
        return batch_advantage(advantage, result.reward, batch, truncated, chosen_N)
    if not isinstance(advantage, TokenAdvantage):
        return None
    reward_NT = token_rewards(result.reward, batch.length, result.placement)
    trained_N = overlong_filter(batch, truncated)[1]
    mask_NT = (torch.arange(reward_NT.shape[1], device=reward_NT.device) < batch.length[:, None]) & trained_N[:, None]
    return advantage(reward_NT, mask_NT, batch.group).sum(-1) / batch.length.clamp(min=1)


def overlong_filter(batch: RolloutBatch, truncated: Truncated) -> tuple[Bool[Tensor, " N"], Bool[Tensor, " N"]]:
    """Which responses count in the advantage's statistics, and which are trained on: overlong filtering.

    DAPO (arXiv 2503.14476, Sec. 3.4) masks the loss of truncated responses and does not say whether their rewards stay
    in the statistics: "mask" keeps them there, "exclude" does not. Where "exclude" leaves a single response of a group,
    there is nothing to compare it with, and it goes, too. "keep" filters nothing.

    >>> batch = RolloutBatch.of(group=[0] * 3, length=[5, 9, 9], correct=[1, 0, 0], truncated=[0, 0, 1])
    >>> overlong_filter(batch, "mask")
    (tensor([True, True, True]), tensor([ True,  True, False]))
    """
    all_N = torch.ones_like(batch.truncated)
    if truncated == "keep":
        return all_N, all_N
    ended_N = ~batch.truncated
    if truncated == "mask":
        return all_N, ended_N
    alone_N = (group_count(batch.group, ended_N) == 1)[batch.group] & (group_count(batch.group) > 1)[batch.group]
    counted_N = ended_N & ~alone_N
    return counted_N, counted_N


def advantage_start(recipe: Recipe) -> State:
    """What a recipe's advantage remembers before the first step; empty for one that remembers nothing."""
    return recipe.advantage.init() if isinstance(recipe.advantage, Advantage) else {}


def choose(
    advantage: Advantage, reward_N: RewardN, batch: RolloutBatch, truncated: Truncated, state: State
) -> tuple[Bool[Tensor, " N"], State]:
    """Which responses an advantage that remembers chooses, of those that count, and what it remembers after them."""
    counted_N, counted = _counted(reward_N, batch, truncated)
    chosen_M, after = advantage.select(counted.reward, counted.group, counted.length, state)
    chosen_N = torch.zeros_like(counted_N)
    chosen_N[counted_N] = chosen_M
    return chosen_N, after


def batch_advantage(
    advantage: Advantage,
    reward_N: RewardN,
    batch: RolloutBatch,
    truncated: Truncated = "keep",
    chosen_N: Bool[Tensor, " N"] | None = None,
) -> RewardN:
    """The advantage of each response as training computes it; 0 for one that is not trained on, or not chosen."""
    counted_N, counted = _counted(reward_N, batch, truncated, chosen_N)
    value_M = advantage(counted.reward, counted.group, counted.length)
    value_N = torch.zeros_like(reward_N)
    value_N[counted_N] = advantage.lifted(value_M, counted.correct == 1, counted.group)
    return torch.where(overlong_filter(batch, truncated)[1], value_N, 0.0)


def _counted(
    reward_N: RewardN, batch: RolloutBatch, truncated: Truncated, chosen_N: Bool[Tensor, " N"] | None = None
) -> tuple[Bool[Tensor, " N"], RolloutBatch]:
    """Which responses count in the advantage's statistics, and they alone; one that is not trained on has length 0."""
    counted_N, trained_N = overlong_filter(batch, truncated)
    if chosen_N is not None:
        counted_N = counted_N & chosen_N
    length_N = torch.where(trained_N, batch.length, 0.0)
    return counted_N, batch.replace(reward=reward_N, length=length_N).select(counted_N)


def step_metrics(
    batch: RolloutBatch,
    reward: RewardN,
    parts: Mapping[str, RewardN],
    advantage: RewardN | None,
    batch_wide: bool = False,
) -> dict[str, float]:
    """Scalars that show what a reward does; a mean over no responses is left out, not reported as 0.

    Lengths are in tokens, shares in [0, 1]. Raw correctness and shaped reward are apart. A group gives no signal where
    all its advantages are 0; where they are ``batch_wide``, all the same: the batch shifts every group.
    """
    correct_N = batch.correct == 1
    rate_G = group_mean(batch.correct, batch.group)
    values: dict[str, Tensor] = {
        "accuracy": batch.correct,
        "truncated_share": batch.truncated.double(),
        "length/all": batch.length,
        "length/correct": batch.length[correct_N],
        "length/wrong": batch.length[~correct_N],
        "reward/all": reward,
        "reward/correct": reward[correct_N],
        "reward/wrong": reward[~correct_N],
        "groups/all_correct_share": (rate_G == 1).double(),
        "groups/all_wrong_share": (rate_G == 0).double(),
        "groups/size": group_count(batch.group),
    }
    if advantage is not None:
        values["correct_pushed_down_share"] = (advantage[correct_N] < 0).double()
        signal = advantage - group_min(advantage, batch.group)[batch.group] if batch_wide else advantage
        values["groups/no_signal_share"] = (group_max(signal.abs(), batch.group) == 0).double()
    values |= {shown: batch.column(name) for name, shown in SHOWN.items() if name in batch.extras}
    if THINKING_LENGTH in batch.extras:
        values["length/answer"] = tokens_of(batch, "answer")
    if EFFORT in batch.extras:
        level_N = batch.column(EFFORT)
        for level in torch.unique(level_N).tolist():
            values[f"effort/{level:g}/accuracy"] = batch.correct[level_N == level]
            values[f"effort/{level:g}/length"] = batch.length[level_N == level]
    for name, part in parts.items():
        values[f"part/{name}"] = part
    metrics = {name: float(value.mean()) for name, value in values.items() if len(value)}
    spread = {"reward/all": reward, **{f"part/{name}": part for name, part in parts.items()}}
    return metrics | {f"{name}_std": float(value.std(correction=0)) for name, value in spread.items() if len(value)}


def measured_rewards(reward: Reward) -> list[MeasuredReward]:
    """The parts of a reward tree that are measured where the response is, each setting once.

    Raises:
        ConfigError: two different parts have one column.
    """
    found: dict[str, MeasuredReward] = {}
    for part in reward.walk():
        if isinstance(part, MeasuredReward) and found.setdefault(part.column, part) != part:
            one, other = full_name(type(found[part.column])), full_name(type(part))
            raise ConfigError(
                f"{one} and {other} both measure {part.column!r}; give one a name of its own: "
                'registered_as = "..." in the class, and make it a frozen dataclass, so that its settings are told'
            )
    return list(found.values())


def batch_of_facts(rows: Iterable[Mapping[str, Any]], group: Sequence[Any], step: int) -> RolloutBatch:
    """The batch of responses whose facts a worker returned; every fact beyond the core ones becomes a column.

    Raises:
        BatchError: two responses have different facts, or a fact is malformed.
    """
    facts = list(rows)
    names = list(facts[0]) if facts else ["length", "correct"]
    for row, fact in enumerate(facts):
        if odd := sorted(set(names) ^ set(fact)):
            raise BatchError(f"row {row}: fact {odd[0]!r} is there for some responses only; return the same for each")
    columns = {name: [fact[name] for fact in facts] for name in names}
    core = {name: columns.pop(name, None) for name in ("length", "correct", "truncated")}
    for name in ("length", "correct"):
        if core[name] is None:
            raise MissingColumnError(f"the fact {name!r} is missing; return it for every response")
    batch = RolloutBatch.of(
        group=group, length=core["length"] or [], correct=core["correct"] or [], truncated=core["truncated"], step=step
    )
    return batch.replace(extras=columns)
