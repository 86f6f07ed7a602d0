"""A-DLP, arXiv 2505.18298."""

from __future__ import annotations

import json

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.control import check_state, shown
from leanthink.core.errors import ConfigError, StateError
from leanthink.rewards import Correct, DirectLength, Sum

EXAMPLES = [DirectLength(), DirectLength(price=0.1, rate=0.0)]
RECIPES = {
    "a_dlp": SpelledOut(
        reward=Sum(correct=Correct(), length=DirectLength(price=0.001, rate=0.001, reference=0.62)),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        verl={
            "data.train_batch_size": 64,
            "data.max_response_length": 8192,
            "actor_rollout_ref.rollout.n": 4,
            "actor_rollout_ref.rollout.temperature": 0.6,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 64,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "actor_rollout_ref.actor.use_kl_loss": True,
            "actor_rollout_ref.actor.kl_loss_coef": 0.001,
            "actor_rollout_ref.actor.kl_loss_type": "low_var_kl",
            "trainer.total_epochs": 3,
        },
    )
}

WHOLE = Sum(correct=Correct(), length=DirectLength())
STEPS = [
    (
        ([1200, 3000, 5000, 900, 800, 2000, 6400, 8192], [1, 0, 1, 1, 0, 1, 0, 0]),
        [-0.2, -3, -4, 0.1, -0.8, -1, -6.4, -8.192],
        [0.773214, -0.601389, -1.092319, 0.920493, 0.875872, 0.822757, -0.611358, -1.087271],
        0.000880,
    ),
    (
        ([1100, 2600, 4100, 900, 800, 1900, 3000, 2500], [1] * 8),
        [0.032, -1.288, -2.608, 0.208, 0.296, -0.672, -1.640, -1.2],
        [0.721086, -0.285081, -1.291248, 0.855242, 1.320061, 0.158407, -1.003246, -0.475222],
        0.001260,
    ),
    (
        ([800, 900, 700, 650, 600, 500, 400, 300], [0] * 8),
        [-1.008, -1.134, -0.882, -0.819, -0.756, -0.630, -0.504, -0.378],
        [-0.338238, -1.240207, 0.563730, 1.014715, -1.161888, -0.387296, 0.387296, 1.161888],
        0.000640,
    ),
]


def test_worked_example_of_three_steps() -> None:
    state = WHOLE.init()
    for (length, correct), reward, advantage, price in STEPS:
        batch = RolloutBatch.of(group=[0] * 4 + [1] * 4, length=length, correct=correct)
        reward_N, state = WHOLE(batch, json.loads(json.dumps(state)))
        assert reward_N.tolist() == pytest.approx(reward, abs=1e-6)
        assert Grpo(scale="std")(reward_N, batch.group).tolist() == pytest.approx(advantage, abs=1e-6)
        assert state["length"]["price"] == pytest.approx(price, abs=1e-12)
    assert dict(shown(WHOLE, 2, state)) == {
        "length/price": pytest.approx(0.00064),
        "length/accuracy": 0.0,
    }


def test_the_price_stops_at_0_and_stays_without_responses() -> None:
    wrong = RolloutBatch.of(group=[0, 0], length=[5, 7], correct=[0, 0])
    _, state = DirectLength()(wrong, {"price": 0.00038, "accuracy": 1.0})
    assert state == {"price": 0.0, "accuracy": 0.0}
    assert not DirectLength()(wrong, state)[0].any()
    assert DirectLength()(wrong.select(torch.tensor([], dtype=torch.int64)), state)[1] == state


def test_a_rate_of_0_is_the_static_penalty() -> None:
    _, state = DirectLength(rate=0.0)(RolloutBatch.of(group=[0], length=[5], correct=[1]))
    assert state["price"] == 0.001


def test_agrees_with_the_loop(batches: list[RolloutBatch]) -> None:
    """One course over all batches: ``R = c - lambda len``, and what the batch does to lambda."""
    reward, state, price = Sum(correct=Correct(), length=DirectLength(rate=0.0003)), None, 0.001
    for batch in batches:
        given_N, state = reward(batch, state)
        right = batch.correct.tolist()
        for value, correct, tokens in zip(given_N.tolist(), right, batch.length.tolist(), strict=True):
            assert value == pytest.approx(correct - price * tokens, abs=1e-9)
        if right:
            price = price + 0.0003 * (sum(right) / len(right) - 0.62)
            price = 0.0 if price < 0 else price
        assert state["length"]["price"] == pytest.approx(price, abs=1e-12)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"price": -0.1}, r"price is -0\.1"),
        ({"rate": -1.0}, r"rate -1\.0; give both 0 or more"),
        ({"reference": 62.0}, r"reference is 62\.0; it is an accuracy: give 0 to 1"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        DirectLength(**settings)


@pytest.mark.parametrize(
    ("state", "told"),
    [({"price": -1.0, "accuracy": 0.5}, "price is -1"), ({"price": 0.0, "accuracy": 2.0}, r"accuracy is 2\.0")],
)
def test_an_edited_state_is_told(state: dict[str, float], told: str) -> None:
    with pytest.raises(StateError, match=told):
        check_state(DirectLength(), state, "state")
