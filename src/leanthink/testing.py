"""Contract tests for rewards and advantages, your own included.

Call :func:`check_reward`, :func:`check_advantage` or :func:`check_token_advantage` from any test. They raise
:class:`ContractError`, which names the broken promise and shows the batch as code that builds it again. ``_N`` runs
over responses, ``_M`` over some of them, ``_T`` over tokens.
"""

from __future__ import annotations

import copy
import json
import pickle
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Real
from typing import Any, TypeAlias

import torch
from torch import Generator, Tensor

from leanthink.algorithms import Advantage, TokenAdvantage
from leanthink.core.batch import Column, RolloutBatch, snippet
from leanthink.core.control import check_state
from leanthink.core.errors import ChangedBatchError, LeanthinkError, StateError
from leanthink.core.groups import group_count
from leanthink.core.measured import MeasuredReward
from leanthink.core.placement import Placement
from leanthink.core.reward import Breakdown, Reward, RewardN, Scope, State
from leanthink.recipe.nodes import build, describe
from leanthink.recipe.registry import Kind
from leanthink.recipe.scoring import measured_rewards

Columns: TypeAlias = Mapping[str, Callable[[Generator, int], Column]]
Row: TypeAlias = tuple[int, int, int, bool]  # group, length, correct, truncated
TEXTS = ("<think> 2+2 </think> 4", "<think> 2+2", "4", "", "<think> </think> <think> so </think> 4", "wait, wait, 4")
FAILED: dict[type[Exception], str] = {
    StateError: "update gives a new state",
    ChangedBatchError: "the batch is not changed",
}
KINDS = ("mixed", "mixed", "ties", "right", "wrong", "truncated")


class ContractError(LeanthinkError, AssertionError):
    """A reward or an advantage breaks a promise that every one of them gives."""


def random_batch(
    generator: Generator, *, groups: int = 5, size: int = 6, step: int = 0, columns: Columns | None = None
) -> RolloutBatch:
    """A batch of up to ``groups`` groups of 1 to ``size`` responses, in mixed order.

    Groups are mixed, with tied lengths, all right, all wrong, or all truncated. ``columns`` makes the extra columns,
    each from the generator and the number of responses.

    >>> batch = random_batch(Generator().manual_seed(0), columns={"budget": lambda g, n: torch.full((n,), 512.0)})
    >>> batch.num_groups <= 5 and len(batch) <= 30 and len(batch.column("budget")) == len(batch)
    True
    """
    draw = random.Random(int(torch.randint(2**31, (1,), generator=generator)))  # torch is slow at single numbers
    rows: list[Row] = []
    for code in range(draw.randint(1, groups)):
        kind = draw.choice(KINDS)
        for _ in range(draw.randint(1, size)):
            length = draw.choice((0, 1000)) if kind == "ties" else draw.randint(0, 16_000)
            correct = {"right": 1, "wrong": 0}.get(kind, draw.randint(0, 1))
            rows.append((code, length, correct, kind == "truncated" or draw.random() < 0.1))
    draw.shuffle(rows)
    return _batch(rows, generator, step, columns)


def special_batches(generator: Generator, *, step: int = 0, columns: Columns | None = None) -> Iterator[RolloutBatch]:
    """The corners: no response, groups of one, all equal, all right, all wrong, all truncated, nothing written."""
    corners: list[list[Row]] = [
        [],
        [(0, 700, 1, False)],
        [(0, 700, 0, True)],
        [(0, 5, 1, False), (1, 700, 0, False), (2, 9, 1, False)],
        [(0, 700, 1, False)] * 4,
        [(0, 700, 1, False), (0, 700, 0, False)] * 2,
        [(0, 9, 1, False), (0, 700, 1, False), (0, 80, 1, False)],
        [(0, 9, 0, False), (0, 700, 0, False), (0, 80, 0, False)],
        [(0, 16_000, 1, True), (0, 16_000, 0, True), (1, 16_000, 0, True), (1, 16_000, 0, True)],
        [(0, 0, 0, False), (0, 0, 1, False)],
    ]
    for rows in corners:
        yield _batch(rows, generator, step, columns)


