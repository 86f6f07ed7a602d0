"""Contract tests for rewards and advantages, your own included.

Call :func:`check_reward` or :func:`check_advantage` from any test. They raise :class:`ContractError`, which names the
promise that is broken and shows the batch as code that builds it again. Where a value is wrong, the batch is cut down to
the group it is wrong in, if the scope allows. ``_N`` runs over responses.
"""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
from jaxtyping import Int
from torch import Generator, Tensor

from leanthink.algorithms import Advantage
from leanthink.batch import Column, RolloutBatch
from leanthink.config import Kind, build, describe
from leanthink.errors import LeanthinkError
from leanthink.module import Breakdown, Reward, RewardN, Scope, State
from leanthink.scoring import text_rewards

Columns: TypeAlias = Mapping[str, Callable[[Generator, int], Column]]

TEXTS = ("<think> 2+2 </think> 4", "<think> 2+2", "4", "", "<think> </think> <think> so </think> 4", "wait, wait, 4")
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
    draw = _drawer(generator)
    group: list[int] = []
    length: list[int] = []
    correct: list[int] = []
    truncated: list[int] = []
    for code in range(draw(groups) + 1):
        kind = KINDS[draw(len(KINDS))]
        for _ in range(draw(size) + 1):
            group.append(code)
            length.append(1000 * draw(2) if kind == "ties" else draw(16_000))
            correct.append({"right": 1, "wrong": 0}.get(kind, draw(2)))
            truncated.append(1 if kind == "truncated" else int(draw(8) == 0))
    order = torch.randperm(len(group), generator=generator).tolist()
    return RolloutBatch.of(
        group=[group[row] for row in order],
        length=[length[row] for row in order],
        correct=[correct[row] for row in order],
        truncated=[truncated[row] for row in order],
        step=step,
        **{name: make(generator, len(order)) for name, make in (columns or {}).items()},
    )


def special_batches(generator: Generator, *, step: int = 0, columns: Columns | None = None) -> Iterator[RolloutBatch]:
    """The corners: no response, groups of one, all equal, all right, all wrong, all truncated, nothing written."""
    rows: list[tuple[list[int], list[int], list[int], int]] = [  # group, length, correct, truncated
        ([], [], [], 0),
        ([0], [700], [1], 0),
        ([0], [700], [0], 1),
        ([0, 1, 2], [5, 700, 9], [1, 0, 1], 0),
        ([0, 0, 0, 0], [700] * 4, [1] * 4, 0),
        ([0, 0, 0, 0], [700] * 4, [1, 0, 1, 0], 0),
        ([0, 0, 0], [9, 700, 80], [1] * 3, 0),
        ([0, 0, 0], [9, 700, 80], [0] * 3, 0),
        ([0, 0, 1, 1], [16_000] * 4, [1, 0, 0, 0], 1),
        ([0, 0], [0, 0], [0, 1], 0),
    ]
    for group, length, correct, truncated in rows:
        extras = {name: make(generator, len(group)) for name, make in (columns or {}).items()}
        yield RolloutBatch.of(
            group=group, length=length, correct=correct, truncated=[truncated] * len(group), step=step, **extras
        )


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
    permutes the result; nothing leaks beyond its scope; its state survives JSON; and in no group does a correct
    response score below a wrong one, unless the reward is a term.

    Args:
        reward: the reward, at the settings to be checked.
        columns: how to draw the columns it requires; those of text rewards are measured on sample texts.
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
    columns = {**_text_columns(reward), **(columns or {})}
    if lacking := sorted(reward.requires - set(columns) - set(RolloutBatch.CORE)):
        raise ContractError(
            f"{reward!r} requires {lacking[0]!r}; give columns={{{lacking[0]!r}: generator, n -> column}}"
        )
    copied = _check_object(reward, "reward")
    for step in steps:
        state = reward.init()
        batches = list(special_batches(generator, step=step, columns=columns))
        batches += [random_batch(generator, step=step, columns=columns) for _ in range(rounds)]
        for batch in batches:
            if reward.is_term:  # inside a chain
                running_N = torch.randint(-4, 5, (len(batch),), generator=generator) / 4
                batch = batch.replace(reward=running_N)
            state = _RewardCase(reward, batch, state).check(generator, wrong_may_beat_correct or reward.is_term)
    if reward != copied:
        raise ContractError(f"{reward!r}: evaluating it must not change it; what it remembers belongs in its state")


