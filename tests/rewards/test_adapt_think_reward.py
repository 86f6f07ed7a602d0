"""AdaptThink's reward, arXiv 2505.13417; its loss is in tests/algorithms."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import AdaptThink, NoBaseline, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.rewards import AdaptThinkReward, Format
from made_batches import group_of, measured

EXAMPLES = [AdaptThinkReward(), AdaptThinkReward(delta=0.2, share=0.25, valid=Format(opened_by_prompt=True))]
WRONG_MAY_BEAT_CORRECT = [AdaptThinkReward]  # the start policy's accuracy is drawn anew for each response of a group
RECIPES = {
    "adaptthink": SpelledOut(
        reward=AdaptThinkReward(delta=0.05, share=0.5, short_limit=4096, valid=Format(opened_by_prompt=True)),
        advantage=NoBaseline(),
        loss=AdaptThink(ratio="mean", of=PpoClip(low=0.2, high=0.2)),
        verl={
            "data.train_batch_size": 128,
            "data.max_prompt_length": 1024,
            "data.max_response_length": 16384,
            "actor_rollout_ref.rollout.n": 16,
            "actor_rollout_ref.rollout.temperature": 0.6,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 128,
            "actor_rollout_ref.actor.optim.lr": 2e-6,
            "actor_rollout_ref.actor.use_kl_loss": False,
        },
    )
}


def prompt(correct: list[int], modes: list[float], reference: float) -> RolloutBatch:
    return group_of([90.0] * len(correct), correct, mode=modes, reference_accuracy=[reference] * len(correct))


def test_worked_example() -> None:
    batch = prompt([1, 0, 1, 1, 1, 1, 1, 0], [0] * 4 + [1] * 4, 9 / 16)
    expected = [0.4875, -0.5125, 0.4875, 0.4875, 0.4375, 0.4375, 0.4375, -0.5625]
    reward_N = AdaptThinkReward()(batch)[0]
    assert reward_N.tolist() == pytest.approx(expected, abs=1e-9)
    assert reward_N[:4].mean().item() == pytest.approx(0.2375)
    assert reward_N[4:].mean().item() == pytest.approx(0.1875)


def test_on_a_prompt_that_the_start_always_solves_only_not_thinking_earns() -> None:
    assert AdaptThinkReward()(prompt([1, 1], [0, 1], 1.0))[0].tolist() == pytest.approx([0.05, 0.0])
    assert AdaptThinkReward()(prompt([0, 0], [0, 1], 0.0))[0].tolist() == pytest.approx([0.05, 0.0])


def test_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch) -> None:
    draw = torch.Generator().manual_seed(4)
    mode_N = torch.randint(0, 2, (len(merged),), generator=draw)
    reference_N = (merged.group % 17).double() / 16
    expected = []
    for right, mode, reference in zip(merged.correct.tolist(), mode_N.tolist(), reference_N.tolist(), strict=True):
        advantage = right - reference
        if mode == 0:
            advantage = advantage + 0.075
        expected.append(advantage)
    batch = merged.replace(mode=mode_N, reference_accuracy=reference_N)
    given_N = AdaptThinkReward(delta=0.075)(batch)[0]
    torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_out_of_form_is_wrong_whatever_the_answer() -> None:
    reward = AdaptThinkReward(valid=Format(opened_by_prompt=True))
    texts = ["</think> 4", "</think> so </think> 4", "Alright </think> 4", "Alright <think> </think> 4"]
    batch = measured(reward, prompt([1] * 4, [0, 0, 1, 1], 0.5), texts)
    assert reward(batch)[0].tolist() == pytest.approx([0.55, -0.45, 0.5, -0.5])


@pytest.mark.parametrize(("rollouts", "short"), [(16, 8), (5, 2), (7, 4), (2, 1)])
def test_how_many_do_not_think(rollouts: int, short: int) -> None:
    openings = [AdaptThinkReward(short_limit=99).opening(session, rollouts) for session in range(rollouts)]
    modes = [one.columns["mode"] for one in openings]
    assert modes == [0.0] * short + [1.0] * (rollouts - short)
    assert (openings[0].text, openings[0].limit, openings[-1].text, openings[-1].limit) == (
        "</think>",
        99,
        "Alright",
        None,
    )
    assert all(one.is_trained and one.one_token and not one.instruction for one in openings)


def test_a_mode_without_a_response_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a share of 0\.5 of 1 rollouts leaves one mode without a response"):
        AdaptThinkReward().opening(0, 1)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"delta": -0.1}, r"delta is -0\.1; give 0 or more"),
        ({"share": 1.0}, r"share is 1\.0; give a share of a group"),
        ({"short_opening": "Alright"}, "another token than long_opening"),
        ({"long_opening": ""}, "the token that thinking begins with"),
        ({"short_limit": 1}, "short_limit is 1"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        AdaptThinkReward(**settings)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mode": [0, 2]}, r"column 'mode', row 1: 2 is not allowed; give 1 for thinking"),
        ({"reference_accuracy": [0.5, 50]}, r"column 'reference_accuracy', row 1: 50 is not allowed.*--reference"),
    ],
)
def test_wrong_columns_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(BatchError, match=told):
        AdaptThinkReward()(prompt([1, 1], [0, 1], 0.5).replace(**changes))
