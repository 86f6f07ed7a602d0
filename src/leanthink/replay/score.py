"""Replays stored rollouts through recipes, step by step and with their state, as training would; needs no verl."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Bool
from torch import Tensor

from leanthink.algorithms import TokenAdvantage, VerlAdvantage
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError, did_you_mean
from leanthink.core.groups import group_centred
from leanthink.core.reward import WRAPPED, Reward, RewardN, State
from leanthink.core.schedules import Schedule
from leanthink.data.rollouts import Rollouts
from leanthink.recipe.definition import Recipe, load_recipe, recipe_from
from leanthink.recipe.keys import PARTS
from leanthink.recipe.lengths import LONGEST
from leanthink.recipe.overrides import apply_overrides
from leanthink.recipe.scoring import (
    ScoredStep,
    batch_of_facts,
    is_batch_wide,
    score_step,
    step_metrics,
)
from leanthink.recipe.yaml import parse_yaml, read_yaml
from leanthink.replay.batches import facts_of
from leanthink.verify import Verdict

REWARD: Final = "reward"
"""What a reward given without a recipe goes by."""

LAST_STEP: Final = 10_000  # how far ahead a schedule is searched for the end of its warm-up


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """What a recipe makes of N responses; NaN where the verdict is unknown.

    Attributes:
        recipe: the recipe.
        batch: the M responses that took part, all steps together, groups kept apart by step.
        known: (N,) whether each response took part.
        reward: (N,) the shaped reward.
        advantage: (N,) what the recipe's estimator makes of it: by token, the mean over a response's tokens; NaN
            throughout where it reads a critic's values.
        parts: (N,) each named part of the reward, by its path.
        metrics: training's scalars over all steps, and ``advantage_per_100_tokens`` (see :func:`length_slope`).
        notices: what the reader should know about this replay.
        state: the reward's, after the last step.
        advantage_state: the advantage's, likewise.
    """

    recipe: Recipe
    batch: RolloutBatch
    known: Bool[Tensor, " N"]
    reward: RewardN
    advantage: RewardN
    parts: Mapping[str, RewardN]
    metrics: Mapping[str, float]
    notices: Sequence[str]
    state: State | None = None
    advantage_state: State | None = None


def replay(
    recipe: Recipe, rollouts: Rollouts, state: State | None = None, advantage_state: State | None = None
) -> Replay:
    """Score stored rollouts: each step is a batch, steps in order, what reward and advantage remember carried along.

    ``state`` is the reward's before the first step, ``advantage_state`` the advantage's; None for a fresh one.

    Raises:
        MissingColumnError: a column the recipe needs is missing, named with the file and the row.
        BatchError: the recipe cannot score a batch.
    """
    known_N = torch.tensor([judgement.verdict is not Verdict.UNKNOWN for judgement in rollouts.judgements])
    facts, notices = facts_of(recipe.reward, rollouts, f"recipe {recipe.name}")
    by_step: dict[int, list[int]] = defaultdict(list)
    for row in known_N.nonzero().squeeze(-1).tolist():
        by_step[rollouts.step[row]].append(row)
    empty_N = torch.full(known_N.shape, torch.nan, dtype=torch.float64)
    values: dict[str, RewardN] = defaultdict(empty_N.clone)
    reward_N, advantage_N = empty_N.clone(), empty_N.clone()
    for step in sorted(by_step):
        rows = by_step[step]
        groups = [rollouts.group[row] for row in rows]
        batch = batch_of_facts([facts[row] for row in rows], groups, rollouts.clock[rows[0]])
        scored = _score(recipe, batch, state, advantage_state, rollouts, step)
        state, advantage_state = scored.state, scored.advantage_state
        reward_N[rows] = scored.reward
        if scored.advantage is not None:
            advantage_N[rows] = scored.advantage
        for name, part in scored.parts.items():
            values[name][rows] = part
    batch = batch_of_facts(
        [fact for fact, known in zip(facts, known_N, strict=True) if known],
        [(step, group) for step, group, known in zip(rollouts.step, rollouts.group, known_N, strict=True) if known],
        0,
    )
    parts_M = {name: value[known_N] for name, value in values.items()}
    needs_values = isinstance(recipe.advantage, VerlAdvantage) and recipe.loss.reads_advantage
    advantage_M = None if needs_values else advantage_N[known_N]
    metrics = step_metrics(batch, reward_N[known_N], parts_M, advantage_M, is_batch_wide(recipe))
    slope = torch.nan if advantage_M is None else length_slope(batch, advantage_M)
    return Replay(
        recipe=recipe,
        batch=batch,
        known=known_N,
        reward=reward_N,
        advantage=advantage_N,
        parts=dict(values),
        metrics={**metrics, "advantage_per_100_tokens": slope},
        state=state,
        advantage_state=advantage_state,
        notices=[
            *notices,
            *limit_notices(recipe),
            *advantage_notices(recipe),
            *idle_schedules(recipe, sorted(set(rollouts.clock))),
            *_loss_notice(recipe),
        ],
    )


def length_slope(batch: RolloutBatch, advantage_N: RewardN) -> float:
    """What 100 more tokens do to the advantage of a correct response, within its prompt group; NaN without two.

    ``100 Σ (l - l̄_g)(a - ā_g) / Σ (l - l̄_g)²`` over the correct responses, the means by group. Negative: the recipe
    prefers short correct responses; 0: it does not look at their length.

    >>> batch = RolloutBatch.of(group=[0, 0, 0], length=[100, 300, 50], correct=[1, 1, 0])
    >>> length_slope(batch, torch.tensor([0.5, 0.3, -0.8], dtype=torch.float64))
    -0.1
    """
    correct_N = batch.correct == 1
    right = batch.select(correct_N)
    length_M = group_centred(right.length, right.group)
    square = length_M.square().sum()
    if square == 0:
        return torch.nan
    return round(float(100 * (length_M * group_centred(advantage_N[correct_N], right.group)).sum() / square), 12)


def limit_notices(recipe: Recipe) -> Iterator[str]:
    """That a recipe's limit changes nothing about responses that are written already."""
    if recipe.limit is not None:
        yield (
            f"{recipe.name}: its limit stops responses while they are written; those of a file are scored as they are "
            "(reward.truncation.limit counts longer ones as cut)"
        )


