"""LASER, LASER-D, LASER-DE, arXiv 2505.15612."""

from __future__ import annotations

import json
from typing import Any

import pytest

import oracles_adaptive as oracles
from leanthink.algorithms import Grpo
from leanthink.batch import RolloutBatch
from leanthink.errors import ConfigError
from leanthink.recipe import load_recipe
from leanthink.rewards import AdaptiveStepLength, StepLength, ThinkOutcome
from leanthink.rewards.step_length import candidate_targets, fewest_correct, search_target

VALID = ThinkOutcome(right=2.0, wrong=1.0, no_box=0.0, no_block=0.0)
BASE = ThinkOutcome(right=1.0, wrong=-0.5, no_box=-1.0, no_block=-1.0)
FORM = [2.0] * 7 + [0.0]
EIGHT = RolloutBatch.of(
    group=[0] * 8,
    length=[1200, 2048, 2500, 4100, 900, 6000, 16384, 3000],
    correct=[1, 1, 1, 1, 0, 0, 0, 0],
    **{BASE.column: FORM, VALID.column: FORM},
)
CANDIDATES = [2048, 3072, 4096, 5120, 6144, 7168, 8192]
COVERAGE = {
    "easy": [0.15, 0.18, 0.22, 0.40, 0.70, 0.90, 1.0],
    "medium": [0.10, 0.20, 0.30, 0.35, 0.49, 0.50, 0.80],
    "hard": [0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9],
}


def test_worked_example_fixed_target() -> None:
    reward = load_recipe("laser", ["reward.sum.length.step_length.target=2048"]).reward
    reward_N, _ = reward(EIGHT)
    assert reward_N.tolist() == pytest.approx([1.5, 1.5, 1.0, 1.0, -0.5, -0.5, -0.5, -1.0], abs=1e-6)
    expected = [1.149630, 1.149630, 0.665576, 0.665576, -0.786589, -0.786589, -0.786589, -1.270644]
    assert Grpo()(reward_N, EIGHT.group).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("ceil", {"easy": 3072, "medium": 5120, "hard": 16384}),
        ("floor", {"easy": 4096, "medium": 7168, "hard": 16384}),
    ],
)
def test_worked_example_target_search(rounding: Any, expected: dict[str, float]) -> None:
    fewest = fewest_correct(8, rounding)
    found = {level: search_target(COVERAGE[level], CANDIDATES, fewest[level], 16384) for level in COVERAGE}
    assert found == expected
    assert candidate_targets(2048, 8192, 1024) == CANDIDATES


@pytest.mark.parametrize(
    ("recipe", "target", "expected"),
    [
        ("laser_d", 5120, [1.5, 1.5, 1.5, 1.5, -0.5, -0.5, -0.5, -1.0]),
        ("laser_d", 7168, [1.5, 1.5, 1.5, 1.5, -0.5, -0.5, -0.5, -1.0]),
        ("laser_de", 5120, [1.5, 1.5, 1.5, 1.5, -0.5, 0.0, 0.0, -1.0]),
        ("laser_de", 7168, [1.5, 1.5, 1.5, 1.5, -0.5, -0.5, 0.0, -1.0]),
    ],
)
def test_worked_example_by_level(recipe: str, target: float, expected: list[float]) -> None:
    reward = load_recipe(recipe).reward
    state = reward.init()
    state["length"]["own"]["target"] = {"easy": 1, "medium": target, "hard": 1}  # half of the group is right: medium
    assert reward(EIGHT, state)[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_a_fixed_target_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch) -> None:
    expected: list[float] = []
    for batch in batches:
        expected += oracles.laser(batch.length.tolist(), (batch.correct == 1).tolist(), 6000, 0.5)
    assert StepLength(target=6000)(merged)[0].tolist() == expected


@pytest.mark.parametrize("explore", [False, True])
@pytest.mark.parametrize("every", [1, 7])
def test_searched_targets_agree_with_the_loop_over_many_steps(
    batches: list[RolloutBatch], explore: bool, every: int
) -> None:
    reward = AdaptiveStepLength(lower_bound=500, interval=500, monitor_freq=every, explore=explore)
    slow = oracles.LaserD(500, 16384, 500, 0.5, every, 8, explore)
    state, targets = reward.init(), set()
    for batch in batches:
        given_N, state = reward(batch, json.loads(json.dumps(state)))
        expected = slow.step(batch.length.tolist(), (batch.correct == 1).tolist(), batch.group.tolist())
        assert given_N.tolist() == expected
        assert state["own"]["target"] == slow.target
        targets.add(tuple(slow.target.values()))
    assert state["own"]["searches"] == slow.searches and len(targets) > 10


def test_the_state_does_not_grow(batches: list[RolloutBatch]) -> None:
    reward = AdaptiveStepLength(lower_bound=1000)
    first = reward.init()
    _, state = reward(batches[50], first)
    sizes = [{level: len(counts) for level, counts in one["own"]["within"].items()} for one in (first, state)]
    assert sizes[0] == sizes[1]


def test_a_batch_does_not_move_its_own_targets() -> None:
    reward = AdaptiveStepLength(lower_bound=100, upper_bound=400, interval=100, target_length=200, monitor_freq=1)
    batch = RolloutBatch.of(group=[0] * 3, length=[90, 150, 250], correct=[1, 1, 1])
    first_N, state = reward(batch)
    assert first_N.tolist() == [0.5, 0.5, 0.0] and state["own"]["target"]["easy"] == 200
    second_N, state = reward(batch, state)  # a third within 100, at least 6 of 8 right
    assert second_N.tolist() == [0.5, 0.0, 0.0] and state["own"]["target"]["easy"] == 100
    assert reward.shown(1, state["own"]) == {
        "target/hard": 400, "target/medium": 400, "target/easy": 100, "searches": 1
    }  # fmt: skip


def test_ill_formed_is_not_right_and_explores_only_if_asked() -> None:
    batch = EIGHT.replace(**{VALID.column: [2.0, 0.0, 2.0, 2.0, 2.0, 1.0, 2.0, 0.0]})
    settings: dict[str, Any] = {"lower_bound": 1024, "target_length": 5000, "valid": VALID, "explore": True}
    assert AdaptiveStepLength(**settings)(batch)[0].tolist() == [0.5, 0, 0.5, 0.5, 0, 0, 0.5, 0]
    assert AdaptiveStepLength(**settings, explore_invalid=True)(batch)[0].tolist() == [0.5, 0, 0.5, 0.5, 0, 0.5, 0.5, 0]
    assert StepLength(target=5000, valid=VALID)(batch)[0].tolist() == [0.5, 0, 0.5, 0.5, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"alpha": 0}, "alpha is 0"),
        ({"lower_bound": 0}, "the target is 0"),
        ({"upper_bound": 100}, "from 1024 to 100"),
        ({"interval": 0}, "0 apart"),
        ({"target_length": 0}, "target_length is 0"),
        ({"monitor_freq": 0}, "monitor_freq is 0"),
        ({"n_rollout": 1}, "n_rollout 1"),
        ({"rounding": "up"}, "rounding is 'up'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        AdaptiveStepLength(**{"lower_bound": 1024, **settings})
    with pytest.raises(ConfigError, match=r"the target is 0\.5"):
        StepLength(target=0.5)


def test_an_edited_target_must_be_one() -> None:
    reward = AdaptiveStepLength(lower_bound=1024)
    own = reward.start()
    assert reward.wrong_state(own) is None
    assert "target.easy is -3" in str(reward.wrong_state({**own, "target": {**own["target"], "easy": -3}}))
