"""Kimi k1.5, arXiv 2501.12599, Sec. 2.3.3."""

from __future__ import annotations

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.schedules import Linear, Stairs
from leanthink.rewards import Correct, Format, KimiLength, Scale, Sum
from leanthink.rewards.kimi_length import kimi_length
from leanthink.testing import ContractError, check_reward
from oracles import Flags, Groups, Numbers

EXAMPLES = [KimiLength()]
RECIPES = {
    "kimi": SpelledOut(
        reward=Sum(correct=Correct(), length=Scale(by=Stairs(values=(0.0, 0.5), boundaries=(20,)), of=KimiLength())),
        advantage=Grpo(scale="none"),
        loss=PpoClip(low=0.2, high=0.2),
        verl={},
    ),
    "long_short": SpelledOut(
        reward=Sum(
            correct=Correct(),
            format=Format(),
            length=Scale(by=Linear(start=0.0, stop=1.0, steps=100), of=KimiLength()),
        ),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        verl={
            "data.max_prompt_length": 512,
            "data.max_response_length": 1024,
            "actor_rollout_ref.actor.optim.lr": 5e-6,
            "trainer.total_epochs": 8,
        },
    ),
}

SIX = RolloutBatch.of(group=[0] * 6, length=[500, 1000, 1500, 2000, 3000, 2500], correct=[1, 0, 1, 0, 0, 1])


def with_weight(weight: float) -> Sum:
    return Sum(correct=Correct(), length=Scale(by=weight, of=KimiLength()))


def test_worked_example() -> None:
    assert KimiLength()(SIX)[0].tolist() == pytest.approx([0.5, 0.0, 0.1, -0.1, -0.5, -0.3], abs=1e-6)
    all_right = SIX.replace(correct=[1] * 6)
    assert KimiLength()(all_right)[0].tolist() == pytest.approx([0.5, 0.3, 0.1, -0.1, -0.5, -0.3], abs=1e-6)


def test_worked_example_totals() -> None:
    total_N, _ = with_weight(1.0)(SIX)
    assert total_N.tolist() == pytest.approx([1.5, 0.0, 1.1, -0.1, -0.5, 0.7], abs=1e-6)
    assert total_N.mean().item() == pytest.approx(0.45, abs=1e-6)
    advantage_N = Grpo(scale="none")(total_N, SIX.group)
    assert advantage_N.tolist() == pytest.approx([1.05, -0.45, 0.65, -0.55, -0.95, 0.25], abs=1e-6)
    assert with_weight(0.4)(SIX)[0].tolist() == pytest.approx([1.2, 0.0, 1.04, -0.04, -0.2, 0.88], abs=1e-6)


@pytest.mark.parametrize("correct", [[1, 1, 1], [0, 1, 0], [0, 0, 0]])
def test_worked_example_equal_lengths(correct: list[int]) -> None:
    batch = RolloutBatch.of(group=[0] * 3, length=[800] * 3, correct=correct)
    assert KimiLength()(batch)[0].tolist() == [0.0] * 3


def slow_kimi_length(length: Numbers, correct: Flags, group: Groups) -> list[float]:
    """arXiv 2501.12599, Sec. 2.3.3: min-max over the whole group; the wrong keep the negative part."""
    result = []
    for i in range(len(length)):
        lengths = [length[j] for j in range(len(length)) if group[j] == group[i]]
        low, high = min(lengths), max(lengths)
        if low == high:
            result.append(0.0)
            continue
        lam = 0.5 - (length[i] - low) / (high - low)
        result.append(lam if correct[i] else min(0.0, lam))
    return result


def test_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch) -> None:
    expected: list[float] = []
    for batch in batches:
        expected += slow_kimi_length(batch.length.tolist(), (batch.correct == 1).tolist(), batch.group.tolist())
    given_N = kimi_length(merged.length, merged.correct == 1, merged.group)
    torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert torch.equal(KimiLength()(merged)[0], given_N)


def test_truncation_changes_nothing_by_itself() -> None:
    assert torch.equal(KimiLength()(SIX.replace(truncated=[1] * 6))[0], KimiLength()(SIX)[0])


def test_a_weight_below_2_keeps_correct_above_wrong_and_more_does_not() -> None:
    check_reward(with_weight(1.9), rounds=10)
    with pytest.raises(ContractError, match="correct response never scores below a wrong one"):
        check_reward(with_weight(2.5))


def test_the_warm_up_switches_the_term_on() -> None:
    reward = Sum(correct=Correct(), length=Scale(by=Stairs(values=(0.0, 0.5), boundaries=(20,)), of=KimiLength()))
    assert torch.equal(reward(SIX.replace(step=19))[0], SIX.correct)
    assert torch.equal(reward(SIX.replace(step=20))[0], with_weight(0.5)(SIX)[0])