def advantage_notices(recipe: Recipe) -> Iterator[str]:
    """What the advantage shown leaves out, where it is the recipe's, and not one number per response."""
    if not recipe.loss.reads_advantage:
        return
    if isinstance(recipe.advantage, VerlAdvantage):
        yield f"{recipe.name}: the advantage reads a critic's values, which a file does not hold; it is not shown"
    elif isinstance(recipe.advantage, TokenAdvantage):
        yield f"{recipe.name}: the advantage is by token; shown is its mean over each response"


def idle_schedules(recipe: Recipe, steps: Iterable[int]) -> Iterator[str]:
    """A notice for each schedule of the reward that is 0 at every one of these steps and not later: a warm-up."""
    scored = list(steps)
    for path, schedule in _schedules(recipe.reward, "reward"):
        if any(schedule(step) != 0 for step in scored):
            continue
        start = next((step for step in range(max(scored), LAST_STEP) if schedule(step) != 0), None)
        if start is not None:
            yield (
                f"{recipe.name}: {path} is 0 at step {scored[0]}{f' to {scored[-1]}' if len(scored) > 1 else ''} "
                f"(warm-up) and {schedule(start):g} at step {start}; see it at work with --step {start}"
            )


def _loss_notice(recipe: Recipe) -> Iterator[str]:
    """What to know of the advantage where the loss makes it."""
    if recipe.loss.notice is not None:
        yield f"{recipe.name}: {recipe.loss.notice}"