def _batch(rows: list[Row], generator: Generator, step: int, columns: Columns | None) -> RolloutBatch:
    group, length, correct, truncated = zip(*rows, strict=True) if rows else ((), (), (), ())
    batch = RolloutBatch.of(group=group, length=length, correct=correct, truncated=truncated, step=step)
    return batch.replace(extras={name: make(generator, len(rows)) for name, make in (columns or {}).items()})


def check_reward(
    reward: Reward,
    columns: Columns | None = None,
    *,
    wrong_may_beat_correct: bool = False,
    steps: Iterable[int] = (0, 1, 30, 1000),
    rounds: int = 20,
    seed: int = 0,
) -> None:
    """Check what every reward promises.

    It compares, hashes, prints, pickles and can be described as YAML; it never changes itself, the batch or the state;
    it is deterministic; it gives one finite float64 number per response in every corner; permuting the responses
    permutes the result and what falls on single tokens (with groups, and the responses of each, in order, where it
    declares ``reads_order``); nothing leaks beyond its scope; its state survives JSON and a resume; and in no group
    does a correct response score below a wrong one, unless the reward is a term.

    Args:
        reward: the reward, at the settings to be checked.
        columns: how to draw the columns it requires; those of measured rewards are measured on samples.
        wrong_may_beat_correct: skip the last check, as the recipe of a paper whose reward does so declares it.
        steps: the training steps to look at; name the interesting ones of its schedules.
        rounds: random batches for each step.
        seed: of those batches.

    Raises:
        ContractError: naming the broken promise, with the batch.

    >>> from leanthink.rewards import Correct, KimiLength, Scale, Sum
    >>> check_reward(Sum(correct=Correct(), length=Scale(by=0.5, of=KimiLength())))
    >>> check_reward(Sum(correct=Correct(), length=Scale(by=9.0, of=KimiLength())))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    leanthink.testing.ContractError: ...a correct response never scores below a wrong one of its group...
    """
    generator = torch.Generator().manual_seed(seed)
    columns = {**_measured_columns(reward, columns or {}), **(columns or {})}
    if lacking := sorted(reward.requires - set(columns) - set(RolloutBatch.CORE)):
        raise ContractError(f"{reward!r} requires {lacking[0]!r}; give how to draw it in columns")
    copied = _check_object(reward, "reward")
    for step in steps:
        state = reward.init()
        batches = list(special_batches(generator, step=step, columns=columns))
        batches += [random_batch(generator, step=step, columns=columns) for _ in range(rounds)]
        for batch in batches:
            if reward.is_term:  # inside a chain
                running_N = torch.randint(-4, 5, (len(batch),), generator=generator) / 4
                batch = batch.replace(reward=running_N)
            state = _check_batch(reward, batch, state, generator, wrong_may_beat_correct or reward.is_term)
    if reward != copied:
        raise ContractError(f"{reward!r}: evaluating it must not change it; what it remembers belongs in its state")


