"""LASER, LASER-D, LASER-DE, arXiv 2505.15612."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.control import check_state, moved
from leanthink.core.errors import ConfigError, StateError
from leanthink.core.schedules import Linear
from leanthink.recipe.definition import load_recipe
from leanthink.rewards import AdaptiveStepLength, StepLength, Sum, ThinkOutcome
from leanthink.rewards.step_length import candidate_targets, fewest_correct, levels_of, search_target
from oracles import Flags, Numbers

BASE = ThinkOutcome(right=1.0, wrong=-0.5, no_box=-1.0, no_block=-1.0)
WELL_FORMED = ThinkOutcome(right=2.0, wrong=1.0, no_box=0.0, no_block=0.0)

EXAMPLES = [
    StepLength(target=4000),
    StepLength(target=Linear(start=9000, stop=500, steps=30), valid=WELL_FORMED),
    AdaptiveStepLength(lower_bound=1000, interval=1000, monitor_freq=2),
    AdaptiveStepLength(lower_bound=1000, interval=1000, monitor_freq=1, cap_to_batch_max=True),
    AdaptiveStepLength(lower_bound=500, target_length=4000, explore=True, valid=WELL_FORMED, rounding="floor"),
]


def laser(length: StepLength | AdaptiveStepLength) -> SpelledOut:
    """The three of the family differ in the bonus only."""
    return SpelledOut(
        reward=Sum(base=BASE, length=length),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.28),
        verl={
            "data.train_batch_size": 128,
            "data.max_response_length": 16384,
            "actor_rollout_ref.rollout.n": 8,
            "actor_rollout_ref.rollout.temperature": 0.6,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 64,
        },
    )


def adaptive(explore: bool) -> AdaptiveStepLength:
    return AdaptiveStepLength(
        lower_bound=4096,
        upper_bound=16384,
        interval=1024,
        alpha=0.5,
        monitor_freq=20,
        explore=explore,
        valid=WELL_FORMED,
    )


RECIPES = {
    "laser": laser(StepLength(target=8192.0, alpha=0.5, valid=WELL_FORMED)),
    "laser_d": laser(adaptive(explore=False)),
    "laser_de": laser(adaptive(explore=True)),
}

FORM = [2.0] * 7 + [0.0]
EIGHT = RolloutBatch.of(
    group=[0] * 8,
    length=[1200, 2048, 2500, 4100, 900, 6000, 16384, 3000],
    correct=[1, 1, 1, 1, 0, 0, 0, 0],
    **{BASE.column: FORM, WELL_FORMED.column: FORM},
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


def test_a_rate_of_exactly_a_third_is_of_the_upper_level_for_the_bonus_and_for_the_search() -> None:
    assert levels_of(torch.tensor([1, 2]).double() / 3).tolist() == [1, 2]
    reward = AdaptiveStepLength(lower_bound=1000)
    batch = RolloutBatch.of(group=[0] * 3 + [1] * 3, length=[900] * 6, correct=[1, 0, 0, 1, 1, 0])
    state = reward.init()
    state["own"]["target"] = {"hard": 1.0, "medium": 1000.0, "easy": 1000.0}
    given_N, state = reward(batch, state)
    assert given_N.tolist() == [0.5, 0, 0, 0.5, 0.5, 0]
    assert state["own"]["count"] == {"hard": 0, "medium": 3, "easy": 3}


def test_candidates_keep_their_interval_from_a_low_bound_on() -> None:
    assert AdaptiveStepLength(lower_bound=512, upper_bound=4096).candidates == [512, 1536, 2560, 3584]


def slow_laser(length: Numbers, right: Flags, target: float, alpha: float) -> list[float]:
    """Table 2, LASER: ``alpha`` for what is right and no longer than the target."""
    return [alpha if ok and tokens <= target else 0.0 for tokens, ok in zip(length, right, strict=True)]


def test_a_fixed_target_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch) -> None:
    expected: list[float] = []
    for batch in batches:
        expected += slow_laser(batch.length.tolist(), (batch.correct == 1).tolist(), 6000, 0.5)
    assert StepLength(target=6000)(merged)[0].tolist() == expected


def slow_laser_level(right: Sequence[bool]) -> str:
    """arXiv 2505.15612, Sec. 5.1: by the share of right responses among all of a prompt's."""
    count, size = sum(right), len(right)
    return "easy" if 3 * count >= 2 * size else "medium" if 3 * count >= size else "hard"


