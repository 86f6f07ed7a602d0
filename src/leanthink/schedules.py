"""Numbers that change with the training step. Any hyper-parameter may be a number or one of these."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeAlias, final

from leanthink.errors import ConfigError


class Schedule(ABC):
    """A function of the step (0, 1, ...); frozen, so that it compares, prints and pickles."""

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The value at ``step``."""

    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value it ever takes; NaN where that is not known, which compares as allowed."""
        return math.nan, math.nan


Number: TypeAlias = float | Schedule


def bounds(number: Number) -> tuple[float, float]:
    """The least and the greatest value of a hyper-parameter over all steps, to be checked when it is given.

    >>> bounds(0.5), bounds(Linear(start=0, stop=1, steps=10))
    ((0.5, 0.5), (0, 1))
    """
    return number.bounds() if isinstance(number, Schedule) else (number, number)


def at(number: Number, step: int) -> float:
    """The value of a hyper-parameter at a step.

    >>> at(0.5, 3), at(Linear(start=0, stop=1, steps=10), 3)
    (0.5, 0.3)
    """
    return number(step) if isinstance(number, Schedule) else float(number)


def _at_least_one(schedule: Schedule, name: str) -> None:
    steps = getattr(schedule, name)
    if steps < 1:
        raise ConfigError(f"{type(schedule).__name__.lower()}: {name} is {steps}; give at least 1")


@final
@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """From ``start`` to ``stop`` in a straight line over ``steps`` steps after ``delay``, then ``stop``.

    >>> ramp = Linear(start=0.0, stop=0.5, steps=10, delay=5)
    >>> [ramp(step) for step in (0, 5, 10, 15, 99)]
    [0.0, 0.0, 0.25, 0.5, 0.5]
    """

    start: float
    stop: float
    steps: int
    delay: int = 0

    def __post_init__(self) -> None:
        _at_least_one(self, "steps")

    def __call__(self, step: int) -> float:
        """The value at ``step``."""
        share = min(max(step - self.delay, 0) / self.steps, 1.0)
        return self.start + (self.stop - self.start) * share

    def bounds(self) -> tuple[float, float]:
        """The lesser and the greater end."""
        return min(self.start, self.stop), max(self.start, self.stop)


@final
@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """``start * rate ** (step / steps)``, not beyond ``limit`` where one is given.

    >>> Exponential(start=8.0, rate=0.5, steps=10)(20)
    2.0
    """

    start: float
    rate: float
    steps: int = 1
    limit: float | None = None

    def __post_init__(self) -> None:
        _at_least_one(self, "steps")
        if self.start == 0 or self.rate <= 0:
            raise ConfigError(
                f"exponential: start is {self.start} and rate {self.rate}; give a start other than 0 and a rate above 0"
            )
        if self.limit is not None and (self.limit - self.start) * (1 if self._rises else -1) < 0:
            way = "rises" if self._rises else "falls"
            raise ConfigError(
                f"exponential: it {way} from {self.start}, away from its limit {self.limit}; "
                "give a limit that lies ahead, or none"
            )

    @property
    def _rises(self) -> bool:
        return (self.rate > 1) == (self.start > 0)

    def __call__(self, step: int) -> float:
        """The value at ``step``."""
        try:
            value = self.start * math.pow(self.rate, step / self.steps)
        except OverflowError:
            value = math.copysign(math.inf, self.start)
        if self.limit is None:
            return value
        return min(value, self.limit) if self._rises else max(value, self.limit)

    def bounds(self) -> tuple[float, float]:
        """From the start to the limit, or to what it tends to without one."""
        end = self.limit
        if end is None:
            end = self.start if self.rate == 1 else 0.0 if self.rate < 1 else math.copysign(math.inf, self.start)
        return min(self.start, end), max(self.start, end)


@final
@dataclass(frozen=True, kw_only=True)
class Stairs(Schedule):
    """Constant pieces: ``values[i]`` up to, not including, ``boundaries[i]``; the last value from there on.

    >>> warm_up = Stairs(values=(0.0, 0.5), boundaries=(20,))
    >>> warm_up(19), warm_up(20)
    (0.0, 0.5)
    """

    values: tuple[float, ...]
    boundaries: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("values", "boundaries"):  # lists, too, must compare and hash
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.values) != len(self.boundaries) + 1:
            raise ConfigError(
                f"stairs: {len(self.values)} values and {len(self.boundaries)} boundaries; "
                "give one value more than boundaries"
            )
        if any(later <= earlier for earlier, later in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ConfigError(f"stairs: boundaries {list(self.boundaries)} must rise")

    def __call__(self, step: int) -> float:
        """The value at ``step``."""
        return self.values[sum(step >= boundary for boundary in self.boundaries)]

    def bounds(self) -> tuple[float, float]:
        """The least and the greatest piece."""
        return min(self.values), max(self.values)


@final
@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """From ``start`` to ``stop`` along half a cosine over ``steps`` steps, then ``stop``.

    >>> round(Cosine(start=1.0, stop=0.0, steps=4)(2), 12)
    0.5
    """

    start: float
    stop: float
    steps: int

    def __post_init__(self) -> None:
        _at_least_one(self, "steps")

    def __call__(self, step: int) -> float:
        """The value at ``step``."""
        share = min(max(step, 0) / self.steps, 1.0)
        return self.stop + (self.start - self.stop) * (1 + math.cos(math.pi * share)) / 2

    def bounds(self) -> tuple[float, float]:
        """The lesser and the greater end."""
        return min(self.start, self.stop), max(self.start, self.stop)


@final
@dataclass(frozen=True, kw_only=True)
class Cyclic(Schedule):
    """Half a cosine from ``high`` to ``low`` over ``period`` steps, again and again.

    >>> wave = Cyclic(high=8.0, low=4.0, period=10)
    >>> wave(0), round(wave(5), 12), wave(10)
    (8.0, 6.0, 8.0)
    """

    high: float
    low: float
    period: int

    def __post_init__(self) -> None:
        _at_least_one(self, "period")

    def __call__(self, step: int) -> float:
        """The value at ``step``."""
        return Cosine(start=self.high, stop=self.low, steps=self.period)(step % self.period)

    def bounds(self) -> tuple[float, float]:
        """The lesser and the greater end."""
        return min(self.high, self.low), max(self.high, self.low)