def check_advantage(advantage: Advantage, *, centred: bool = True, rounds: int = 100, seed: int = 0) -> None:
    """Check what every advantage promises.

    It compares, hashes, prints, pickles and can be described as YAML; it changes no input; it is deterministic and
    finite in every corner; permuting the responses permutes it (those of a group in order, where it declares
    ``reads_order``); groups do not leak, unless it is declared ``batch_wide``; and, if ``centred`` and not batch-wide,
    it is 0 where all rewards of a group are equal and sums to 0 over each group. It chooses alike each time, by a state
    that it does not change and JSON gives back.

    Raises:
        ContractError: naming the broken promise, with the batch.

    >>> from leanthink.algorithms import Grpo
    >>> check_advantage(Grpo())
    """
    generator = torch.Generator().manual_seed(seed)
    _check_object(advantage, "advantage")
    state = advantage.init()
    for batch in list(special_batches(generator)) + [random_batch(generator) for _ in range(rounds)]:
        state = _check_choice(advantage, batch, state)
        shaped_N, group_N = batch.correct - torch.randint(0, 3, (len(batch),), generator=generator) / 10, batch.group
        length_N = batch.length
        for reward_N in (batch.correct, shaped_N, torch.full_like(shaped_N, 0.1)):
            shown = copy.deepcopy(batch.replace(reward=reward_N))
            value_N = advantage(reward_N, group_N, length_N)
            _finite(advantage, "it", shown, value_N)
            before = (shown.reward, shown.group, shown.length)
            if not all(map(torch.equal, (reward_N, group_N, length_N), before)):
                _fail(advantage, "its inputs are not changed", shown)
            _close(advantage, "deterministic", shown, advantage(reward_N, group_N, length_N), value_N)
            order_M = torch.randperm(len(batch), generator=generator)
            if advantage.reads_order:
                order_M = _ties_kept(group_N, order_M)
            mixed = shown.select(order_M)
            promise = "permuting the responses permutes the result"
            mixed_M = advantage(mixed.reward, mixed.group, mixed.length)
            _close(advantage, promise, shown, mixed_M, value_N[order_M], order_M)
            for code in range(0 if advantage.batch_wide else batch.num_groups):
                rows_M = (group_N == code).nonzero().squeeze(-1)
                alone_M = advantage(reward_N[rows_M], torch.zeros_like(rows_M), length_N[rows_M])
                _close(advantage, "groups do not leak into each other", shown, alone_M, value_N[rows_M], rows_M)
                group = shown.select(rows_M)
                if centred and abs(float(alone_M.sum())) > 1e-7 * len(rows_M):
                    _fail(advantage, "it sums to 0 over a group", group, f"it gives {alone_M.tolist()}")
                if centred and bool((group.reward == group.reward[0]).all()) and bool((alone_M != 0).any()):
                    _fail(advantage, "it is exactly 0 where rewards are equal", group, f"it gives {alone_M.tolist()}")


def _check_choice(advantage: Advantage, batch: RolloutBatch, state: State) -> State:
    """What an advantage promises that remembers; its state after the batch."""
    before, given = copy.deepcopy(state), (batch.reward, batch.group, batch.length)
    chosen_N, after = advantage.select(*given, state)
    again_N, again = advantage.select(*given, json.loads(json.dumps(before)))
    if state != before or again != after or not torch.equal(again_N, chosen_N):
        _fail(advantage, "it chooses alike, by a state it does not change", batch, f"{before} gives {after}, {again}")
    chosen = batch.select(chosen_N).replace(reward=torch.arange(int(chosen_N.sum())))
    value_M = advantage(chosen.reward, chosen.group, chosen.length)
    if advantage.reads_state and bool((group_count(chosen.group, value_M == 0) > 1).any()):
        _fail(advantage, "it keeps all that it has chosen", chosen, f"it gives {value_M.tolist()}")
    return after


def check_token_advantage(advantage: TokenAdvantage, *, rounds: int = 100, seed: int = 0) -> None:
    """Check what every advantage by token promises.

    It compares, hashes, prints, pickles and can be described as YAML; it changes no input; it is deterministic and
    finite in every corner; it is 0 where the mask is 0; permuting the responses permutes it; and neither responses with
    an empty mask nor further columns of padding change the others.

    Raises:
        ContractError: naming the broken promise, with the batch.

    >>> from leanthink.algorithms import ReinforcePp
    >>> check_token_advantage(ReinforcePp())
    """
    generator = torch.Generator().manual_seed(seed)
    _check_object(advantage, "advantage")
    for batch in list(special_batches(generator)) + [random_batch(generator) for _ in range(rounds)]:
        length_N = batch.length.long() % 8  # 0 for some: no token takes part
        mask_NT = torch.arange(8) < length_N[:, None]
        reward_NT = torch.randint(-2, 3, mask_NT.shape, generator=generator).double() / 2 * mask_NT
        before = (reward_NT.clone(), mask_NT.clone(), batch.group.clone())
        value_NT = advantage(reward_NT, mask_NT, batch.group)
        if value_NT.shape != mask_NT.shape or value_NT.dtype != torch.float64 or not bool(value_NT.isfinite().all()):
            _fail(advantage, "one finite float64 number per token", batch, f"it gives {value_NT}")
        if not all(map(torch.equal, before, (reward_NT, mask_NT, batch.group))):
            _fail(advantage, "its inputs are not changed", batch)
        if bool((value_NT[~mask_NT] != 0).any()):
            _fail(advantage, "it is 0 where the mask is 0", batch, f"it gives {value_NT.tolist()}")
        order_M = torch.randperm(len(batch), generator=generator)
        alive_M = (length_N > 0).nonzero().squeeze(-1)
        padded = torch.nn.functional.pad
        for promise, rows_M, more in (
            ("deterministic", torch.arange(len(batch)), 0),
            ("permuting the responses permutes the result", order_M, 0),
            ("a response with an empty mask takes no part", alive_M, 0),
            ("padding changes nothing", torch.arange(len(batch)), 3),
        ):
            again_MT = advantage(
                padded(reward_NT[rows_M], (0, more)), padded(mask_NT[rows_M], (0, more)), batch.group[rows_M]
            )
            given_M, expected_M = again_MT[:, :8].flatten(), value_NT[rows_M].flatten()
            _close(advantage, promise, batch, given_M, expected_M, rows_M.repeat_interleave(8))


