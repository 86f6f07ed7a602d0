"""Combinations that build and run, but whose parts work against each other: found before training, with the reason.

A rule is a function of the recipe and verl's keys that returns a warning or None; a new one joins ``RULES``. Its name
is the advice's code. A warning ends in the least change that cures it, as an override to paste.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

import torch

from leanthink.algorithms import Advantage, AnyAdvantage, Drpo
from leanthink.core.batch import RolloutBatch
from leanthink.core.control import BudgetReward
from leanthink.core.errors import AdviceWarning, ConfigError, did_you_mean
from leanthink.core.reward import Breakdown, Reward, RewardN, Scope
from leanthink.recipe.definition import Recipe
from leanthink.recipe.lengths import LONGEST
from leanthink.recipe.reach import beyond
from leanthink.recipe.registry import name_of
from leanthink.recipe.scoring import mean_advantage
from leanthink.rewards import CollapseGuard, EarlyExit
from leanthink.rewards.counted import THINKING_LENGTH
from leanthink.rewards.early_exit import EXIT_ORDER

Rule: TypeAlias = Callable[[Recipe, Mapping[str, Any]], str | None]

FILTER: Final = "algorithm.filter_groups"
FUSED: Final = "actor_rollout_ref.model.use_fused_kernels"
TOKENS: Final = "actor_rollout_ref.actor.ppo_max_token_len_per_gpu"
UNFUSED: Final = 16_384  # tokens of a micro-batch whose logits are still some 10 GB in fp32, of 152k words
ROLLOUTS: Final = "actor_rollout_ref.rollout.n"
LENGTHS: Final = tuple(2.0**power for power in range(18))  # up to the longest responses there are
GROUPS: Final = 100  # a reward of the batch may choose a small share of its groups
STEPS: Final = (0, 10_000)  # before and after any warm-up
FILLS: Final = (0.0, 1.0, 2.0)  # of columns: a gate is open at one of them, a response well-formed


def advice(recipe: Recipe, keys: Mapping[str, Any] | None = None) -> list[str]:
    """What is wrong with a combination although it runs, each with its code; empty where nothing is.

    What a recipe accepts is not told, as long as the recipe itself brings it about: where other keys do, it is.

    Args:
        recipe: the recipe.
        keys: verl's keys; the recipe's own where they are not given.

    Raises:
        ConfigError: the recipe accepts what is no advice, or without a reason.

    >>> from leanthink.recipe.definition import load_recipe
    >>> advice(load_recipe("trle"))
    []
    >>> advice(load_recipe("trle", ["advantage=grpo"]))  # doctest: +ELLIPSIS
    ["recipe trle: the advantage divides by the group's standard deviation, ... [std_hides_strength]"]
    """
    _check_accepted(recipe)
    given = []
    for rule in RULES:
        text = rule(recipe, recipe.verl if keys is None else keys)
        code = rule.__name__
        accepted = code in recipe.accepts and (keys is None or rule(recipe, recipe.verl) is not None)
        if text is not None and not accepted:
            given.append(f"recipe {recipe.name}: {text} [{code}]")
    return given


def warn(recipe: Recipe, keys: Mapping[str, Any] | None = None, told: set[str] | None = None) -> None:
    """Each advice as an :class:`~leanthink.core.errors.AdviceWarning`; what is in ``told`` is not told again."""
    told = set() if told is None else told
    for text in advice(recipe, keys):
        if text not in told:
            told.add(text)
            warnings.warn(text, AdviceWarning, stacklevel=2)


def _check_accepted(recipe: Recipe) -> None:
    codes = [rule.__name__ for rule in RULES]
    for code, reason in recipe.accepts.items():
        if code not in codes:
            raise ConfigError(f"recipe {recipe.name}, accepts: no advice {code!r}; {did_you_mean(code, codes)}")
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigError(f"recipe {recipe.name}, accepts: {code} is {reason!r}; give the reason, as text")


def depends_on_length(reward: Reward) -> bool:
    """Whether two correct responses of an all-correct group can earn differently for their length alone.

    It is tried out, so that it is true of anyone's reward: on groups of equal responses but for their length, at the
    first and at a late step, a second time with what the reward remembers, with several values in the columns that it
    needs. A reward that cannot be scored like that counts as independent.

    >>> from leanthink.rewards import Correct, SigmoidLength
    >>> depends_on_length(SigmoidLength(alpha=0.1)), depends_on_length(Correct())
    (True, False)
    """
    return bool(_tells_lengths(reward))


def _tells_lengths(reward: Reward, cut: float = torch.inf, tokens: tuple[float, ...] = LENGTHS) -> bool | None:
    """As `depends_on_length`, but None where the reward cannot be tried; responses beyond ``cut`` tokens are cut."""
    tried = None
    for fill in FILLS:
        batch, turned = (_all_correct(reward, fill, lengths, cut) for lengths in (tokens, tokens[::-1]))
        try:
            for step in STEPS:
                _, state = reward(batch.replace(step=step))
                value_N, turned_N = (reward(one.replace(step=step), state)[0] for one in (batch, turned))
                if bool(((value_N - turned_N).abs() > 1e-12).any()):
                    return True
            tried = False
        except Exception:  # of any kind: the reward may be anyone's, and the columns are made up
            continue
    return tried


def _all_correct(reward: Reward, fill: float, lengths: tuple[float, ...], cut: float) -> RolloutBatch:
    """Groups of correct responses of these lengths, with every column that the reward needs."""
    count = len(lengths) * GROUPS
    batch = RolloutBatch.of(
        group=[code for code in range(GROUPS) for _ in lengths],
        length=lengths * GROUPS,
        correct=[1] * count,
        truncated=[length > cut for length in lengths] * GROUPS,
    )
    needed = reward.requires - set(RolloutBatch.CORE)
    longer = {EXIT_ORDER: batch.length, THINKING_LENGTH: batch.length / 2}
    return batch.replace(extras={name: longer.get(name, [fill] * count) for name in needed})


def _tried_advantage(recipe: Recipe, batch: RolloutBatch) -> RewardN | None:
    """The advantage of a made-up batch's rewards, the loss's own where it makes one; None where it cannot be tried."""
    try:
        own = recipe.loss.advantage(batch.reward, batch.group, batch.correct, batch.length)
        result = Breakdown(reward=batch.reward, state={}, parts={})
        return mean_advantage(recipe.advantage, batch, result) if own is None else own
    except Exception:  # as above
        return None


def _of_solved_group(recipe: Recipe, strength: float) -> RewardN | None:
    """The advantages of four correct responses whose rewards differ by a length penalty, beside a mixed group."""
    reward = [1 - 0.1 * strength * longer for longer in range(4)]
    batch = RolloutBatch.of(group=[0] * 4 + [1] * 4, length=[10, 20, 30, 40] * 2, correct=[1] * 5 + [0] * 3)
    value_N = _tried_advantage(recipe, batch.replace(reward=torch.tensor([*reward, 1, 0, 0, 0], dtype=torch.float64)))
    return None if value_N is None else value_N[:4]


def _divides_by_std(recipe: Recipe) -> bool:
    """Whether twice the differences between the rewards of a solved group are the same differences in advantage."""
    once, twice = _of_solved_group(recipe, 1.0), _of_solved_group(recipe, 2.0)
    if once is None or twice is None:
        return False
    size = float(once.abs().max())
    return size > 1e-6 and torch.allclose(once, twice, rtol=0.0, atol=1e-2 * size)


def _undivided(advantage: AnyAdvantage) -> str:
    """The override after which an advantage does not divide by the group's standard deviation."""
    path, here = "advantage", cast("Any", advantage)
    while here is not None:
        path += f".{name_of(type(here))}"
        if getattr(here, "scale", None) == "std":
            return f"{path}.scale=none"
        path, here = f"{path}.of", getattr(here, "of", None)
    return "advantage=rloo"


