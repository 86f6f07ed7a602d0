"""Short-RL, arXiv 2505.12284."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.control import check_state, events, shown
from leanthink.core.errors import ConfigError, StateError
from leanthink.rewards import Format, LazyLength, Sum, ThinkOutcome
from made_batches import group_of, measured
from oracles import Flags, Groups, Numbers, members

EXAMPLES = [LazyLength(), LazyLength(slack=0.0, tolerance=0.0, valid=Format())]
BASE = ThinkOutcome(right=3.0, wrong=-0.5, no_box=-3.0, no_block=-3.0)
RECIPES = {
    "short_rl": SpelledOut(
        reward=Sum(
            base=BASE,
            length=LazyLength(
                slack=100, tolerance=0.05, valid=ThinkOutcome(right=2.0, wrong=1.0, no_box=0.0, no_block=0.0)
            ),
        ),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        verl={
            "data.train_batch_size": 64,
            "data.max_response_length": 4096,
            "actor_rollout_ref.rollout.n": 8,
            "actor_rollout_ref.rollout.temperature": 1.0,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 64,
            "actor_rollout_ref.actor.optim.lr": 5e-7,
            "actor_rollout_ref.actor.kl_loss_coef": 0.001,
            "actor_rollout_ref.actor.kl_loss_type": "low_var_kl",
            "trainer.total_epochs": 1,
        },
    )
}

ANSWERED, CUT = r"<think> so </think> \boxed{4}", "<think> so"


def term(length: list[float], correct: list[int], slack: float = 100.0) -> list[float]:
    return LazyLength(slack=slack)(group_of(length, correct))[0].tolist()


def test_worked_example_of_one_group() -> None:
    expected = [0.5, 0.5, 0.5, 0.331667, 0, -0.5]
    assert term([200, 250, 300, 301, 500, 800], [1] * 6) == pytest.approx(expected, abs=1e-6)
    assert term([120, 500, 900], [1, 1, 1]) == pytest.approx([0.5, 0.012821, -0.5], abs=1e-6)


def test_worked_example_of_two_groups_with_their_base() -> None:
    batch = RolloutBatch.of(
        group=[0] * 4 + [1] * 4,
        length=[600, 650, 720, 900, 500, 3000, 1400, 4096],
        correct=[1, 1, 1, 0, 1, 0, 1, 0],
    )
    reward = Sum(base=BASE, length=LazyLength(valid=ThinkOutcome(right=2, wrong=1, no_box=0, no_block=0)))
    batch = measured(reward, batch, [ANSWERED] * 7 + [CUT])
    parts = reward.breakdown(batch).parts
    assert parts["length"].tolist() == pytest.approx([0.5, 0.5, -0.5, 0, 0.5, 0, -0.5, 0])
    assert reward(batch)[0].tolist() == pytest.approx([3.5, 3.5, 2.5, -0.5, 3.5, -0.5, 2.5, -3.0])


def test_worked_example_of_a_group_without_right_responses() -> None:
    batch = RolloutBatch.of(
        group=[0] * 4 + [1] * 4, length=[600, 650, 720, 900, 500, 560, 1400, 620], correct=[0] * 4 + [1, 1, 0, 1]
    )
    assert LazyLength()(batch)[0].tolist() == pytest.approx([0, 0, 0, 0, 0.5, 0.5, 0, -0.5])


@pytest.mark.parametrize(
    ("length", "correct", "expected"),
    [
        ([90], [1], [0.5]),
        ([640, 640, 640], [1, 1, 1], [0.5] * 3),
        ([500, 550, 600], [1, 1, 1], [0.5] * 3),
        ([500, 601], [1, 1], [0.5, -0.5]),
        ([10, 20], [0, 0], [0, 0]),
    ],
    ids=["alone", "one length", "within the slack", "just past it", "none right"],
)
def test_corners(length: list[float], correct: list[int], expected: list[float]) -> None:
    assert term(length, correct) == pytest.approx(expected)


def batch_of(right: int) -> RolloutBatch:
    """A hundred responses, so many right."""
    return RolloutBatch.of(group=[0] * 100, length=range(100), correct=[1] * right + [0] * (100 - right))


def test_worked_example_of_the_gate() -> None:
    reward, state = LazyLength(slack=0.0), LazyLength().init()
    best, gate, told = [], [], []
    for right in (50, 60, 56, 54, 70, 66, 64):
        before = state
        value_N, state = reward(batch_of(right), json.loads(json.dumps(state)))
        assert bool(value_N.any()) == bool(state["own"]["open"])
        best.append(state["own"]["best"])
        gate.append(state["own"]["open"])
        told += events(reward, before, state)
    assert best == pytest.approx([0.5, 0.6, 0.6, 0.6, 0.7, 0.7, 0.7])
    assert gate == [1, 1, 1, 0, 1, 1, 0]
    assert len(told) == 3 and "lazy length closes: accuracy 0.540, best 0.600" in told[0]
    assert dict(shown(reward, 0, state)) == {"best": 0.7, "accuracy": 0.64, "open": 0.0}


def test_an_accuracy_on_the_edge_keeps_it_open() -> None:
    """0.65 - 0.05 is 0.6000000000000001."""
    _, state = LazyLength()(batch_of(65))
    assert LazyLength()(batch_of(60), state)[1]["own"]["open"] == 1
    assert LazyLength()(batch_of(59), state)[1]["own"]["open"] == 0


def test_no_response_changes_nothing() -> None:
    _, state = LazyLength()(batch_of(65))
    value_N, after = LazyLength()(batch_of(1).select(torch.tensor([], dtype=torch.int64)), state)
    assert after == state and not len(value_N)


def slow_lazy(length: Numbers, right: Flags, group: Groups, slack: float) -> list[float]:
    """The paper's term for each right response, from the lengths of its group's right responses."""
    result = [0.0] * len(length)
    for rows in members(group).values():
        lengths = [length[i] for i in rows if right[i]]
        for i in rows:
            if not right[i]:
                continue
            shortest, longest = min(lengths), max(lengths)
            near = length[i] <= shortest + slack
            result[i] = 0.5 if near else 0.5 - (length[i] - shortest) / (longest - shortest)
    return result


@pytest.mark.parametrize("slack", [0.0, 100.0, 3000.0])
def test_agrees_with_the_loop(batches: list[RolloutBatch], slack: float) -> None:
    """One course over all batches: the best first, then the gate, then the term."""
    reward, state, best = LazyLength(slack=slack, tolerance=0.3), None, 0.0
    closed = 0
    for batch in batches:
        given_N, state = reward(batch, state)
        right = [bool(one) for one in batch.correct.tolist()]
        if not right:
            continue
        accuracy = sum(right) / len(right)
        best = accuracy if accuracy > best else best
        if accuracy >= best - 0.3 - 1e-9:
            expected = slow_lazy(batch.length.tolist(), right, batch.group.tolist(), slack)
        else:
            expected, closed = [0.0] * len(right), closed + 1
        torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert 0 < closed < len(batches)


@pytest.mark.parametrize(
    ("change", "told"),
    [({"best": 1.5}, r"best is 1\.5"), ({"accuracy": -1.0}, "accuracy is -1"), ({"open": 2}, "open is 2; give 0 or 1")],
)
def test_an_edited_state_is_told(change: dict[str, Any], told: str) -> None:
    state = {"own": {**LazyLength().init()["own"], **change}}
    with pytest.raises(StateError, match=told):
        check_state(LazyLength(), state, "state")


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"slack is -1\.0 and tolerance 0\.05; give a slack in tokens"):
        LazyLength(slack=-1.0)
    with pytest.raises(ConfigError, match=r"tolerance 5\.0"):
        LazyLength(tolerance=5.0)
