"""Rewards made of rewards. ``_N`` responses, ``_G`` groups."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.groups import group_centred, group_max, group_mean, group_min, group_std
from leanthink.core.reward import WRAPPED, Breakdown, Composite, Part, Reward, RewardN, Scope, State
from leanthink.core.schedules import Number, at


@final
@dataclass(frozen=True, kw_only=True)
class Running(Reward):
    """The running value inside a :class:`Chain`; 0 outside one."""

    is_term = True

    def score(self, batch: RolloutBatch) -> RewardN:
        """``batch.reward``."""
        return batch.reward.clone()


class _Named(Composite):
    """Parts under names of the caller's choice; the names are the keys of state and breakdown."""

    parts: tuple[tuple[str, Reward], ...]

    def __init__(self, /, **parts: Reward) -> None:
        for name, part in parts.items():
            if not isinstance(part, Reward):
                raise ConfigError(f"{type(self).__name__.lower()}.{name} is {part!r}; give a reward")
            if "/" in name or name == WRAPPED:
                raise ConfigError(
                    f"{type(self).__name__.lower()}: a part may not be named {name!r}: names make up the paths of the "
                    f"breakdown, with '/' between them and {WRAPPED!r} left out; choose another"
                )
        if not parts:
            raise ConfigError(f"{type(self).__name__.lower()} has no parts; name at least one")
        object.__setattr__(self, "parts", tuple(parts.items()))
        self.__post_init__()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={part!r}' for name, part in self.parts)})"

    def children(self) -> Mapping[str, Reward]:
        """The named parts."""
        return dict(self.parts)

    @abstractmethod
    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The reward from its parts."""


@final
@dataclass(frozen=True, init=False, repr=False)
class Sum(_Named):
    """The sum of its parts.

    >>> from leanthink.rewards import Correct, Scale, SoftOverlong
    >>> reward = Sum(correct=Correct(), overlong=SoftOverlong(limit=10, buffer=4))
    >>> batch = RolloutBatch.of(group=[0, 0], length=[5, 8], correct=[1, 1])
    >>> reward.breakdown(batch).parts["overlong"]
    tensor([ 0.0000, -0.5000], dtype=torch.float64)
    >>> reward(batch)[0]
    tensor([1.0000, 0.5000], dtype=torch.float64)
    """

    parts: tuple[tuple[str, Reward], ...]

    @property
    def carries(self) -> frozenset[str]:
        """All parts."""
        return frozenset(self.children())

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """Adds the parts in order."""
        return torch.stack([part(name, batch) for name in self.children()]).sum(0)


@final
@dataclass(frozen=True, init=False, repr=False)
class Chain(_Named):
    """Each part sees the value so far in ``batch.reward`` and returns the next; the last one's is the result.

    >>> from leanthink.rewards import Correct
    >>> reward = Chain(correct=Correct(right=2.0), clip=Clip(high=1.0))
    >>> reward(RolloutBatch.of(group=[0, 0], length=[5, 8], correct=[1, 0]))[0]
    tensor([1., 0.], dtype=torch.float64)
    """

    parts: tuple[tuple[str, Reward], ...]

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """Runs the parts one after another."""
        for name in self.children():
            batch = batch.replace(reward=part(name, batch))
        return batch.reward


@final
@dataclass(frozen=True, kw_only=True)
class Scale(Composite):
    """``by`` times another reward; ``by`` may be a schedule, which makes a warm-up.

    >>> from leanthink.rewards import Correct
    >>> Scale(by=0.5, of=Correct())(RolloutBatch.of(group=[0], length=[5], correct=[1]))[0]
    tensor([0.5000], dtype=torch.float64)
    """

    by: Number
    of: Reward = Running()
    carries = frozenset({WRAPPED})

    def weight(self, name: str, batch: RolloutBatch, value: Mapping[str, RewardN]) -> RewardN:
        """``by`` at the batch's step."""
        return torch.full_like(value[name], at(self.by, batch.step))

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The part times ``by`` at the batch's step."""
        return at(self.by, batch.step) * part("of", batch)