class SlowLaserD:
    """Secs. 5.1 to 5.3 with the training batches as the monitoring set."""

    def __init__(
        self,
        lower: float,
        upper: float,
        interval: float,
        alpha: float,
        every: int,
        k: int | None,
        explore: bool,
        explore_invalid: bool = False,
        cap: bool = False,
    ):
        self.lower, self.upper, self.interval = lower, upper, interval
        self.alpha, self.every, self.k = alpha, every, k
        self.explore, self.explore_invalid = explore, explore_invalid
        self.cap = cap
        self.target = {"easy": upper, "medium": upper, "hard": upper}
        self.seen: list[tuple[str, float]] = []
        self.sizes: list[int] = []
        self.batches = self.searches = 0

    def search(self, longest: float) -> None:
        k = max(self.sizes) if self.k is None else self.k
        least = {"easy": math.ceil(2 * k / 3), "medium": math.ceil(k / 3), "hard": 1}
        for level in self.target:
            lengths = [tokens for name, tokens in self.seen if name == level]
            chosen, candidate = self.upper, self.lower
            while candidate <= self.upper:
                inside = sum(1 for tokens in lengths if tokens <= candidate)
                if lengths and inside * least[level] >= len(lengths):
                    chosen = candidate
                    break
                candidate += self.interval
            self.target[level] = min(chosen, max(longest, 1)) if self.cap else chosen
        self.seen, self.sizes, self.batches, self.searches = [], [], 0, self.searches + 1

    def step(self, length: Numbers, correct: Flags, group: Sequence[int], formed: Flags | None = None) -> list[float]:
        if self.batches >= (self.every if self.searches else 1):
            self.search(max(length, default=math.inf))
        formed = [True] * len(length) if formed is None else formed
        right = [bool(ok and form) for ok, form in zip(correct, formed, strict=True)]
        level = {code: slow_laser_level([c for c, g in zip(right, group, strict=True) if g == code]) for code in group}
        result = []
        for tokens, ok, form, code in zip(length, right, formed, group, strict=True):
            target = self.target[level[code]]
            explores = self.explore and (form or self.explore_invalid)
            pays = tokens <= target if ok else explores and tokens > target
            result.append(self.alpha if pays else 0.0)
            self.seen.append((level[code], tokens))
        self.sizes += [list(group).count(code) for code in set(group)]
        self.batches += len(length) > 0
        return result


@pytest.mark.parametrize("explore", [False, True])
@pytest.mark.parametrize("every", [1, 7])
def test_searched_targets_agree_with_the_loop_over_many_steps(
    batches: list[RolloutBatch], explore: bool, every: int
) -> None:
    reward = AdaptiveStepLength(lower_bound=500, interval=500, monitor_freq=every, explore=explore, n_rollout=8)
    slow = SlowLaserD(500, 16384, 500, 0.5, every, 8, explore)
    state, targets = reward.init(), set()
    for batch in batches:
        given_N, state = reward(batch, json.loads(json.dumps(state)))
        expected = slow.step(batch.length.tolist(), (batch.correct == 1).tolist(), batch.group.tolist())
        assert given_N.tolist() == expected
        assert state["own"]["target"] == slow.target
        targets.add(tuple(slow.target.values()))
    assert state["own"]["searches"] == slow.searches and len(targets) > 10


def test_targets_up_to_the_longest_of_the_batch_agree_with_the_loop(batches: list[RolloutBatch]) -> None:
    reward = AdaptiveStepLength(lower_bound=500, interval=500, monitor_freq=2, n_rollout=8, cap_to_batch_max=True)
    slow = SlowLaserD(500, 16384, 500, 0.5, 2, 8, False, cap=True)
    state, capped = reward.init(), 0
    for batch in batches:
        given_N, state = reward(batch, state)
        expected = slow.step(batch.length.tolist(), (batch.correct == 1).tolist(), batch.group.tolist())
        assert given_N.tolist() == expected and state["own"]["target"] == slow.target
        capped += any(target % 500 for target in slow.target.values())
    assert capped > 10


