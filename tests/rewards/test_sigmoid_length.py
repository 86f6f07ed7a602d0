"""TRLE, arXiv 2502.04463."""

from __future__ import annotations

import math

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip, Rloo
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.schedules import Linear
from leanthink.rewards import SigmoidLength
from leanthink.rewards.sigmoid_length import sigmoid_length
from oracles import Flags, Groups, Numbers

EXAMPLES = [SigmoidLength(alpha=0.4), SigmoidLength(alpha=0.9, ddof=1, eps=1.0, check_eos=False)]
RECIPES = {
    "trle": SpelledOut(
        reward=SigmoidLength(alpha=0.1, eps=1e-7, ddof=0, check_eos=True),
        advantage=Rloo(),
        loss=PpoClip(low=0.2, high=0.2),
        verl={
            "data.train_batch_size": 32,
            "actor_rollout_ref.rollout.n": 8,
            "actor_rollout_ref.actor.optim.lr": 5e-6,
            "data.max_prompt_length": 512,
            "data.max_response_length": 32000,
            "algorithm.kl_ctrl.kl_coef": 0.001,
        },
    )
}

SIX = RolloutBatch.of(group=[0] * 6, length=[800, 1200, 1600, 2400, 5000, 600], correct=[1, 1, 1, 1, 0, 0])
FOUR_RIGHT = RolloutBatch.of(group=[0] * 4, length=[800, 1200, 1600, 2400], correct=[1] * 4)


@pytest.mark.parametrize(
    ("reward", "expected", "advantage"),
    [
        (
            SigmoidLength(alpha=0.1),
            [0.976553, 0.962412, 0.945784, 0.917927, 0, 0],
            [0.411328, 0.394360, 0.374406, 0.340977, -0.760535, -0.760535],
        ),
        (
            SigmoidLength(alpha=0.4),
            [0.906210, 0.849650, 0.783137, 0.671709, 0, 0],
            [0.445311, 0.377439, 0.297623, 0.163910, -0.642141, -0.642141],
        ),
        (SigmoidLength(alpha=0.1, ddof=1), [0.973589, 0.960806, 0.946347, 0.921124, 0, 0], None),
    ],
)
def test_worked_example(reward: SigmoidLength, expected: list[float], advantage: list[float] | None) -> None:
    reward_N, _ = reward(SIX)
    assert reward_N.tolist() == pytest.approx(expected, abs=1e-6)
    if advantage is not None:
        assert Rloo()(reward_N, SIX.group).tolist() == pytest.approx(advantage, abs=1e-6)


def test_worked_example_one_correct() -> None:
    batch = RolloutBatch.of(group=[0] * 4, length=[10, 20, 30, 40], correct=[0, 1, 0, 0])
    reward_N, _ = SigmoidLength(alpha=0.1)(batch)
    assert reward_N.tolist() == pytest.approx([0, 0.95, 0, 0], abs=1e-6)
    assert Rloo()(reward_N, batch.group).tolist() == pytest.approx([-0.316667, 0.95, -0.316667, -0.316667], abs=1e-6)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (0.01, [1.027082, 0.465988, -0.193838, -1.299232]),
        (0.1, [1.027449, 0.466154, -0.193907, -1.299696]),
        (0.4, [1.027480, 0.466168, -0.193913, -1.299735]),
    ],
)
def test_worked_example_std_normalised_advantage_hides_alpha(alpha: float, expected: list[float]) -> None:
    reward_N, _ = SigmoidLength(alpha=alpha)(FOUR_RIGHT)
    assert Grpo()(reward_N, FOUR_RIGHT.group).tolist() == pytest.approx(expected, abs=1e-6)