@final
@dataclass(frozen=True, kw_only=True)
class Gate(Composite):
    """Another reward where ``column`` is nonzero (where it is zero, if ``negate``), else 0.

    >>> from leanthink.rewards import SoftOverlong
    >>> reward = Gate(column="correct", of=SoftOverlong(limit=10, buffer=4))
    >>> reward(RolloutBatch.of(group=[0, 0], length=[8, 8], correct=[1, 0]))[0]
    tensor([-0.5000,  0.0000], dtype=torch.float64)
    """

    column: str
    of: Reward = Running()
    negate: bool = False
    carries = frozenset({WRAPPED})

    @property
    def requires(self) -> frozenset[str]:
        """The part's columns and the gate's own."""
        return super().requires | (frozenset() if self.column in RolloutBatch.CORE else {self.column})

    def weight(self, name: str, batch: RolloutBatch, value: Mapping[str, RewardN]) -> RewardN:
        """1 where the gate is open, else 0."""
        return self._open(batch).double()

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The part where the gate is open."""
        open_N = self._open(batch)
        value_N = part("of", batch)
        return torch.where(open_N, value_N, torch.zeros_like(value_N))

    def _open(self, batch: RolloutBatch) -> Bool[Tensor, " N"]:
        gate_N = batch.column(self.column)
        if bool(gate_N.isnan().any()):
            row = int(gate_N.isnan().nonzero()[0])
            raise BatchError(f"gate: column {self.column!r} is NaN in row {row}; a gate is open or closed: give 0 or 1")
        return (gate_N != 0) ^ self.negate


@final
@dataclass(frozen=True, kw_only=True)
class PassRateAtLeast(Reward):
    """1 for the responses of groups whose share of correct responses is at least ``threshold``, else 0.

    >>> PassRateAtLeast(threshold=0.5)(RolloutBatch.of(group=[0, 0, 1], length=[1, 1, 1], correct=[1, 0, 0]))[0]
    tensor([1., 1., 0.], dtype=torch.float64)
    """

    threshold: Number
    scope = Scope.GROUP
    is_term = True

    def score(self, batch: RolloutBatch) -> RewardN:
        """The indicator of easy enough groups."""
        pass_rate_G = group_mean(batch.correct, batch.group)
        return (pass_rate_G >= at(self.threshold, batch.step))[batch.group].double()


@final
@dataclass(frozen=True, kw_only=True)
class Switch(Composite):
    """Per group, ``shaped`` where ``select`` is nonzero, ``plain`` elsewhere.

    ``select`` is itself a reward, read as an indicator; it must be the same for the whole group.

    >>> from leanthink.rewards import Correct, SigmoidLength
    >>> reward = Switch(
    ...     select=PassRateAtLeast(threshold=0.9), shaped=SigmoidLength(alpha=0.2), plain=Correct()
    ... )
    >>> reward(RolloutBatch.of(group=[0, 1, 1], length=[9, 5, 9], correct=[1, 1, 0]))[0]
    tensor([0.9000, 1.0000, 0.0000], dtype=torch.float64)
    """

    select: Reward
    shaped: Reward
    plain: Reward
    carries = frozenset({"shaped", "plain"})
    own_scope = Scope.GROUP

    @property
    def is_term(self) -> bool:
        """Decided by the two branches; the selector pays nothing."""
        return self.shaped.is_term or self.plain.is_term

    def weight(self, name: str, batch: RolloutBatch, value: Mapping[str, RewardN]) -> RewardN:
        """1 where the branch is chosen, else 0."""
        return ((value["select"] != 0) == (name == "shaped")).double()

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """One branch per group."""
        selected_N = part("select", batch) != 0
        indicator_N = selected_N.double()
        mixed_G = group_max(indicator_N, batch.group) != group_min(indicator_N, batch.group)
        if bool(mixed_G.any()):
            code = int(mixed_G.nonzero()[0])
            row = int((batch.group == code).nonzero()[0])
            raise BatchError(
                f"switch.select differs within the group of row {row}; it must be 0 or nonzero for a whole group"
            )
        return torch.where(selected_N, part("shaped", batch), part("plain", batch))


@final
@dataclass(frozen=True, kw_only=True)
class Clip(Composite):
    """Another reward, not below ``low`` nor above ``high``.

    >>> from leanthink.rewards import SoftOverlong
    >>> reward = Clip(low=-0.1, of=SoftOverlong(limit=10, buffer=4))
    >>> reward(RolloutBatch.of(group=[0, 0], length=[5, 8], correct=[1, 0]))[0]
    tensor([ 0.0000, -0.1000], dtype=torch.float64)
    """

    low: float | None = None
    high: float | None = None
    of: Reward = Running()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low is None and self.high is None:
            raise ConfigError("clip has no bound; give low, high or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ConfigError(f"clip: low {self.low} is above high {self.high}; swap them")

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The clipped part."""
        return part("of", batch).clamp(min=self.low, max=self.high)


@final
@dataclass(frozen=True, kw_only=True)
class GroupNormalize(Composite):
    """Another reward minus its group mean, divided by its group standard deviation unless ``divide`` is false.

    The deviation divides by ``n - ddof``, and ``eps`` is added to it. Equal values and a group of one give 0.

    >>> from leanthink.rewards import Correct
    >>> GroupNormalize(of=Correct(), ddof=0)(RolloutBatch.of(group=[0, 0], length=[5, 8], correct=[1, 0]))[0]
    tensor([ 1.0000, -1.0000], dtype=torch.float64)
    """

    of: Reward = Running()
    divide: bool = True
    ddof: int = 1
    eps: float = 1e-6
    is_term = True
    own_scope = Scope.GROUP

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eps <= 0 or self.ddof not in (0, 1):
            raise ConfigError(
                f"group_normalize: eps is {self.eps} and ddof {self.ddof}; give eps above 0, and ddof 0 or 1"
            )

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The normalised part."""
        value_N = part("of", batch)
        centred_N = group_centred(value_N, batch.group)
        if not self.divide:
            return centred_N
        std_G = group_std(value_N, batch.group, ddof=self.ddof).nan_to_num(nan=0.0)
        return centred_N / (std_G[batch.group] + self.eps)


@final
@dataclass(frozen=True, kw_only=True)
class Freeze(Composite):
    """Another reward whose state no longer changes.

    >>> from leanthink.rewards import Correct
    >>> Freeze(of=Correct())(RolloutBatch.of(group=[0], length=[5], correct=[1]))
    (tensor([1.], dtype=torch.float64), {})
    """

    of: Reward
    carries = frozenset({WRAPPED})

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The part itself."""
        return part("of", batch)

    def breakdown(self, batch: RolloutBatch, state: State | None = None) -> Breakdown:
        """The part's value with the state as it came in."""
        before = self.init() if state is None else state
        return dataclasses.replace(super().breakdown(batch, before), state=before)
