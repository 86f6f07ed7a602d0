"""Reward: what a response is worth, as a function of the batch. Every combinator is one, too."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.batch import RolloutBatch
from leanthink.errors import BatchError, StateError

State: TypeAlias = dict[str, Any]
RewardN: TypeAlias = Float[Tensor, " N"]


class Scope(IntEnum):
    """How many responses a reward has to see at once."""

    RESPONSE = 0
    GROUP = 1
    BATCH = 2


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """A reward with its parts: ``reward`` (N,), the new ``state``, and every named part (N,) by its path."""

    reward: RewardN
    state: State
    parts: Mapping[str, RewardN]


class Reward(ABC):
    """What each response is worth. Subclass it as a frozen dataclass and write :meth:`score`.

    Class facts:
        scope: the widest set of responses one value depends on.
        requires: columns it reads beside the core ones.
        reads_state: whether it has state across steps (see :class:`StatefulReward`).
        reads_order: whether ties between groups go by the order in which the groups first appear.
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
        """Whether ties between groups go by the order in which the groups first appear."""
        return False

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

    @abstractmethod
    def score(self, batch: RolloutBatch) -> RewardN:
        """The reward (N,) of each response; must not change the batch."""

    def breakdown(self, batch: RolloutBatch, state: State | None = None) -> Breakdown:
        """The reward together with every named part."""
        if state:
            raise StateError(
                f"state has parts {sorted(state)}, {type(self).__name__} has none; "
                "it was saved by another recipe: start a new run or load that recipe"
            )
        return Breakdown(reward=_checked(self, batch, self.score(batch)), state={}, parts={})

    def __call__(self, batch: RolloutBatch, state: State | None = None) -> tuple[RewardN, State]:
        """The reward (N,) and the state after this step."""
        result = self.breakdown(batch, state)
        return result.reward, result.state


class StatefulReward(Reward):
    """A reward that remembers across training steps. Write :meth:`init` and :meth:`update`.

    State goes in and comes out; it is a dict that JSON can hold, and its keys are always those of :meth:`init` (what
    grows goes below one of them). It is saved with the checkpoint and never sees a validation batch.
    """

    reads_state = True

    @abstractmethod
    def init(self) -> State:
        """The state before the first step."""

    @abstractmethod
    def update(self, batch: RolloutBatch, state: State) -> tuple[RewardN, State]:
        """The reward (N,) of each response and the new state; changes neither argument."""

    def score(self, batch: RolloutBatch) -> RewardN:
        """The reward as at the first step."""
        return self.update(batch, self.init())[0]

    def breakdown(self, batch: RolloutBatch, state: State | None = None) -> Breakdown:
        """The reward and the state after this batch."""
        fresh = self.init()
        if state is not None and state.keys() != fresh.keys():
            raise StateError(
                f"{type(self).__name__}: state has the keys {sorted(state)}, this reward's are {sorted(fresh)}; "
                "it was saved by another reward: start a new run or load that recipe"
            )
        reward, after = self.update(batch, fresh if state is None else state)
        return Breakdown(reward=_checked(self, batch, reward), state=after, parts={})


class MeasuredReward(Reward):
    """A reward measured on each response where it is: in the reward worker, not on the driver.

    Its value travels as the column :attr:`column`. Subclass :class:`TextReward` or :class:`TokenReward`.
    """

    is_term = True

    @property
    def column(self) -> str:
        """The column the measured values travel in: the reward and its settings, so that two of them never clash.

        ``1`` and ``1.0`` give the same name, as they make equal rewards.
        """
        if not dataclasses.is_dataclass(self):
            return repr(self)
        settings = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        whole = {name: float(value) for name, value in settings.items() if type(value) is int}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in (settings | whole).items())})"

    @property
    def requires(self) -> frozenset[str]:
        """The column of measured values."""
        return frozenset({self.column})

    @abstractmethod
    def value_of(self, text: str, tokens: Sequence[Hashable]) -> float:
        """The value of one response, given as text (without its end token) and as tokens (with it)."""

    def score(self, batch: RolloutBatch) -> RewardN:
        """The values measured where the response was."""
        return batch.column(self.column)


class TextReward(MeasuredReward):
    """A reward measured on each response's text. Write :meth:`measure`."""

    @abstractmethod
    def measure(self, response: str) -> float:
        """The value of one response's text."""

    def value_of(self, text: str, tokens: Sequence[Hashable]) -> float:
        """The value of the text."""
        return self.measure(text)


class TokenReward(MeasuredReward):
    """A reward measured on each response's token ids. Write :meth:`measure`.

    Tokens are told apart, and nothing else: a replay of stored texts may give words in their place.
    """

    @abstractmethod
    def measure(self, tokens: Sequence[Hashable]) -> float:
        """The value of one response's tokens, its end token included."""

    def value_of(self, text: str, tokens: Sequence[Hashable]) -> float:
        """The value of the tokens."""
        return self.measure(tokens)


Part: TypeAlias = Callable[[str, RolloutBatch], RewardN]

WRAPPED = "of"  # a wrapper's only part: it adds no level to the names in a breakdown


class Composite(Reward):
    """A reward made of rewards. Write :meth:`combine`; scope, columns, state and parts follow from the children."""

    def children(self) -> Mapping[str, Reward]:
        """The fields that are rewards."""
        values = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))  # type: ignore[arg-type]
        return {name: value for name, value in values if isinstance(value, Reward)}

    @property
    def scope(self) -> Scope:
        """The widest scope of the parts."""
        return max((child.scope for child in self.children().values()), default=Scope.RESPONSE)

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
        reward = self.combine(batch, walk)
        return Breakdown(reward=_checked(self, batch, reward), state=walk.state, parts=walk.parts)


@dataclass
class _Walk:
    """One evaluation of a composite: runs each part with its own state and collects what comes out."""

    children: Mapping[str, Reward]
    state: State
    parts: dict[str, RewardN] = field(default_factory=dict)

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
        below = "" if name == WRAPPED else f"{name}/"
        if below:
            self.parts[name] = result.reward
        self.parts |= {f"{below}{path}": value for path, value in result.parts.items()}
        return result.reward


def _checked(reward: Reward, batch: RolloutBatch, value: Any) -> RewardN:
    """Exactly one finite number per response, or an error that names the reward and the row."""
    name = type(reward).__name__
    if not isinstance(value, Tensor) or value.shape != (len(batch),):
        given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise BatchError(f"{name} returned {given}; return a tensor of shape ({len(batch)},), one value per response")
    finite_N = torch.isfinite(value)
    if not bool(finite_N.all()):
        row = int((~finite_N).nonzero()[0])
        raise BatchError(f"{name} returned {value[row].item()} for row {row}; rewards must be finite")
    return value.double()