def check_advantage(advantage: Advantage, *, centred: bool = True, rounds: int = 100, seed: int = 0) -> None:
    """Check what every advantage promises.

    It compares, hashes, prints, pickles and can be described as YAML; it changes neither input; it is deterministic and
    finite in every corner; permuting the responses permutes it; groups do not leak; and, if ``centred``, it is 0 where
    all rewards of a group are equal and sums to 0 over each group.

    Raises:
        ContractError: naming the broken promise, with the batch.

    >>> from leanthink.algorithms import Grpo
    >>> check_advantage(Grpo())
    """
    generator = torch.Generator().manual_seed(seed)
    _check_object(advantage, "advantage")
    batches = list(special_batches(generator)) + [random_batch(generator) for _ in range(rounds)]
    for batch in batches:
        group_N = batch.group
        shaped_N = batch.correct - torch.randint(0, 3, (len(batch),), generator=generator) / 10
        for reward_N in (batch.correct, shaped_N, torch.full_like(shaped_N, 0.1)):
            shown = batch.replace(reward=reward_N)
            kept_N = reward_N.clone()
            value_N = advantage(reward_N, group_N)
            if value_N.shape != (len(batch),) or value_N.dtype != torch.float64 or not bool(value_N.isfinite().all()):
                _fail(advantage, "one finite float64 number per response", shown, f"it gives {value_N}")
            if not torch.equal(reward_N, kept_N) or not torch.equal(group_N, shown.group):
                _fail(advantage, "its inputs are not changed", shown)
            _close(advantage, "deterministic", shown, advantage(reward_N, group_N), value_N)
            order_M = torch.randperm(len(batch), generator=generator)
            mixed = shown.select(order_M)
            promise = "permuting the responses permutes the result"
            _close(advantage, promise, shown, advantage(mixed.reward, mixed.group), value_N[order_M], order_M)
            for code in range(batch.num_groups):
                rows_M = (group_N == code).nonzero().squeeze(-1)
                alone_M = advantage(reward_N[rows_M], torch.zeros_like(rows_M))
                _close(advantage, "groups do not leak into each other", shown, alone_M, value_N[rows_M], rows_M)
                group = shown.select(rows_M)
                if centred and abs(float(alone_M.sum())) > 1e-7 * len(rows_M):
                    _fail(advantage, "it sums to 0 over a group", group, f"it gives {alone_M.tolist()}")
                if centred and bool((group.reward == group.reward[0]).all()) and bool((alone_M != 0).any()):
                    _fail(advantage, "it is exactly 0 where rewards are equal", group, f"it gives {alone_M.tolist()}")