def slow_sigmoid_length(
    length: Numbers, correct: Flags, group: Groups, alpha: float, eps: float = 1e-7, ddof: int = 0
) -> list[float]:
    """arXiv 2502.04463: ``r_i = c_i (1 - alpha sigmoid((len_i - MEAN) / (STD + eps)))``, over the correct ones."""
    result = []
    for i in range(len(length)):
        if not correct[i]:
            result.append(0.0)
            continue
        lengths = [length[j] for j in range(len(length)) if group[j] == group[i] and correct[j]]
        centre = sum(lengths) / len(lengths)
        deviation = 0.0
        if len(lengths) > ddof:
            deviation = math.sqrt(sum((one - centre) ** 2 for one in lengths) / (len(lengths) - ddof))
        z = (length[i] - centre) / (deviation + eps)
        result.append(1 - alpha / (1 + math.exp(-z)))
    return result


@pytest.mark.parametrize(("alpha", "eps", "ddof"), [(0.1, 1e-7, 0), (0.4, 1e-6, 1), (0.0, 1.0, 0), (0.99, 50.0, 0)])
def test_agrees_with_the_loop(
    batches: list[RolloutBatch], merged: RolloutBatch, alpha: float, eps: float, ddof: int
) -> None:
    expected: list[float] = []
    for batch in batches:
        correct = ((batch.correct == 1) & ~batch.truncated).tolist()
        expected += slow_sigmoid_length(batch.length.tolist(), correct, batch.group.tolist(), alpha, eps, ddof)
    correct_N = (merged.correct == 1) & ~merged.truncated
    given_N = sigmoid_length(merged.length, correct_N, merged.group, alpha, eps, ddof)
    torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    assert torch.equal(SigmoidLength(alpha=alpha, eps=eps, ddof=ddof)(merged)[0], given_N)


def test_correct_responses_earn_between_1_minus_alpha_and_1_and_less_the_longer(batches: list[RolloutBatch]) -> None:
    for batch in batches[:200]:
        reward_N, _ = SigmoidLength(alpha=0.4, check_eos=False)(batch)
        right_N = batch.correct == 1
        assert ((reward_N[right_N] >= 0.6) & (reward_N[right_N] <= 1.0)).all() and (reward_N[~right_N] == 0).all()
        for code in range(batch.num_groups):
            of_group_N = right_N & (batch.group == code)
            by_length_M = reward_N[of_group_N][batch.length[of_group_N].argsort(stable=True)]
            assert (by_length_M.diff() <= 1e-12).all()


def test_equal_lengths_earn_half_the_discount() -> None:
    batch = RolloutBatch.of(group=[0] * 3, length=[700] * 3, correct=[1] * 3)
    assert SigmoidLength(alpha=0.2)(batch)[0].tolist() == pytest.approx([0.9] * 3)


def test_truncated_counts_as_wrong_and_leaves_the_statistics() -> None:
    batch = RolloutBatch.of(group=[0] * 3, length=[100, 300, 9000], correct=[1, 1, 1], truncated=[0, 0, 1])
    without = SigmoidLength(alpha=0.2)(batch.select(torch.tensor([0, 1])))[0].tolist()
    assert SigmoidLength(alpha=0.2)(batch)[0].tolist() == pytest.approx([*without, 0.0])
    assert SigmoidLength(alpha=0.2, check_eos=False)(batch)[0][2] > 0.8


def test_alpha_may_be_a_schedule() -> None:
    reward = SigmoidLength(alpha=Linear(start=0.0, stop=0.4, steps=10))
    assert reward(SIX)[0].tolist() == SIX.correct.tolist()
    assert torch.equal(reward(SIX.replace(step=10))[0], SigmoidLength(alpha=0.4)(SIX)[0])


@pytest.mark.parametrize(
    ("settings", "fact"), [({"alpha": 1.0}, "alpha is 1.0"), ({"alpha": -0.1}, "alpha is -0.1"),
                           ({"alpha": 0.1, "eps": 0.0}, "eps is 0.0"), ({"alpha": 0.1, "ddof": 2}, "ddof 2")],
)  # fmt: skip
def test_wrong_settings_are_refused(settings: dict[str, float], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        SigmoidLength(**settings)  # type: ignore[arg-type]


def test_a_schedule_that_would_leave_the_range_is_refused_when_built() -> None:
    with pytest.raises(ConfigError, match="alpha is Linear"):
        SigmoidLength(alpha=Linear(start=0.1, stop=1.0, steps=50))
