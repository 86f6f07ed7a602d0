from __future__ import annotations

import pickle
from typing import Any

import pytest

from leanthink.core.errors import ConfigError
from leanthink.core.schedules import Cosine, Cyclic, Exponential, Linear, Schedule, Stairs, at, bounds

EXAMPLES = [
    (Linear(start=0.0, stop=1.0, steps=4, delay=2), [0, 0, 0, 0.25, 0.5, 0.75, 1, 1]),
    (Linear(start=3.0, stop=1.0, steps=2), [3, 2, 1, 1]),
    (Exponential(start=8.0, rate=0.5), [8, 4, 2, 1]),
    (Exponential(start=8.0, rate=0.5, limit=3.0), [8, 4, 3, 3]),
    (Exponential(start=1.0, rate=4.0, steps=2, limit=5.0), [1, 2, 4, 5, 5]),
    (Exponential(start=-1.0, rate=2.0, limit=-3.0), [-1, -2, -3, -3]),
    (Exponential(start=2.0, rate=1.0), [2, 2, 2]),
    (Stairs(values=(0.0, 0.5, 1.0), boundaries=(1, 3)), [0, 0.5, 0.5, 1, 1]),
    (Stairs(values=(7.0,), boundaries=()), [7, 7]),
    (Cosine(start=1.0, stop=0.0, steps=2), [1, 0.5, 0, 0]),
    (Cyclic(high=8.0, low=4.0, period=2), [8, 6, 8, 6]),
]


@pytest.mark.parametrize(("schedule", "values"), EXAMPLES, ids=lambda value: str(value)[:40])
def test_values(schedule: Schedule, values: list[float]) -> None:
    assert [schedule(step) for step in range(len(values))] == pytest.approx(values, abs=1e-12)
    assert [at(schedule, step) for step in range(len(values))] == pytest.approx(values, abs=1e-12)


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in EXAMPLES], ids=repr)
def test_schedules_are_values(schedule: Schedule) -> None:
    copy = pickle.loads(pickle.dumps(schedule))
    assert copy == schedule and hash(copy) == hash(schedule) and repr(copy) == repr(schedule)
    assert isinstance(schedule(10**6), float)


def test_a_plain_number_is_constant() -> None:
    assert at(2, 0) == at(2, 10**9) == 2.0
    assert isinstance(at(2, 0), float)


def test_a_limit_holds_where_the_power_overflows() -> None:
    assert Exponential(start=1.0, rate=2.0, limit=64.0)(10**6) == 64.0


def test_lists_make_equal_stairs() -> None:
    listed: Any = Stairs(values=[0.0, 1.0], boundaries=[5])  # type: ignore[arg-type]
    assert listed == Stairs(values=(0.0, 1.0), boundaries=(5,))
    assert hash(listed) == hash(Stairs(values=(0.0, 1.0), boundaries=(5,)))


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (lambda: Linear(start=0, stop=1, steps=0), ["linear", "steps is 0", "at least 1"]),
        (lambda: Cosine(start=0, stop=1, steps=-2), ["cosine", "steps is -2"]),
        (lambda: Cyclic(high=1, low=0, period=0), ["cyclic", "period is 0"]),
        (lambda: Exponential(start=1, rate=0), ["exponential", "rate 0", "above 0"]),
        (lambda: Exponential(start=0, rate=2), ["exponential", "start is 0"]),
        (lambda: Exponential(start=8, rate=0.5, limit=9), ["falls from 8", "limit 9", "ahead"]),
        (lambda: Exponential(start=8, rate=2, limit=7), ["rises from 8", "limit 7"]),
        (lambda: Stairs(values=(1.0,), boundaries=(3,)), ["1 values and 1 boundaries", "one value more"]),
        (lambda: Stairs(values=(1.0, 2.0, 3.0), boundaries=(3, 3)), ["[3, 3]", "rise"]),
    ],
)
def test_wrong_settings_are_refused(make: Any, facts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    for fact in facts:
        assert fact in str(caught.value)


@pytest.mark.parametrize(
    "schedule",
    [
        Linear(start=1.0, stop=-2.0, steps=7, delay=3),
        Exponential(start=2.0, rate=0.9),
        Exponential(start=-2.0, rate=1.1, limit=-9.0),
        Exponential(start=2.0, rate=1.0),
        Stairs(values=(3.0, -1.0, 2.0), boundaries=(5, 9)),
        Cosine(start=0.0, stop=4.0, steps=6),
        Cyclic(high=4.0, low=1.0, period=5),
    ],
    ids=repr,
)
def test_bounds_hold_at_every_step(schedule: Schedule) -> None:
    low, high = bounds(schedule)
    values = [schedule(step) for step in range(60)]
    assert low <= min(values) and max(values) <= high
    assert schedule(0) in (low, high) or isinstance(schedule, Stairs)


def test_bounds_of_a_number_and_of_an_unknown_schedule() -> None:
    class Mine(Schedule):
        def __call__(self, step: int) -> float:
            return 0.5

    assert bounds(0.5) == (0.5, 0.5)
    low, high = bounds(Mine())
    assert not low < 0 and not high > 1


def test_exponential_growth_without_a_limit_has_no_upper_bound() -> None:
    assert bounds(Exponential(start=1.0, rate=2.0)) == (1.0, float("inf"))