def _part(reward: Reward, kind: type) -> Reward | None:
    return next((part for part in reward.walk() if isinstance(part, kind)), None)


def std_hides_strength(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """Dividing by the standard deviation cancels any factor of the only thing that differs in a group.

    An outcome within a budget has no strength, and of early exits `std_undoes_decay` tells.
    """
    if isinstance(recipe.reward, BudgetReward) or _part(recipe.reward, EarlyExit):
        return None
    if not _divides_by_std(recipe) or not depends_on_length(recipe.reward):
        return None
    return (
        "the advantage divides by the group's standard deviation, so in a group whose responses are all correct the "
        "strength of the length penalty cancels: a small one acts as a large one; where strength should count, set "
        f"{_undivided(recipe.advantage)}"
    )


def std_undoes_decay(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """S-GRPO takes the group's mean off and nothing else."""
    if not _part(recipe.reward, EarlyExit) or not _divides_by_std(recipe):
        return None
    return (
        "the advantage divides by the group's standard deviation, which undoes in part that each early exit earns a "
        f"fixed share of the one before (1, 1/2, 1/4, ...); set {_undivided(recipe.advantage)}, as S-GRPO does"
    )


def filter_drops_solved(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """Dynamic sampling on correctness leaves no all-correct groups, which matters where they would teach."""
    on_correctness = keys.get(f"{FILTER}.enable") and keys.get(f"{FILTER}.metric", "acc") == "acc"
    if not on_correctness or not depends_on_length(recipe.reward):
        return None
    solved = _of_solved_group(recipe, 1.0)
    if solved is not None and not bool(solved.any()):
        return None
    needs_all = _part(recipe.reward, BudgetReward) or _part(recipe.reward, CollapseGuard)
    by_group = recipe.reward.scope <= Scope.GROUP and not needs_all
    return (
        f"{FILTER} drops every group whose responses are all correct, the very groups in which the length penalty can "
        f"shorten without a loss; set {FILTER}.{'metric=acc_then_reward' if by_group else 'enable=false'}"
    )


def filter_stops_budgets(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """A reward that moves its prompts' budgets has to see every group."""
    part = _part(recipe.reward, BudgetReward)
    if part is None or not keys.get(f"{FILTER}.enable"):
        return None
    return (
        f"{FILTER} drops groups before {type(part).__name__} sees them, so that the budgets of their prompts stay as "
        f"they are, solved or not; set {FILTER}.enable=false"
    )


def guard_sees_kept_groups(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """A guard goes by the accuracy of the batch, and dynamic sampling chooses what comes into it."""
    if not keys.get(f"{FILTER}.enable") or not _part(recipe.reward, CollapseGuard):
        return None
    return (
        f"collapse_guard reads the accuracy of the batch, and {FILTER} leaves its all-wrong groups out, so that a "
        f"collapse hardly shows; set {FILTER}.enable=false"
    )


def loss_reads_no_reward(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """A loss that reads raw correctness makes a length penalty in the reward a matter of plots."""
    if recipe.loss.reads_reward or not depends_on_length(recipe.reward):
        return None
    cure = "reward=correct"
    if isinstance(recipe.loss, Drpo):
        weights = "" if recipe.loss.length_temperature is not None else "loss.drpo.length_temperature=0.1 "
        cure = f"{weights}loss.drpo.preference=reward, or, to keep what is trained now, reward=correct"
    return (
        "the loss reads raw correctness, not the reward, so the length penalty in the reward trains nothing; set "
        f"{cure}"
    )


def reward_prefers_nothing(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """Where the reward is the loss's only length preference, it has to have one; a price of being cut is one."""
    loss = recipe.loss
    if not isinstance(loss, Drpo) or not loss.reads_reward:
        return None
    if _tells_lengths(recipe.reward, cut=LENGTHS[len(LENGTHS) // 2]) is not False:
        return None
    longest = loss.limit or keys.get(LONGEST, 8192)
    return (
        "the loss prefers among right responses by the reward, which is the same however long they are, so that "
        f"nothing shortens them; set loss.drpo.preference=linear loss.drpo.limit={longest:g} (the longest response in "
        "tokens), or give the reward a length term"
    )


def placement_lost(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """Who reads a response as a whole knows nothing of the tokens at which a reward fell."""
    if not recipe.reward.is_placed:
        return None
    part = next(part for part in recipe.reward.walk() if part.is_placed and not part.children())
    if recipe.loss.reads_advantage and isinstance(recipe.advantage, Advantage):
        group_mean = "advantage=outcome_and_steps, which keeps the group's mean as the baseline, or "
        return (
            f"{type(part).__name__} pays single tokens, but the advantage {type(recipe.advantage).__name__} is one "
            "number per response, so only the sum over a response counts; set "
            f"{'' if keys.get(ROLLOUTS) == 1 else group_mean}advantage=reinforce_pp, or gae with a critic"
        )
    if recipe.loss.reads_reward and not recipe.loss.reads_advantage:
        return (
            f"{type(part).__name__} pays single tokens, but the loss {type(recipe.loss).__name__} ranks whole "
            "responses, so only the sum over a response counts; set loss=ppo_clip advantage=outcome_and_steps"
        )
    return None


def group_of_one(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """Who compares the responses to a prompt with each other needs two of them."""
    if keys.get(ROLLOUTS) != 1:
        return None
    flags = [0, 1, 1, 0]
    batch = RolloutBatch.of(group=[0, 1, 2, 3], length=[10, 20, 30, 40], correct=flags)
    value_N = _tried_advantage(recipe, batch.replace(reward=torch.tensor(flags, dtype=torch.float64)))
    if value_N is None or bool(value_N.any()):
        return None
    who: object = recipe.loss
    what, other = "its advantage is 0, and teaches nothing", ""
    if recipe.loss.reads_advantage:
        who, other = recipe.advantage, ", or advantage=reinforce_pp, which compares with the whole batch"
        if recipe.reward.is_placed and not isinstance(recipe.advantage, Advantage):
            what = "its outcome counts 0, and only single tokens teach"
    return (
        f"{ROLLOUTS} is 1, and {type(who).__name__} compares the responses to a prompt with each other: whatever a "
        f"single one earns, {what}; set {ROLLOUTS}=8 (2 or more){other}"
    )


def length_beyond_limit(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """A length that no response reaches never acts as it is meant, and nothing else tells."""
    longest = keys.get(LONGEST)
    found = list(beyond(recipe, longest)) if isinstance(longest, int | float) else []
    if not found:
        return None
    told = "; ".join(f"{one.path} is {one.shown}" for one in found)
    numbers = [f"{one.path}=max_response_length" for one in found if one.is_number]
    whole = f"{LONGEST}={max(one.greatest for one in found):g}"
    cure = f"'{' '.join(numbers)}', or {whole}" if len(numbers) == len(found) else whole
    return f"{told}, and no response has more than {longest:g} tokens ({LONGEST}); set {cure}"


def penalty_is_idle(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """A length term that begins beyond the response limit pays every response alike."""
    longest = keys.get(LONGEST)
    if not isinstance(longest, int | float) or longest < 1 or any(beyond(recipe, longest)):
        return None  # the lengths beyond it are told by name
    within = (*(length for length in LENGTHS if length < longest), float(longest))
    if _tells_lengths(recipe.reward, tokens=within) is not False or not depends_on_length(recipe.reward):
        return None
    return (
        f"the reward tells lengths apart only beyond {longest:g} tokens, which no response has ({LONGEST}), so nothing "
        f"shortens them; shorten the lengths in the reward, or set {LONGEST}={min(_first_told(recipe.reward), 1e6):g}"
    )


def _first_told(reward: Reward) -> float:
    """The least response limit, of the lengths tried, under which a reward tells lengths apart."""
    limits = (length for row, length in enumerate(LENGTHS) if _tells_lengths(reward, tokens=LENGTHS[: row + 1]))
    return next(limits, LENGTHS[-1])


def logits_unfused(recipe: Recipe, keys: Mapping[str, Any]) -> str | None:
    """Whole logits of a long micro-batch are the largest thing in a GPU's memory."""
    tokens = keys.get(TOKENS)
    if keys.get("trainer.device") != "cuda" or keys.get(FUSED) or not isinstance(tokens, int | float):
        return None
    if tokens <= UNFUSED:
        return None
    return (
        f"micro-batches of {tokens:g} tokens without fused kernels hold their logits, several times the vocabulary's "
        f"size a token: for 152,000 words {tokens * 152_000 * 4 / 1e9:.0f} GB each time; set {FUSED}=true"
    )


RULES: Final[tuple[Rule, ...]] = (
    std_hides_strength,
    std_undoes_decay,
    filter_drops_solved,
    filter_stops_budgets,
    guard_sees_kept_groups,
    loss_reads_no_reward,
    reward_prefers_nothing,
    placement_lost,
    group_of_one,
    length_beyond_limit,
    penalty_is_idle,
    logits_unfused,
)
