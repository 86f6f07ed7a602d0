"""GR3, arXiv 2603.10535."""

from __future__ import annotations

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.groups import group_mean
from leanthink.core.placement import token_rewards
from leanthink.core.schedules import Linear
from leanthink.rewards import Correct, Gate, KimiLength, LengthRescale, Scale, StepwiseGain, Sum
from leanthink.rewards.length_rescale import length_factor
from leanthink.testing import check_reward
from oracles import Groups, Numbers

EXAMPLES = [
    LengthRescale(),
    LengthRescale(alpha=2.0, of=Correct(right=3.0)),
    LengthRescale(alpha=Linear(start=0.0, stop=1.0, steps=30)),
]
RECIPES = {
    "gr3": SpelledOut(
        reward=LengthRescale(alpha=0.33, of=Correct()),
        advantage=Grpo(scale="none"),
        loss=PpoClip(low=0.2, high=0.28),
        verl={"actor_rollout_ref.rollout.n": 16},
    )
}

SIX = RolloutBatch.of(group=[0] * 6, length=[1000, 2000, 3000, 4000, 6000, 8000], correct=[1, 1, 0, 1, 0, 1])


def advantages(batch: RolloutBatch, alpha: float = 0.33) -> list[float]:
    return Grpo(scale="none")(LengthRescale(alpha=alpha)(batch)[0], batch.group).tolist()


def one_group(length: list[float], correct: list[int]) -> RolloutBatch:
    return RolloutBatch.of(group=[0] * len(length), length=length, correct=correct)


def test_worked_example() -> None:
    reward_N, _ = LengthRescale()(SIX)
    assert reward_N.tolist() == pytest.approx([0.923788, 0.858369, 0, 0.751880, 0, 0.602410], abs=1e-6)
    expected = [0.401047, 0.335628, -0.522741, 0.229139, -0.522741, 0.079669]
    assert advantages(SIX) == pytest.approx(expected, abs=1e-6)
    divided = [0.956579, 0.800542, -1.246845, 0.546543, -1.246845, 0.190026]
    assert Grpo(scale="std")(reward_N, SIX.group).tolist() == pytest.approx(divided, abs=1e-6)


def test_a_strong_alpha_puts_the_longest_right_one_below_the_baseline() -> None:
    expected = [0.416667, 0.283333, -0.383333, 0.116667, -0.383333, -0.05]
    assert advantages(SIX, alpha=1.0) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("length", "correct", "expected"),
    [
        ([500, 1500, 2000, 4000], [0, 0, 1, 0], [-0.187970, -0.187970, 0.563910, -0.187970]),
        ([400, 500, 600, 12000], [1, 1, 1, 1], [0.132247, 0.123275, 0.114470, -0.369992]),
        ([640] * 4, [1, 0, 1, 0], [0.375940, -0.375940, 0.375940, -0.375940]),
        ([10, 20], [0, 0], [0, 0]),
        ([10], [1], [0]),
    ],
    ids=["one right", "an outlier", "equal lengths", "none right", "alone"],
)
def test_worked_groups(length: list[float], correct: list[int], expected: list[float]) -> None:
    assert advantages(one_group(length, correct)) == pytest.approx(expected, abs=1e-6)


def test_graded_rewards_are_rescaled_alike() -> None:
    """Rewards 1, 0.5 and 0.8 of 10, 20 and 10 tokens."""
    reward_N = torch.tensor([1.0, 0.5, 0.8]) * length_factor(
        torch.tensor([10.0, 20.0, 10.0]), torch.zeros(3).long(), 0.33
    )
    centred_N = reward_N - reward_N.mean()
    assert centred_N.tolist() == pytest.approx([0.209159, -0.257996, 0.048838], abs=1e-6)