def load_recipes(
    names: Sequence[str] = (), reward: str | None = None, overrides: Iterable[str] = ()
) -> dict[str, Recipe]:
    """The recipes to compare, by name.

    Args:
        names: recipes that ship, paths, or rewards of one's own as ``pkg.mod:Name``; with neither these nor ``reward``,
            the baseline ``grpo``.
        reward: a reward tree, as YAML or in a YAML file, with the default advantage, called "reward".
        overrides: ``key=value`` for every recipe, ``recipe:key=value`` for one.

    Raises:
        ConfigError: no such recipe, two of the same name, or an override that fits none.

    >>> list(load_recipes(["grpo"], "{scale: {by: 2.0, of: correct}}"))
    ['grpo', 'reward']
    """
    chosen = list(names) or ["grpo"] * (reward is None)
    labels = [Path(name).stem if name.endswith((".yaml", ".yml")) else name for name in chosen]
    labels += [REWARD] * (reward is not None)
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"two recipes are named {label!r}; give each once, and each file a name of its own")
    changes = _changes(overrides, labels)
    recipes = {label: _named(name, changes[label]) for label, name in zip(labels, chosen, strict=False)}
    if reward is not None:
        recipes[REWARD] = _bare(reward, changes[REWARD])
    return recipes


def _named(name: str, overrides: Iterable[str]) -> Recipe:
    """A recipe by name or path; a class of one's own (``pkg.mod:Name``) with the default advantage."""
    if ":" in name and not name.endswith((".yaml", ".yml")):
        return _part(name, overrides, name, name)
    return load_recipe(name, overrides)


def _bare(reward: str, overrides: Iterable[str]) -> Recipe:
    """A recipe of a reward tree alone."""
    node = read_yaml(Path(reward)) if reward.endswith((".yaml", ".yml")) else parse_yaml(reward, "--reward")
    if isinstance(node, Mapping) and REWARD in node:
        raise ConfigError("--reward is a whole recipe, with a key 'reward'; save it as .yaml and give it as --recipe")
    return _part(node, overrides, "--reward", REWARD)


def _part(node: Any, overrides: Iterable[str], place: str, name: str) -> Recipe:
    """A recipe of a reward, or of a term by itself: to be looked at, not to be trained with."""
    whole = {REWARD: node, "wrong_may_beat_correct": True}
    return recipe_from(apply_overrides(whole, overrides, place), name)


def _changes(overrides: Iterable[str], labels: Sequence[str]) -> dict[str, list[str]]:
    """The overrides of each recipe."""
    changes: dict[str, list[str]] = {label: [] for label in labels}
    for text in overrides:
        key = text.partition("=")[0]
        label, colon, rest = key.rpartition(":")
        if colon and label not in changes:
            raise ConfigError(f"--set {text}: no recipe {label!r} is scored; {did_you_mean(label, changes)}")
        if rest.split(".")[0] not in PARTS and rest != LONGEST:
            raise ConfigError(
                f"--set {text}: nothing to set; write [RECIPE:]key=value with a key of the {', '.join(PARTS)}, as in "
                f"reward.sigmoid_length.alpha=0.1 (of verl's keys only {LONGEST} means something to a replay)"
            )
        for name in [label] if colon else changes:
            changes[name].append(text.removeprefix(f"{label}:") if colon else text)
    return changes


def _score(
    recipe: Recipe,
    batch: RolloutBatch,
    state: State | None,
    advantage_state: State | None,
    rollouts: Rollouts,
    step: int,
) -> ScoredStep:
    try:
        return score_step(recipe, batch, state, advantage_state=advantage_state)
    except BatchError as error:
        raise BatchError(
            f"{rollouts.records[0].file}, step {step}, recipe {recipe.name}: {error} (rows count from 0 among the "
            f"step's {len(batch)} responses with a verdict)"
        ) from error


def _schedules(reward: Reward, path: str) -> Iterator[tuple[str, Schedule]]:
    """Every schedule in a reward tree with its path."""
    if dataclasses.is_dataclass(reward):
        for field in dataclasses.fields(reward):
            value = getattr(reward, field.name)
            if isinstance(value, Schedule):
                yield f"{path}.{field.name}", value
    for name, child in reward.children().items():
        yield from _schedules(child, path if name == WRAPPED else f"{path}.{name}")