class _RewardCase:
    """One reward, batch and state."""

    def __init__(self, reward: Reward, batch: RolloutBatch, state: State) -> None:
        self.reward, self.batch, self.state = reward, batch, state

    def check(self, generator: Generator, any_order: bool) -> State:
        """Check everything; returns the state after the batch."""
        reward, batch, state = self.reward, self.batch, self.state
        batch_before, state_before = copy.deepcopy(batch), copy.deepcopy(state)
        result = self.run(batch)
        if batch != batch_before:
            _fail(reward, "the batch is not changed", batch_before)
        if state != state_before:
            _fail(reward, "the state that goes in is not changed", batch, f"{state_before} became {state}")
        for name, value_N in {"": result.reward, **result.parts}.items():
            if value_N.shape != (len(batch),) or value_N.dtype != torch.float64 or not bool(value_N.isfinite().all()):
                _fail(reward, "one finite float64 number per response", batch, f"{name or 'it'} gives {value_N}")
        again = self.run(batch)
        _close(reward, "deterministic", batch, again.reward, result.reward)
        if again.state != result.state:
            _fail(reward, "deterministic", batch, f"new states are {result.state} and {again.state}")
        self.check_json(result.state)

        order_M = torch.randperm(len(batch), generator=generator)
        self.check_rows("permuting the responses permutes the result", order_M, result)
        if reward.scope <= Scope.GROUP:
            for code in range(batch.num_groups):
                rows_M = (batch.group == code).nonzero().squeeze(-1)
                self.check_rows("groups do not leak into each other (or declare scope BATCH)", rows_M, result)
        if reward.scope == Scope.RESPONSE and len(batch) > 1:
            for rows_M in (order_M[:1], order_M[: len(batch) // 2].sort().values):
                self.check_rows("responses do not leak into each other (or declare scope GROUP)", rows_M, result)
        if not any_order:
            self.check_order(result.reward)
        return result.state

    def run(self, batch: RolloutBatch) -> Breakdown:
        try:
            return self.reward.breakdown(batch, self.state)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raise ContractError(_message(self.reward, "every batch has a finite value", batch, text)) from error

    def check_json(self, state: State) -> None:
        try:
            restored = json.loads(json.dumps(state, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ContractError(_message(self.reward, "JSON can hold the state", self.batch, f"{error}")) from error
        if restored != state:
            _fail(self.reward, "JSON gives the state back", self.batch, f"{state} became {restored}")

    def check_rows(self, promise: str, rows_M: Int[Tensor, " M"], whole: Breakdown) -> None:
        some = self.run(self.batch.select(rows_M))
        _close(self.reward, promise, self.batch, some.reward, whole.reward[rows_M], rows_M)

    def check_order(self, reward_N: RewardN) -> None:
        batch = self.batch
        for code in range(batch.num_groups):
            in_group_N = batch.group == code
            right_M, wrong_M = (reward_N[in_group_N & (batch.correct == verdict)] for verdict in (1, 0))
            if len(right_M) and len(wrong_M) and float(right_M.min()) < float(wrong_M.max()) - 1e-9:
                shown = batch.select(in_group_N) if self.reward.scope <= Scope.GROUP else batch
                detail = f"correct {float(right_M.min()):.6g} is below wrong {float(wrong_M.max()):.6g}"
                cure = "shrink the penalty, set is_term if it is only added to another reward, or declare it"
                promise = "a correct response never scores below a wrong one of its group"
                _fail(self.reward, promise, shown, f"{detail}; {cure} (wrong_may_beat_correct)")


def snippet(batch: RolloutBatch) -> str:
    """Code that builds the batch again.

    >>> snippet(RolloutBatch.of(group=["a", "b"], length=[3, 4], correct=[1, 0], budget=[0.5, 8]))
    "RolloutBatch.of(group=[0, 1], length=[3, 4], correct=[1, 0], truncated=[0, 0], step=0, **{'budget': [0.5, 8]})"
    """
    core = ", ".join(f"{name}={_shown(batch.values(name))}" for name in batch.CORE if name != "reward")
    extras = ", ".join(f"{name!r}: {_shown(values)}" for name, values in batch.extras.items())
    running = f".replace(reward={_shown(batch.reward)})" if bool((batch.reward != 0).any()) else ""
    return f"RolloutBatch.of({core}, step={batch.step}{f', **{{{extras}}}' if extras else ''}){running}"


def _shown(values: Column) -> str:
    if not isinstance(values, Tensor) or values.ndim != 1:
        return repr(values)
    numbers = [float(value) for value in values]
    texts = [str(int(x)) if x.is_integer() else repr(x) if x == x else "float('nan')" for x in numbers]
    return f"[{', '.join(texts)}]"


def _drawer(generator: Generator) -> Callable[[int], int]:
    """``draw(n)`` is one of 0..n-1; numbers are drawn a thousand at a time, as one by one is slow."""

    def numbers() -> Iterator[float]:
        while True:
            yield from torch.rand(1000, generator=generator, dtype=torch.float64).tolist()

    source = numbers()
    return lambda below: int(next(source) * below)


def _text_columns(reward: Reward) -> Columns:
    def measured(measure: Callable[[str], float]) -> Callable[[Generator, int], Column]:
        values = torch.tensor([measure(text) for text in TEXTS], dtype=torch.float64)
        return lambda generator, n: values[torch.randint(len(values), (n,), generator=generator)]

    return {part.column: measured(part.measure) for part in text_rewards(reward)}


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
    for name, other in (("pickled", copied), ("described and built again", rebuilt)):
        if other != value or len(hashes) > 1:
            raise ContractError(f"{value!r}: {name}, it is unequal ({other!r}); make it a frozen dataclass")
    if repr(copied) != repr(value):
        raise ContractError(f"{value!r}: a copy prints differently ({copied!r}); make it a dataclass with a plain repr")
    return copied


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
