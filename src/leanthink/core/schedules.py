"""Numbers that change with the training step. Any hyper-parameter may be a number or one of these."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

from leanthink.core.errors import ConfigError


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


@final
@dataclass(frozen=True, kw_only=True)
class Interleaved(Schedule):
    """The periodic rollout budgets of SIRI (arXiv 2509.25176, Sec. 4.3): compression and expansion by turns.

    With ``phi = 2 pi (step mod period) / period``, ``mid`` and ``half`` the mean and half the difference of the ends:

    - "cosine": ``mid + half cos(phi)``;
    - "stairs": ``low`` for ``phi < pi``, else ``high``. The paper gives no formula; that it starts low is inferred;
    - "stair_cosine": ``high`` around 0, ``low`` around ``pi``, each for a quarter of the period, and half a cosine
      between.

    Steps count from 0. As a limit it is rounded to whole tokens.

    Args:
        high: ``L_max``; 16384 in the paper.
        low: ``L_min``; 8192.
        period: steps of one cycle, ``T``; 640 was best, 480 and 320 were tried.
        shape: "cosine" is the paper's main one.

    >>> wave = Interleaved(high=16384, low=8192, period=640)
    >>> wave(0), round(wave(80), 6), wave(320)
    (16384.0, 15184.309376, 8192.0)
    """

    high: float
    low: float
    period: int
    shape: Literal["cosine", "stairs", "stair_cosine"] = "cosine"

    def __post_init__(self) -> None:
        _at_least_one(self, "period")
        if not self.low <= self.high:
            raise ConfigError(f"interleaved: low is {self.low} and high {self.high}; give a low not above high")
        if self.shape not in ("cosine", "stairs", "stair_cosine"):
            raise ConfigError(f"interleaved: shape is {self.shape!r}; give cosine, stairs or stair_cosine")

    def __call__(self, step: int) -> float:
        """The value at ``step``."""
        share = step % self.period / self.period
        if self.shape == "stairs":
            return float(self.low if share < 0.5 else self.high)
        if self.shape == "stair_cosine":  # flat over an eighth on either side of each end, twice as fast between
            share = min(max(2 * (share - 0.125), 0.0), 0.5) + min(max(2 * (share - 0.625), 0.0), 0.5)
        middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        return min(max(middle + half * math.cos(2 * math.pi * share), self.low), self.high)

    def bounds(self) -> tuple[float, float]:
        """The two ends."""
        return self.low, self.high


@final
@dataclass(frozen=True, kw_only=True)
class Decay(Schedule):
    """A budget that falls in steps (Train Long, Think Short, arXiv 2508.08940), by one of the paper's two definitions.

    - "exponential" with ``factor``, Sec. 3.4: ``max(stop, start factor^floor(step / interval))``; its stop is 1 there;
    - without ``factor``, Sec. 4.4: ``drops`` equal drops, one every ``steps / (drops + 1)`` steps, to ``stop``: by
      equal ratios ("exponential") or differences ("linear"); ``stop`` from the last one on.

    >>> headline = Decay(start=256, factor=0.7, interval=150)
    >>> [round(headline(step), 6) for step in (0, 149, 150, 300, 450)]
    [256.0, 256.0, 179.2, 125.44, 87.808]
    >>> by_end = Decay(start=256, stop=87, drops=3, steps=600)
    >>> [round(by_end(step), 6) for step in (0, 150, 300, 450, 999)]
    [256.0, 178.648645, 124.669291, 87.0, 87.0]
    """

    start: float
    stop: float = 1.0
    shape: Literal["exponential", "linear"] = "exponential"
    factor: float | None = None
    interval: int | None = None
    drops: int | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        by_factor = self.factor is not None and self.interval is not None
        by_drops = self.drops is not None and self.steps is not None
        given = sum(one is not None for one in (self.factor, self.interval, self.drops, self.steps))
        if by_factor == by_drops or given != 2:
            raise ConfigError(
                f"decay: factor is {self.factor}, interval {self.interval}, drops {self.drops} and steps {self.steps}; "
                "give factor and interval, or drops and steps, and not the others"
            )
        if not 0 < self.stop <= self.start:
            raise ConfigError(f"decay: start is {self.start} and stop {self.stop}; give a stop above 0, up to start")
        if self.shape not in ("exponential", "linear") or (by_factor and self.shape == "linear"):
            raise ConfigError(f"decay: shape is {self.shape!r}; give exponential, or linear with drops and steps")
        if self.factor is not None and self.interval is not None and (not 0 < self.factor <= 1 or self.interval < 1):
            raise ConfigError(
                f"decay: factor is {self.factor} and interval {self.interval}; give a factor above 0, up to 1, and an "
                "interval of 1 step or more"
            )
        if self.drops is not None and self.steps is not None and not 1 <= self.drops < self.steps:
            raise ConfigError(f"decay: {self.drops} drops in {self.steps} steps; give 1 drop or more, and more steps")

    def __call__(self, step: int) -> float:
        """The value at ``step``."""
        if self.factor is not None and self.interval is not None:
            return max(self.stop, self.start * self.factor ** (step // self.interval))
        assert self.drops is not None and self.steps is not None
        done = min(step * (self.drops + 1) // self.steps, self.drops)
        if done == self.drops:
            return float(self.stop)
        if self.shape == "linear":
            return self.start - done * (self.start - self.stop) / self.drops
        return float(self.start * (self.stop / self.start) ** (done / self.drops))

    def bounds(self) -> tuple[float, float]:
        """From the stop to the start."""
        return self.stop, self.start
