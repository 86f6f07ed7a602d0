"""Schedules, those of SIRI (arXiv 2509.25176) and of Train Long, Think Short (2508.08940) among them."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction
from typing import Any

import pytest

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.errors import ConfigError
from leanthink.core.limits import PerStep
from leanthink.core.schedules import (
    Cosine,
    Cyclic,
    Decay,
    Exponential,
    Interleaved,
    Linear,
    Schedule,
    Stairs,
    at,
    bounds,
)
from leanthink.recipe.definition import load_recipe
from leanthink.rewards import Correct
from leanthink.verify import Verifier
from made_batches import group_of

EXAMPLES = [
    Cosine(start=1.0, stop=0.5, steps=7),
    Cyclic(high=8.0, low=4.0, period=10),
    Decay(start=256, factor=0.7, interval=150),
    Decay(start=256, stop=87, drops=3, steps=600, shape="linear"),
    Exponential(start=8.0, rate=0.5, limit=1.0),
    Interleaved(high=16384, low=8192, period=640, shape="stair_cosine"),
    Linear(start=0.0, stop=1.0, steps=5, delay=2),
    Stairs(values=(0.0, 1.0), boundaries=(3,)),
]


def siri(steps: int) -> SpelledOut:
    """The two differ in where they end."""
    return SpelledOut(
        reward=Correct(),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.28),
        limit=PerStep(at_most=Interleaved(high=16384.0, low=8192.0, period=640, shape="cosine")),
        verl={
            "data.train_batch_size": 128,
            "data.max_response_length": 16384,
            "actor_rollout_ref.rollout.temperature": 1.0,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "actor_rollout_ref.actor.use_kl_loss": False,
            "trainer.total_training_steps": steps,
        },
    )


RECIPES = {"siri_high": siri(1920), "siri_low": siri(1600)}

VALUES = [
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


@pytest.mark.parametrize(("schedule", "values"), VALUES, ids=lambda value: str(value)[:40])
def test_values(schedule: Schedule, values: list[float]) -> None:
    assert [schedule(step) for step in range(len(values))] == pytest.approx(values, abs=1e-12)
    assert [at(schedule, step) for step in range(len(values))] == pytest.approx(values, abs=1e-12)


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in VALUES], ids=repr)
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


@pytest.mark.parametrize(
    ("step", "stairs", "cosine", "stair_cosine"),
    [
        (0, 8192, 16384, 16384),
        (80, 8192, 15184.309376, 16384),
        (120, 8192, 13855.471339, 15184.309376),
        (160, 8192, 12288, 12288),
        (200, 8192, 10720.528661, 9391.690624),
        (240, 8192, 9391.690624, 8192),
        (320, 16384, 8192, 8192),
        (400, 16384, 9391.690624, 8192),
        (440, 16384, 10720.528661, 9391.690624),
        (480, 16384, 12288, 12288),
        (520, 16384, 13855.471339, 15184.309376),
        (560, 16384, 15184.309376, 16384),
        (640, 8192, 16384, 16384),
    ],
)
def test_worked_example_siri(step: int, stairs: float, cosine: float, stair_cosine: float) -> None:
    shapes: Any = {"stairs": stairs, "cosine": cosine, "stair_cosine": stair_cosine}
    for shape, expected in shapes.items():
        given = Interleaved(high=16384, low=8192, period=640, shape=shape)(step)
        assert given == pytest.approx(expected, abs=1e-6)


def slow_siri(step: int, period: int, high: float, low: float, shape: str) -> float:
    """arXiv 2509.25176, Sec. 4.3, by the phase."""
    phi = 2 * math.pi * (step % period) / period
    mid, half = (high + low) / 2, (high - low) / 2
    if shape == "cosine":
        return mid + half * math.cos(2 * math.pi * step / period)
    if shape == "stairs":
        return low if phi < math.pi else high
    quarter = math.pi / 4
    if phi < quarter or phi >= 7 * quarter:
        return high
    if phi < 3 * quarter:
        return mid + half * math.cos(2 * (phi - quarter))
    if phi < 5 * quarter:
        return low
    return mid + half * math.cos(2 * (phi - 3 * quarter))


@pytest.mark.parametrize("shape", ["cosine", "stairs", "stair_cosine"])
@pytest.mark.parametrize("period", [1, 2, 7, 24, 640])
def test_siri_agrees_with_the_phase_formula(shape: Any, period: int) -> None:
    wave = Interleaved(high=96, low=40, period=period, shape=shape)
    for step in range(1000):
        assert wave(step) == pytest.approx(slow_siri(step, period, 96, 40, shape), abs=1e-9)


def test_siris_limit_follows_the_step_and_what_is_cut_earns_nothing_unless_answered() -> None:
    recipe = load_recipe("siri_low")
    assert recipe.limit is not None and recipe.limit.tokens(["p"], 80, {}) == pytest.approx([15184.309376])
    assert load_recipe("siri_low", profile="cpu").limit.tokens(["p"], 14, {}) == [40]  # type: ignore[union-attr]
    (cut,) = recipe.limit.tokens(["p"], 320, {})
    assert cut == 8192
    box = [r"\boxed{", "56", "}"]
    texts = []
    for tokens, answered, said in ((6000, 5000, box), (8192, 8192, box), (9000, 8900, box), (9000, 8193, box),
                                   (9000, 7000, box), (3000, 3000, [r"\boxed{", "57", "}"])):  # fmt: skip
        words = ["</think>", *["so"] * (answered - 4), *said, *["so"] * (tokens - answered)]
        assert len(words) == tokens
        texts.append((" ".join(words[: round(cut)]), tokens > cut))
    with Verifier(workers=1) as verifier:
        correct = [verifier.check("56", text, truncated=truncated).correct for text, truncated in texts]
    reward_N = recipe.reward(group_of([min(len(text.split()), cut) for text, _ in texts], correct))[0]
    assert reward_N.tolist() == [1, 1, 0, 0, 1, 0]  # the fourth is cut inside its box


def test_worked_example_decay() -> None:
    headline = Decay(start=256, factor=0.7, interval=150)
    values = [256, 256, 179.2, 125.44, 87.808, 61.4656]
    assert [headline(step) for step in (0, 149, 150, 300, 599, 600)] == pytest.approx(values, abs=1e-6)
    by_drops = {
        1: [256, 87],
        3: [256, 178.648645, 124.669291, 87],
        7: [256, 219.421846, 188.070103, 161.198004, 138.165483, 118.423926, 101.503111, 87],
    }
    for drops, expected in by_drops.items():
        schedule = Decay(start=256, stop=87, drops=drops, steps=600)
        given = [schedule(600 * k // (drops + 1)) for k in range(drops + 1)]
        assert given == pytest.approx(expected, abs=1e-6) and schedule(10_000) == 87
    linear = Decay(start=256, stop=87, drops=3, steps=600, shape="linear")
    assert [linear(step) for step in (0, 150, 300, 450)] == pytest.approx([256, 199.666667, 143.333333, 87], abs=1e-6)


def slow_decay_by_factor(start: float, stop: float, factor: float, interval: int, steps: int) -> list[float]:
    """arXiv 2508.08940, Sec. 3.4: the budget of each step, cut by ``factor`` whenever an interval is over."""
    budgets, budget = [], start
    for step in range(steps):
        if step > 0 and step % interval == 0:
            budget *= factor
        budgets.append(max(budget, stop))
    return budgets


@pytest.mark.parametrize("interval", [1, 7, 150])
@pytest.mark.parametrize("factor", [0.7, 1.0])
def test_decay_by_factor_agrees_with_the_loop(factor: float, interval: int) -> None:
    schedule = Decay(start=256, stop=87, factor=factor, interval=interval)
    expected = slow_decay_by_factor(256, 87, factor, interval, 700)
    assert [schedule(step) for step in range(700)] == pytest.approx(expected, rel=1e-9)


def slow_decay_by_drops(start: float, stop: float, drops: int, total: int, linear: bool, steps: int) -> list[float]:
    """Sec. 4.4: as many equal drops, each when its share of all steps is over; the last one reaches the stop."""
    due = [Fraction(total * drop, drops + 1) for drop in range(1, drops + 1)]
    budgets, budget = [], start
    for step in range(steps):
        while due and step >= due[0]:
            due.pop(0)
            budget = budget - (start - stop) / drops if linear else budget * (stop / start) ** (1 / drops)
        budgets.append(budget)
    return budgets


@pytest.mark.parametrize("shape", ["exponential", "linear"])
@pytest.mark.parametrize(("drops", "steps"), [(1, 2), (3, 600), (6, 100), (7, 9)])
def test_decay_by_drops_agrees_with_the_loop(shape: Any, drops: int, steps: int) -> None:
    schedule = Decay(start=256, stop=87, drops=drops, steps=steps, shape=shape)
    expected = slow_decay_by_drops(256, 87, drops, steps, shape == "linear", 2 * steps)
    assert [schedule(step) for step in range(2 * steps)] == pytest.approx(expected, rel=1e-9)


def test_schedules_of_the_cpu_profile_fit_into_its_70_steps() -> None:
    curriculum: Any = load_recipe("curriculum", profile="cpu").reward.children()["length"].children()["of"]
    budgets = [curriculum.budget(step) for step in range(70)]
    assert sorted(set(budgets), reverse=True) == [48, 36, 27, 20.25]  # three falls, as in the paper
    limit: Any = load_recipe("siri_high", profile="cpu").limit
    waves = [limit.at_most(step) for step in range(70)]
    assert [step for step in range(70) if waves[step] == 96] == [0, 23, 46, 69]  # ends with the third expansion


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda: Interleaved(high=1, low=2, period=3), "low is 2"),
        (lambda: Interleaved(high=2, low=1, period=0), "period is 0"),
        (lambda: Interleaved(high=2, low=1, period=3, shape="saw"), "shape is 'saw'"),  # type: ignore[arg-type]
        (lambda: Decay(start=256), "give factor and interval, or drops and steps"),
        (lambda: Decay(start=256, factor=0.7), "interval None"),
        (lambda: Decay(start=256, factor=0.7, interval=3, drops=3), "drops 3"),
        (lambda: Decay(start=256, factor=0.7, interval=3, steps=9), "steps 9"),
        (lambda: Decay(start=256, stop=9, drops=3, steps=9, interval=3), "interval 3"),
        (lambda: Decay(start=256, factor=1.7, interval=3), r"factor is 1\.7"),
        (lambda: Decay(start=256, stop=300, drops=3, steps=9), "stop 300"),
        (lambda: Decay(start=256, stop=0, factor=0.7, interval=3), "stop 0"),
        (lambda: Decay(start=256, stop=-9, factor=0.7, interval=3), "stop -9"),
        (lambda: Decay(start=256, factor=0.7, interval=3, shape="linear"), "shape is 'linear'"),
        (lambda: Decay(start=256, stop=8, drops=9, steps=9), "9 drops in 9 steps"),
    ],
)
def test_wrong_waves_and_falls_are_refused(make: Any, fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        make()