def _check_batch(reward: Reward, batch: RolloutBatch, state: State, generator: Generator, any_order: bool) -> State:
    """All that can be seen on one batch and state; returns the state after the batch."""

    def run(some: RolloutBatch) -> Breakdown:
        try:
            return reward.breakdown(some, state)
        except Exception as error:
            promise = FAILED.get(type(error), "every batch has a finite value")
            raise ContractError(_message(reward, promise, some, f"{type(error).__name__}: {error}")) from error

    batch_before, state_before = copy.deepcopy(batch), copy.deepcopy(state)
    result = run(batch)
    if batch != batch_before:
        _fail(reward, "the batch is not changed", batch_before)
    if state != state_before:
        _fail(reward, "the state that goes in is not changed", batch, f"{state_before} became {state}")
    for name, value_N in {"it": result.reward, **result.parts}.items():
        _finite(reward, name, batch, value_N)
    again = run(batch)
    _close(reward, "deterministic", batch, again.reward, result.reward)
    if again.state != result.state:
        _fail(reward, "deterministic", batch, f"new states are {result.state} and {again.state}")
    try:
        restored = json.loads(json.dumps(result.state, allow_nan=False))
        check_state(reward, restored, "state")
    except (TypeError, ValueError, StateError) as error:
        restored = error
    if restored != result.state:
        _fail(reward, "JSON gives the state back", batch, f"{result.state} became {restored!r}")

    order_M = torch.randperm(len(batch), generator=generator)
    if reward.reads_order:
        order_M = _ties_kept(batch.group, order_M)
    views = [("permuting the responses permutes the result", order_M)]
    if reward.scope <= Scope.GROUP:
        promise = "groups do not leak into each other (or declare scope BATCH)"
        views += [(promise, (batch.group == code).nonzero().squeeze(-1)) for code in range(batch.num_groups)]
    if reward.scope == Scope.RESPONSE:
        promise = "responses do not leak into each other (or declare scope GROUP)"
        views += [(promise, order_M[:1]), (promise, order_M[: len(batch) // 2].sort().values)]
    for promise, rows_M in views:
        view = run(batch.select(rows_M))
        _close(reward, promise, batch, view.reward, result.reward[rows_M], rows_M)
        if result.placement is not None and view.placement is not None:
            given, expected = _amounts(view.placement), _amounts(result.placement.select(rows_M, len(batch)))
            if given != expected:
                _fail(reward, promise, batch, f"it pays (row, token, amount) {given} instead of {expected}")
        elif result.placement is not view.placement:
            _fail(reward, promise, batch, "some batches have a placement and others none")
    if not any_order:
        _check_order(reward, batch, result.reward)
    return result.state


def _ties_kept(group_N: Tensor, order_M: Tensor) -> Tensor:
    """A permutation like ``order_M``, but groups first appear, and the responses of each stand, in their old order."""
    mixed_M = torch.empty_like(order_M)
    mixed_M[torch.argsort(group_N[order_M], stable=True)] = torch.argsort(group_N, stable=True)
    first = sorted({code: row for row, code in reversed([*enumerate(group_N.tolist())])}.values())
    return order_M.new_tensor([*first, *(row for row in mixed_M.tolist() if row not in first)])


def _amounts(placement: Placement) -> list[tuple[int, int, float]]:
    """What is placed where, in a fixed order."""
    columns = (placement.row.tolist(), placement.token.tolist(), placement.amount.tolist())
    return sorted((row, token, round(amount, 9)) for row, token, amount in zip(*columns, strict=True))


def _check_order(reward: Reward, batch: RolloutBatch, reward_N: RewardN) -> None:
    for code in range(batch.num_groups):
        in_group_N = batch.group == code
        right_M, wrong_M = (reward_N[in_group_N & (batch.correct == verdict)] for verdict in (1, 0))
        if len(right_M) and len(wrong_M) and (low := float(right_M.min())) < (high := float(wrong_M.max())) - 1e-9:
            shown = batch.select(in_group_N) if reward.scope <= Scope.GROUP else batch
            promise = "a correct response never scores below a wrong one of its group"
            cure = "shrink the penalty, set is_term if it is only added to another reward, or declare it"
            _fail(reward, promise, shown, f"{low:.6g} is below {high:.6g}; {cure} (wrong_may_beat_correct)")


def _measured(part: MeasuredReward, text: str, tokens: list[int]) -> float | str:
    promise = f"{part!r}: measure gives a number, or a text, for every response; of {text!r} "
    try:
        value = part.value_of(text, tokens)
    except Exception as error:
        raise ContractError(f"{promise}it raised {type(error).__name__}: {error}") from error
    if not isinstance(value, str) and not isinstance(value, Real):
        raise ContractError(f"{promise}it gave {value!r:.80}")
    return value


def _measured_columns(reward: Reward, given: Columns) -> Columns:
    words = sorted({word for text in TEXTS for word in text.split()})

    def drawn(part: MeasuredReward) -> Callable[[Generator, int], Column]:
        ids = [[words.index(word) for word in text.split()] for text in TEXTS]
        values = [_measured(part, *pair) for pair in zip(TEXTS, ids, strict=True)]

        def draw(generator: Generator, n: int) -> Column:
            drawn = [values[index] for index in torch.randint(len(values), (n,), generator=generator).tolist()]
            return drawn if isinstance(values[0], str) else torch.tensor(drawn, dtype=torch.float64)

        return draw

    return {part.column: drawn(part) for part in measured_rewards(reward) if part.column not in given}


def _check_object(value: Any, kind: Kind) -> Any:
    """It pickles, compares, hashes, prints and is YAML; returns a copy from a pickle."""
    try:
        copied = pickle.loads(pickle.dumps(value))
        rebuilt = build(describe(value), kind, kind)
        hashes = {hash(value), hash(copied), hash(rebuilt)}
    except Exception as error:
        raise ContractError(
            f"{value!r}: it must pickle, hash, and build again from its description: {type(error).__name__}: {error}; "
            "make it a frozen, keyword-only dataclass at the top of a module"
        ) from error
    if copied != value or rebuilt != value or len(hashes) > 1 or repr(copied) != repr(value):
        raise ContractError(f"{value!r}: pickled or built again, it is {rebuilt!r}; make it a frozen dataclass")
    return copied


def _finite(what: object, name: str, batch: RolloutBatch, value_N: Tensor) -> None:
    if value_N.shape != (len(batch),) or value_N.dtype != torch.float64 or not bool(value_N.isfinite().all()):
        _fail(what, "one finite float64 number per response", batch, f"{name} gives {value_N}")


def _close(
    what: object, promise: str, batch: RolloutBatch, given_M: Tensor, expected_M: Tensor, rows_M: Tensor | None = None
) -> None:
    if given_M.shape != expected_M.shape:
        _fail(what, promise, batch, f"shape {tuple(given_M.shape)} instead of {tuple(expected_M.shape)}")
    wrong_M = (given_M - expected_M).abs() > 1e-9 * expected_M.abs().clamp(min=1.0)
    if bool(wrong_M.any()):
        at = int(wrong_M.nonzero()[0])
        row = at if rows_M is None else int(rows_M[at])
        _fail(what, promise, batch, f"row {row} gets {given_M[at].item():.6g} instead of {expected_M[at].item():.6g}")


def _message(what: object, promise: str, batch: RolloutBatch, detail: str = "") -> str:
    return f"{what!r}: broken promise: {promise}{f': {detail}' if detail else ''}\n  batch = {snippet(batch)}"


def _fail(what: object, promise: str, batch: RolloutBatch, detail: str = "") -> None:
    raise ContractError(_message(what, promise, batch, detail))
