"""Reward: what a response is worth, as a function of the batch. Every combinator is one, too."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Self, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError, StateError
from leanthink.core.placement import Placement, joined

State: TypeAlias = dict[str, Any]
RewardN: TypeAlias = Float[Tensor, " N"]


class Scope(IntEnum):
    """How many responses a reward has to see at once."""

    RESPONSE = 0
    GROUP = 1
    BATCH = 2


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """A reward with its parts: ``reward`` (N,), the new ``state``, and every named part (N,) by its path.

    ``placement`` says at which tokens some of the reward falls; the rest, or all without one, falls on the last.
    """

    reward: RewardN
    state: State
    parts: Mapping[str, RewardN]
    placement: Placement | None = None


class Reward(ABC):
    """What each response is worth. Subclass it as a frozen dataclass and write :meth:`score`.

    Class facts:
        scope: the widest set of responses one value depends on.
        requires: columns it reads beside the core ones.
        reads_state: whether it has state across steps (see :class:`StatefulReward`).
        reads_order: whether ties go by the order of the batch: between groups, by which first appears; within a group,
            by which response comes first.
        is_placed: whether it says at which tokens some of it falls (see :class:`PlacedReward`).
        in_tokens: its arguments that are lengths in tokens, which a run compares with the response limit.
        is_term: a term to be added to a correctness reward, not a reward by itself: alone it may rank a wrong
            response above a correct one.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, kw_only=True)
    ... class PerToken(Reward):
    ...     price: float
    ...     is_term = True
    ...     def score(self, batch):
    ...         return -self.price * batch.length
    >>> PerToken(price=0.5)(RolloutBatch.of(group=[0, 0], length=[2, 6], correct=[1, 1]))[0]
    tensor([-1., -3.], dtype=torch.float64)
    """

    @property
    def scope(self) -> Scope:
        """How many responses one value depends on."""
        return Scope.RESPONSE

    @property
    def requires(self) -> frozenset[str]:
        """The columns read beside the core ones."""
        return frozenset()

    @property
    def reads_state(self) -> bool:
        """Whether there is state across steps."""
        return False

    @property
    def reads_order(self) -> bool:
        """Whether ties go by the order of the batch."""
        return False

    @property
    def is_placed(self) -> bool:
        """Whether it says at which tokens some of it falls."""
        return False

    @property
    def in_tokens(self) -> tuple[str, ...]:
        """The arguments that are lengths in tokens."""
        return ()

    @property
    def is_term(self) -> bool:
        """Whether this is a term to add to a correctness reward rather than a reward by itself."""
        return False

    def children(self) -> Mapping[str, Reward]:
        """The rewards it is made of, by name."""
        return {}

    def walk(self) -> Iterator[Reward]:
        """This reward and everything below it."""
        yield self
        for child in self.children().values():
            yield from child.walk()

    def init(self) -> State:
        """The state before the first step: a JSON-able dict."""
        return {}

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """Numbers of its own to be shown among a run's metrics: targets, budgets, multipliers in force."""
        return {}

    def events(self, before: State, after: State) -> Iterable[str]:
        """What a step did that belongs into the log, told from the states before and after it."""
        return ()

    def wrong_state(self, state: State) -> str | None:
        """What is wrong with a state of the right shape, as somebody may have edited it; None for nothing."""
        return None

    def taken_over(self, before: Self, saved: State) -> State | None:
        """What this goes on with where ``before``, the same class with other settings, saved a state.

        None where it means nothing under the present settings: then this starts afresh.
        """
        return saved

    @abstractmethod
    def score(self, batch: RolloutBatch) -> RewardN:
        """The reward (N,) of each response; a batch that it changed is refused."""

    def breakdown(self, batch: RolloutBatch, state: State | None = None) -> Breakdown:
        """The reward together with every named part."""
        _refuse_state(self, state)
        return Breakdown(reward=_checked(self, batch, batch.read_by(self, self.score)), state={}, parts={})

    def __call__(self, batch: RolloutBatch, state: State | None = None) -> tuple[RewardN, State]:
        """The reward (N,) and the state after this step."""
        result = self.breakdown(batch, state)
        return result.reward, result.state


