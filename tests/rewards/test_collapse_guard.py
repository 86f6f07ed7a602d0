"""The collapse guard, our own method."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from leanthink.core.batch import RolloutBatch
from leanthink.core.control import check_state, events, moved, shown
from leanthink.core.errors import ConfigError, StateError
from leanthink.recipe.definition import Recipe
from leanthink.recipe.scoring import score_step
from leanthink.rewards import CollapseGuard, Correct, KimiLength, Scale, SigmoidLength, Sum
from oracles import Flags

EXAMPLES = [
    CollapseGuard(of=KimiLength(), window=1),
    CollapseGuard(of=SigmoidLength(alpha=0.4), relaxed=Correct(), window=3, forget=0.01),
]

SHARES = [0.8, 0.8, 0.6, 0.4, 0.4, 0.6, 0.7, 0.8, 0.8]


def batch_of(share: float) -> RolloutBatch:
    right = round(10 * share)
    return RolloutBatch.of(group=[0] * 10, length=range(10, 110, 10), correct=[1] * right + [0] * (10 - right))


def course(guard: CollapseGuard, shares: list[float]) -> list[dict[str, Any]]:
    state, seen = guard.init(), []
    for share in shares:
        _, state = guard(batch_of(share), json.loads(json.dumps(state)))
        seen.append(state["own"])
    return seen


def test_worked_example() -> None:
    """Window 2: smoothed .8 .8 .7 .55 .475 .5375 .61875 .709375 .7546875; reference .8."""
    guard = CollapseGuard(of=KimiLength(), window=2, drop=0.15, release=0.1, relax=0.5, tighten=0.25)
    seen = course(guard, SHARES)
    smoothed = [0.8, 0.8, 0.7, 0.55, 0.475, 0.5375, 0.61875, 0.709375, 0.7546875]
    assert [own["accuracy"] for own in seen] == pytest.approx(smoothed, abs=1e-9)
    assert [own["weight"] for own in seen] == [1, 1, 1, 0.5, 0, 0, 0, 0.25, 0.5]
    assert [own["relaxing"] for own in seen] == [0, 0, 0, 1, 1, 1, 1, 0, 0]
    assert seen[-1]["interventions"] == 2 and seen[-1]["reference"] == pytest.approx(0.8)


def test_between_release_and_drop_it_stays_as_it_is() -> None:
    guard = CollapseGuard(of=KimiLength(), window=1, drop=0.3, release=0.15)
    assert [own["relaxing"] for own in course(guard, [0.8, 0.6, 0.4, 0.6, 0.7, 0.6])] == [0, 0, 1, 1, 0, 0]


def test_the_reference_forgets_if_asked() -> None:
    guard = CollapseGuard(of=KimiLength(), window=1, drop=0.2, release=0.1, forget=0.1)
    seen = course(guard, [0.8, 0.5, 0.5, 0.5, 0.5])
    assert [own["reference"] for own in seen] == pytest.approx([0.8, 0.7, 0.6, 0.5, 0.5])
    assert [own["relaxing"] for own in seen] == [0, 0, 0, 0, 0]


class SlowGuard:
    """Our collapse guard, from its documentation."""

    def __init__(
        self,
        window: int,
        drop: float,
        release: float,
        relax: float,
        tighten: float,
        floor: float = 0.0,
        forget: float = 0.0,
    ):
        self.window, self.drop, self.release, self.relax, self.tighten = window, drop, release, relax, tighten
        self.floor, self.forget = floor, forget
        self.n, self.s, self.r, self.w, self.relaxing, self.interventions = 0, 0.0, 0.0, 1.0, False, 0

    def step(self, correct: Flags) -> float:
        if not correct:
            return self.w
        self.n += 1
        accuracy = sum(1 for ok in correct if ok) / len(correct)
        self.s += (accuracy - self.s) / (self.n if self.n < self.window else self.window)
        self.r -= self.forget
        if self.n <= self.window or self.s > self.r:
            self.r = self.s
        before = self.relaxing
        if not self.relaxing and self.s < self.r - self.drop:
            self.relaxing = True
        elif self.relaxing and self.s >= self.r - self.release:
            self.relaxing = False
        self.interventions += before != self.relaxing
        self.w = max(self.floor, self.w - self.relax) if self.relaxing else min(1.0, self.w + self.tighten)
        return self.w


@pytest.mark.parametrize("more", [{}, {"floor": 0.25}, {"forget": 0.004}, {"floor": 0.5, "forget": 0.02}], ids=str)
def test_agrees_with_the_loop_over_many_steps(batches: list[RolloutBatch], more: dict[str, float]) -> None:
    settings: dict[str, Any] = {"window": 4, "drop": 0.1, "release": 0.04, "relax": 0.3, "tighten": 0.2, **more}
    guard, slow, penalty = CollapseGuard(of=KimiLength(), **settings), SlowGuard(**settings), KimiLength()
    state = guard.init()
    for batch in batches:
        value_N, state = guard(batch, json.loads(json.dumps(state)))
        weight = slow.step((batch.correct == 1).tolist())
        torch.testing.assert_close(value_N, weight * penalty(batch)[0], rtol=1e-9, atol=1e-9)
    assert state["own"]["interventions"] == slow.interventions > 5


def test_a_whole_reward_gives_way_to_the_plain_one() -> None:
    guard = CollapseGuard(of=SigmoidLength(alpha=0.9), relaxed=Correct(), window=1, relax=1.0)
    state = guard.init()
    full_N, state = guard(batch_of(0.8), state)
    assert torch.equal(full_N, SigmoidLength(alpha=0.9)(batch_of(0.8))[0])
    gone_N, _ = guard(batch_of(0.4), state)
    assert torch.equal(gone_N, batch_of(0.4).correct)


def test_interventions_are_shown_and_told() -> None:
    guard = CollapseGuard(of=Scale(by=0.5, of=KimiLength()), window=1)
    recipe = Recipe(name="mine", reward=Sum(correct=Correct(), length=guard))
    first = score_step(recipe, batch_of(0.8))
    second = score_step(recipe, batch_of(0.4), first.state)
    third = score_step(recipe, batch_of(0.8), second.state)
    assert first.events == [] and first.metrics["control/length/weight"] == 1.0
    assert second.events == ["length: collapse guard relaxes the penalty: accuracy 0.400, reference 0.800"]
    assert (second.metrics["control/length/relaxing"], second.metrics["control/length/interventions"]) == (1, 1)
    assert third.events == ["length: collapse guard tightens the penalty again: accuracy 0.800, reference 0.800"]
    assert shown(recipe.reward, 2, third.state)["length/weight"] == pytest.approx(0.55)
    assert events(recipe.reward, third.state, third.state) == []


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"drop": 0}, "drop is 0"),
        ({"release": 0.05}, "release 0.05"),
        ({"window": 0}, "window is 0"),
        ({"window": 2.5}, "window is 2.5"),
        ({"forget": 1}, "forget 1"),
        ({"relax": 0}, "relax is 0"),
        ({"tighten": 0}, "tighten 0"),
        ({"floor": 1}, "floor 1"),
        ({"of": Correct()}, "Correct is a whole reward"),
        ({"relaxed": Correct()}, r"a term to be added \(KimiLength\), and relaxed, .* a whole reward \(Correct\)"),
        ({"of": SigmoidLength(alpha=0.5), "relaxed": KimiLength()}, r"of is a whole reward \(SigmoidLength\), and rel"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        CollapseGuard(**{"of": KimiLength(), **settings})


def test_state_of_another_shape_is_refused() -> None:
    guard = CollapseGuard(of=KimiLength())
    with pytest.raises(StateError, match="keeps its own under 'own'"):
        guard(batch_of(0.5), {"of": {}})
    with pytest.raises(StateError, match=r"reference is 7; give a number from 0 to 1"):
        check_state(guard, {"own": {**guard.start(), "reference": 7}}, "state")


@pytest.mark.parametrize(
    ("edit", "fact"),
    [
        ({"batches": -1}, "batches is -1; give a whole number, 0 or more"),
        ({"batches": 1.5}, "batches is 1.5; give a whole number"),
        ({"interventions": -2}, "interventions is -2; give a whole number"),
        ({"relaxing": 0.5}, "relaxing is 0.5; give 0 or 1"),
        ({"relaxing": 2}, "relaxing is 2; give 0 or 1"),
        ({"weight": 0.2}, "weight is 0.2; give a number from 0.25 to 1"),
    ],
    ids=str,
)
def test_an_edited_state_must_make_sense(edit: dict[str, float], fact: str) -> None:
    guard = CollapseGuard(of=KimiLength(), floor=0.25)
    check_state(guard, {"own": guard.start()}, "state")
    with pytest.raises(StateError, match=rf"state\.own: {fact}.*earlier checkpoint"):
        check_state(guard, {"own": {**guard.start(), **edit}}, "state")


def test_a_higher_floor_lifts_the_weight_of_a_state_that_moves() -> None:
    before, after = CollapseGuard(of=KimiLength()), CollapseGuard(of=KimiLength(), floor=0.25)
    for weight, expected in ((0.0, 0.25), (0.5, 0.5)):
        state, _ = moved(after, before, {"own": {**before.start(), "weight": weight, "batches": 7}})
        assert state == {"own": {**before.start(), "weight": expected, "batches": 7}}
        check_state(after, state, "state")


def test_until_the_window_is_full_the_reference_is_the_mean_so_far() -> None:
    """A lucky first batch is no accuracy that the policy has had."""
    seen = course(CollapseGuard(of=KimiLength(), window=2, drop=0.15, release=0.1), [0.8, 0.4, 0.6])
    assert [own["reference"] for own in seen] == pytest.approx([0.8, 0.6, 0.6])
    assert [own["relaxing"] for own in seen] == [0, 0, 0]