@pytest.mark.parametrize("explore_invalid", [False, True])
def test_ill_formed_responses_and_groups_of_any_size_agree_with_the_loop(
    batches: list[RolloutBatch], explore_invalid: bool
) -> None:
    reward = AdaptiveStepLength(
        lower_bound=500, interval=500, monitor_freq=3, explore=True, explore_invalid=explore_invalid, valid=WELL_FORMED
    )
    slow = SlowLaserD(500, 16384, 500, 0.5, 3, None, True, explore_invalid)
    state, sizes, draw = reward.init(), set(), random.Random(5)
    for batch in batches:
        formed = [draw.random() < 0.8 for _ in range(len(batch))]
        given_N, state = reward(batch.replace(**{WELL_FORMED.column: [2.0 * one for one in formed]}), state)
        correct = (batch.correct == 1).tolist()
        assert given_N.tolist() == slow.step(batch.length.tolist(), correct, batch.group.tolist(), formed)
        assert state["own"]["target"] == slow.target
        sizes.add(state["own"]["rollouts"])
    assert len(sizes) > 3


@pytest.mark.parametrize(("given", "target"), [(None, 200), (8, 300)])
def test_levels_go_by_the_largest_group_that_was_monitored_unless_told(given: int | None, target: float) -> None:
    """A tenth of the responses has up to 200 tokens: of the 11 of 16 that make a prompt easy one, of 6 of 8 less."""
    reward = AdaptiveStepLength(lower_bound=100, upper_bound=400, interval=100, monitor_freq=1, n_rollout=given)
    easy = RolloutBatch.of(group=[0] * 16 + [1] * 4, length=[150] * 2 + [250] * 18, correct=[1] * 20)
    _, state = reward(easy)
    assert state["own"]["rollouts"] == 16
    _, state = reward(easy.select(torch.arange(16, 20)), state)
    assert state["own"]["target"]["easy"] == target and state["own"]["rollouts"] == 4


def test_the_state_does_not_grow(batches: list[RolloutBatch]) -> None:
    reward = AdaptiveStepLength(lower_bound=1000)
    first = reward.init()
    _, state = reward(batches[50], first)
    sizes = [{level: len(counts) for level, counts in one["own"]["within"].items()} for one in (first, state)]
    assert sizes[0] == sizes[1]


def test_a_batch_does_not_move_its_own_targets() -> None:
    reward = AdaptiveStepLength(
        lower_bound=100, upper_bound=400, interval=100, target_length=200, monitor_freq=1, n_rollout=8
    )
    batch = RolloutBatch.of(group=[0] * 3, length=[90, 150, 250], correct=[1, 1, 1])
    first_N, state = reward(batch)
    assert first_N.tolist() == [0.5, 0.5, 0.0] and state["own"]["target"]["easy"] == 200
    second_N, state = reward(batch, state)  # a third within 100, at least 6 of 8 right
    assert second_N.tolist() == [0.5, 0.0, 0.0] and state["own"]["target"]["easy"] == 100
    assert reward.shown(1, state["own"]) == {
        "target/hard": 400, "target/medium": 400, "target/easy": 100, "searches": 1
    }  # fmt: skip


def test_ill_formed_is_not_right_and_explores_only_if_asked() -> None:
    batch = EIGHT.replace(**{WELL_FORMED.column: [2.0, 0.0, 2.0, 2.0, 2.0, 1.0, 2.0, 0.0]})
    settings: dict[str, Any] = {"lower_bound": 1024, "target_length": 5000, "valid": WELL_FORMED, "explore": True}
    assert AdaptiveStepLength(**settings)(batch)[0].tolist() == [0.5, 0, 0.5, 0.5, 0, 0, 0.5, 0]
    assert AdaptiveStepLength(**settings, explore_invalid=True)(batch)[0].tolist() == [0.5, 0, 0.5, 0.5, 0, 0.5, 0.5, 0]
    assert StepLength(target=5000, valid=WELL_FORMED)(batch)[0].tolist() == [0.5, 0, 0.5, 0.5, 0, 0, 0, 0]