class StatefulReward(Reward):
    """A reward that remembers across training steps. Write :meth:`init` and :meth:`update`.

    State goes in and comes out; it is a dict that JSON can hold, and its keys are always those of :meth:`init` (what
    grows goes below one of them: a table, or a list, of numbers, empty at first). It is saved with the checkpoint and
    never sees a validation batch.
    """

    reads_state = True

    @abstractmethod
    def init(self) -> State:
        """The state before the first step."""

    @abstractmethod
    def update(self, batch: RolloutBatch, state: State) -> tuple[RewardN, State]:
        """Two results: the reward (N,) of each response, and the state after the batch; changes neither argument."""

    def score(self, batch: RolloutBatch) -> RewardN:
        """The reward as at the first step."""
        return self.breakdown(batch).reward

    def breakdown(self, batch: RolloutBatch, state: State | None = None) -> Breakdown:
        """The reward and the state after this batch."""
        fresh = self.init()
        if state is not None and state.keys() != fresh.keys():
            raise StateError(
                f"{type(self).__name__}: state has the keys {sorted(state)}, this reward's are {sorted(fresh)}; "
                "it was saved by another reward: start a new run or load that recipe"
            )
        both = batch.read_by(self, lambda one: self.update(one, fresh if state is None else state))
        reward, after = updated(self, both, fresh)
        return Breakdown(reward=_checked(self, batch, reward), state=after, parts={})


class PlacedReward(Reward):
    """A reward of which some falls on earlier tokens than the last. Write :meth:`place`.

    Only advantages by token see where it falls; for one advantage per response the total counts.
    """

    is_placed = True

    @abstractmethod
    def place(self, batch: RolloutBatch) -> tuple[RewardN, Placement]:
        """The total (N,) of each response, and which amounts of it fall on which tokens."""

    def score(self, batch: RolloutBatch) -> RewardN:
        """The total (N,) of each response."""
        return self.place(batch)[0]

    def breakdown(self, batch: RolloutBatch, state: State | None = None) -> Breakdown:
        """The totals and where they fall."""
        _refuse_state(self, state)
        reward, placement = batch.read_by(self, self.place)
        _check_placement(self, batch, placement)
        return Breakdown(reward=_checked(self, batch, reward), state={}, parts={}, placement=placement)


Part: TypeAlias = Callable[[str, RolloutBatch], RewardN]

WRAPPED = "of"  # a wrapper's only part: it adds no level to the names in a breakdown