def test_the_mean_taken_off_is_that_of_the_rescaled_rewards() -> None:
    """Three right ones and a wrong one; with the mean of the rewards before, two right ones would fall below 0."""
    batch = one_group([100, 200, 300, 400], [1, 1, 1, 0])
    values = advantages(batch)
    assert sum(values) == pytest.approx(0, abs=1e-12)
    assert min(values[:3]) > 0


def test_empty_responses_keep_all() -> None:
    assert LengthRescale()(one_group([0, 0], [1, 1]))[0].tolist() == [1.0, 1.0]
    assert LengthRescale()(one_group([0, 10], [1, 1]))[0].tolist() == pytest.approx([1.0, 1 / 1.66])


def slow_rescaled(reward: Numbers, length: Numbers, group: Groups, alpha: float) -> list[float]:
    """arXiv 2603.10535: the reward over 1 + alpha times the length relative to the group's mean."""
    result = []
    for i in range(len(length)):
        lengths = [length[j] for j in range(len(length)) if group[j] == group[i]]
        total = sum(lengths)
        result.append(reward[i] / (1 + alpha * length[i] * len(lengths) / total) if total else reward[i])
    return result


@pytest.mark.parametrize("alpha", [0.33, 2.0])
def test_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch, alpha: float) -> None:
    expected: list[float] = []
    for batch in batches:
        expected += slow_rescaled(batch.correct.tolist(), batch.length.tolist(), batch.group.tolist(), alpha)
    given_N, _ = LengthRescale(alpha=alpha)(merged)
    torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_truncated_responses_count_with_their_length() -> None:
    assert torch.equal(LengthRescale()(SIX.replace(truncated=[0, 0, 0, 0, 0, 1]))[0], LengthRescale()(SIX)[0])


def test_alpha_may_be_a_schedule() -> None:
    reward = LengthRescale(alpha=Linear(start=0.0, stop=1.0, steps=10))
    assert torch.equal(reward(SIX)[0], SIX.correct)
    assert torch.equal(reward(SIX.replace(step=5))[0], LengthRescale(alpha=0.5)(SIX)[0])


def test_what_falls_on_single_tokens_is_rescaled_there() -> None:
    """A part that pays steps keeps the same share at each, so that tokens still add up to the reward."""
    steps = Sum(correct=Correct(right=5.0), steps=Gate(column="correct", of=StepwiseGain()))
    batch = one_group([8, 16], [1, 1]).replace(
        cut_tokens=[[2, 5, 8], [3, 9, 16]], probe_accuracies=[[0.0, 0.5, 1.0]] * 2
    )
    whole, half = steps.breakdown(batch), LengthRescale(of=steps).breakdown(batch)
    factor_N = length_factor(batch.length, batch.group, 0.33)
    assert half.placement is not None
    before_NT = token_rewards(whole.reward, batch.length, whole.placement)
    after_NT = token_rewards(half.reward, batch.length, half.placement)
    torch.testing.assert_close(after_NT, before_NT * factor_N[:, None])


def test_right_stays_above_wrong_however_strong() -> None:
    check_reward(LengthRescale(alpha=50.0), rounds=10)


def test_a_negative_reward_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"alpha is -1, which would pay for length; give 0 or more"):
        LengthRescale(alpha=-1)
    with pytest.raises(ConfigError, match=r"a wrong response earns -1\.0"):
        LengthRescale(of=Correct(wrong=-1.0))
    with pytest.raises(BatchError, match=r"the reward of row 5 is -0\.5, and"):
        LengthRescale(of=Sum(correct=Correct(), length=Scale(by=3.0, of=KimiLength())))(SIX.replace(correct=[1] * 6))


def test_the_mean_is_of_each_group_alone() -> None:
    batch = RolloutBatch.of(group=[1, 0, 1, 0], length=[10, 500, 30, 1500], correct=[1] * 4)
    assert group_mean(batch.length, batch.group).tolist() == [20, 1000]
    assert LengthRescale(alpha=1.0)(batch)[0].tolist() == pytest.approx([1 / 1.5, 1 / 1.5, 1 / 2.5, 1 / 2.5])