def test_a_right_but_ill_formed_response_counts_as_wrong_so_that_a_long_one_explores_if_asked() -> None:
    batch = RolloutBatch.of(group=[0] * 2, length=[100, 9000], correct=[1, 1], **{WELL_FORMED.column: [0.0, 0.0]})
    settings: dict[str, Any] = {"lower_bound": 1024, "target_length": 5000, "valid": WELL_FORMED, "explore": True}
    assert AdaptiveStepLength(**settings)(batch)[0].tolist() == [0, 0]
    assert AdaptiveStepLength(**settings, explore_invalid=True)(batch)[0].tolist() == [0, 0.5]


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"alpha": 0}, "alpha is 0"),
        ({"lower_bound": 0}, "lower_bound is 0"),
        ({"upper_bound": 100}, "from 1024 to 100"),
        ({"interval": 0}, "0 apart"),
        ({"target_length": 0}, "target_length is 0"),
        ({"target_length": 9000, "upper_bound": 8192}, "target_length is 9000; give tokens, 1 or more, up to upper_bo"),
        ({"monitor_freq": 0}, "monitor_freq is 0"),
        ({"n_rollout": 1}, "n_rollout 1"),
        ({"rounding": "up"}, "rounding is 'up'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        AdaptiveStepLength(**{"lower_bound": 1024, **settings})
    with pytest.raises(ConfigError, match=r"step_length: target is 0\.5"):
        StepLength(target=0.5)


EDITED = AdaptiveStepLength(lower_bound=100, upper_bound=300, interval=100)
COUNTED = {
    "target": {"hard": 300.0, "medium": 200.0, "easy": 100.0},
    "within": {"hard": [0, 0, 0], "medium": [0, 1, 1], "easy": [2, 3, 3]},
    "count": {"hard": 0, "medium": 2, "easy": 3},
    "batches": 1,
    "rollouts": 3,
    "searches": 0,
}


@pytest.mark.parametrize(
    ("path", "value", "fact"),
    [
        (["target", "easy"], -3, "target.easy is -3; give 1 to 300 tokens"),
        (["target", "easy"], 301, "target.easy is 301; give 1 to 300 tokens"),
        (["batches"], -1, "batches is -1; give a whole number, 0 or more"),
        (["searches"], 0.5, "searches is 0.5; give a whole number"),
        (["rollouts"], 2.5, "rollouts is 2.5; give a whole number"),
        (["rollouts"], 0, "rollouts is 0 after a batch; give the size"),
        (["count", "hard"], -1, "count.hard is -1; give a whole number"),
        (["count", "easy"], 2, "within.easy is [2, 3, 3]; give numbers that never fall, up to count.easy, 2"),
        (["within", "easy", 0], 4, "within.easy is [4, 3, 3]; give numbers that never fall"),
        (["within", "medium", 1], 0.5, "within.medium[1] is 0.5; give a whole number"),
    ],
)
def test_an_edited_state_must_make_sense(path: list[Any], value: float, fact: str) -> None:
    own: Any = copy.deepcopy(COUNTED)
    check_state(EDITED, {"own": own}, "state")
    at = own
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    with pytest.raises(StateError) as caught:
        check_state(EDITED, {"own": own}, "state")
    assert str(caught.value).startswith(f"state.own: {fact}") and "earlier checkpoint" in str(caught.value)


def test_other_candidates_take_over_the_targets_and_count_anew() -> None:
    def taken(**settings: Any) -> Any:
        reward = AdaptiveStepLength(**{"lower_bound": 100, "upper_bound": 300, "interval": 100, **settings})
        state, told = moved(reward, EDITED, {"own": copy.deepcopy(COUNTED)})
        check_state(reward, state, "state")
        return state["own"], told[0]

    fresh = {"count": dict.fromkeys(COUNTED["target"], 0), "batches": 0, "rollouts": 0}
    assert taken(alpha=0.25) == (COUNTED, "the reward goes on with the state saved under that name")
    own, told = taken(interval=20)  # more candidates
    assert own == {**COUNTED, **fresh, "within": dict.fromkeys(COUNTED["target"], [0] * 11)}
    assert told == "the reward goes on with the state saved under that name, made to fit its new settings"
    own, _ = taken(lower_bound=150, upper_bound=350)  # as many, but others
    assert own["target"] == {"hard": 300, "medium": 200, "easy": 150} and own["within"]["easy"] == [0, 0, 0]
    own, _ = taken(upper_bound=250)  # fewer
    assert own["target"] == {"hard": 250, "medium": 200, "easy": 100} and own["within"]["easy"] == [0, 0]
    own, _ = taken(upper_bound=350)  # the same
    assert own == COUNTED