class Composite(Reward):
    """A reward made of rewards. Write :meth:`combine`; scope, columns, state and parts follow from the children.

    :attr:`own_scope` is the widest set of responses that :meth:`combine` itself looks at. A placed part (see
    :class:`PlacedReward`) is refused, because its amounts at single tokens would no longer add up to the result, unless
    :attr:`carries` names it: the result must then be the part times :meth:`weight`, plus what does not depend on it. A
    subclass with a ``__post_init__`` of its own calls ``super().__post_init__()``.
    """

    own_scope: ClassVar[Scope] = Scope.RESPONSE

    def __post_init__(self) -> None:
        self._refuse_placed(name for name, child in self.children().items() if child.is_placed)

    @property
    def carries(self) -> frozenset[str]:
        """The parts whose placement it passes on."""
        return frozenset()

    def weight(self, name: str, batch: RolloutBatch, value: Mapping[str, RewardN]) -> RewardN:
        """By what the part ``name`` counts in each response's result; ``value`` holds the values of all parts."""
        return torch.ones_like(value[name])

    def _refuse_placed(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.carries:
                cls = type(self).__name__
                raise ConfigError(
                    f"{cls}: its part {name!r} pays single tokens, and {cls} is not linear in it, so that the tokens "
                    "would no longer add up to the reward; put it beside, under a sum, instead of inside"
                )

    def children(self) -> Mapping[str, Reward]:
        """The fields that are rewards."""
        values = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))  # type: ignore[arg-type]
        return {name: value for name, value in values if isinstance(value, Reward)}

    @property
    def scope(self) -> Scope:
        """Its own, or that of a part, whichever is wider."""
        return max([self.own_scope, *(child.scope for child in self.children().values())])

    @property
    def requires(self) -> frozenset[str]:
        """The columns any part reads."""
        return frozenset().union(*(child.requires for child in self.children().values()))

    @property
    def reads_state(self) -> bool:
        """Whether any part has state."""
        return any(child.reads_state for child in self.children().values())

    @property
    def reads_order(self) -> bool:
        """Whether any part does."""
        return any(child.reads_order for child in self.children().values())

    @property
    def is_placed(self) -> bool:
        """Whether any part is."""
        return any(child.is_placed for child in self.children().values())

    @property
    def is_term(self) -> bool:
        """Terms only make a term; what is added to a correctness reward is checked as a whole."""
        return all(child.is_term for child in self.children().values())

    def init(self) -> State:
        """The state of each part that has one, by name."""
        return {name: child.init() for name, child in self.children().items() if child.reads_state}

    @abstractmethod
    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The reward from its parts; ``part(name, batch)`` is the value (N,) of one of them."""

    def score(self, batch: RolloutBatch) -> RewardN:
        """The reward as at the first step."""
        return self.breakdown(batch).reward

    def breakdown(self, batch: RolloutBatch, state: State | None = None) -> Breakdown:
        """The reward together with every named part."""
        walk = _Walk(self.children(), self.init() if state is None else state)
        reward = _checked(self, batch, batch.read_by(self, lambda one: self.combine(one, walk)))
        self._refuse_placed(walk.placements)  # where the constructor did not
        placement = joined(
            placed.times(self.weight(name, batch, walk.values)) for name, placed in walk.placements.items()
        )
        return Breakdown(reward=reward, state=walk.state, parts=walk.parts, placement=placement)


@dataclass
class _Walk:
    """One evaluation of a composite: runs each part with its own state and collects what comes out."""

    children: Mapping[str, Reward]
    state: State
    parts: dict[str, RewardN] = field(default_factory=dict)
    values: dict[str, RewardN] = field(default_factory=dict)
    placements: dict[str, Placement] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = {name for name, child in self.children.items() if child.reads_state}
        if self.state.keys() != expected:
            raise StateError(
                f"state has parts {sorted(self.state)}, the reward has stateful parts {sorted(expected)}; "
                "it was saved by another recipe: start a new run or load that recipe"
            )
        self.state = dict(self.state)

    def __call__(self, name: str, batch: RolloutBatch) -> RewardN:
        child = self.children[name]
        result = child.breakdown(batch, self.state.get(name))
        if child.reads_state:
            self.state[name] = result.state
        self.values[name] = result.reward
        if result.placement is not None:
            self.placements[name] = result.placement
        below = "" if name == WRAPPED else f"{name}/"
        if below:
            self.parts[name] = result.reward
        self.parts |= {f"{below}{path}": value for path, value in result.parts.items()}
        return result.reward


def updated(reward: Reward, result: Any, start: State) -> tuple[RewardN, State]:
    """What ``update`` returned, where that is rewards and a state with the keys of the one at the start.

    Raises:
        StateError: naming what was returned and what to return.
    """
    name, cure = type(reward).__name__, "return the rewards (N,) and the state after the batch, as a pair"
    if not (isinstance(result, tuple) and len(result) == 2):
        raise StateError(f"{name}.update returned {_kind(result)}; {cure}")
    value, state = result
    if not isinstance(value, Tensor) or not isinstance(state, dict):
        raise StateError(f"{name}.update returned {_kind(value)} and {_kind(state)}; {cure}, the state a dict")
    if state.keys() != start.keys():
        raise StateError(
            f"{name}.update returned a state with the keys {sorted(state)}, it starts with {sorted(start)}; keep "
            "these, and let what grows grow below one of them"
        )
    return value, state


def _kind(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{type(value).__name__}"


def _refuse_state(reward: Reward, state: State | None) -> None:
    if state:
        raise StateError(
            f"state has parts {sorted(state)}, {type(reward).__name__} has none; "
            "it was saved by another recipe: start a new run or load that recipe"
        )


def _check_placement(reward: Reward, batch: RolloutBatch, placement: Placement) -> None:
    """Finite amounts at tokens that the responses have, or an error that names the reward and the row."""
    name = type(reward).__name__
    inside_K = (placement.token >= 0) & (placement.token < batch.length[placement.row])
    if not bool(inside_K.all()):
        at = int((~inside_K).nonzero()[0])
        row, token = int(placement.row[at]), int(placement.token[at])
        raise BatchError(
            f"{name} pays token {token} of row {row}, which has {int(batch.length[row])}; count tokens from 0"
        )
    finite_K = placement.amount.isfinite()
    if not bool(finite_K.all()):
        row = int(placement.row[~finite_K][0])
        raise BatchError(
            f"{name} pays {placement.amount[~finite_K][0].item()} to a token of row {row}; give finite amounts"
        )


def _checked(reward: Reward, batch: RolloutBatch, value: Any) -> RewardN:
    """Exactly one finite number per response, or an error that names the reward and the row."""
    name = type(reward).__name__
    if not isinstance(value, Tensor) or value.shape != (len(batch),):
        given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise BatchError(f"{name} returned {given}; return a tensor of shape ({len(batch)},), one value per response")
    if (bad := (~torch.isfinite(value)).nonzero()).numel():
        row = int(bad[0])
        raise BatchError(f"{name} returned {value[row].item()} for row {row}; rewards must be finite")
    return value.double()
