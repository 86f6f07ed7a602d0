"""LC-R1, arXiv 2506.14755: its length reward."""

from __future__ import annotations

import pytest
import torch

from leanthink.core.batch import RolloutBatch
from leanthink.rewards import Correct, LongestCorrectLength, Sum
from oracles import Flags, Groups, Numbers, members

EXAMPLES = [LongestCorrectLength(), LongestCorrectLength(pay_wrong=True)]

FOUR = RolloutBatch.of(group=[0] * 4, length=[400, 600, 1000, 800], correct=[1, 1, 1, 0])


def test_worked_example() -> None:
    reward = Sum(base=Correct(right=2.0, wrong=1.0), length=LongestCorrectLength())
    result = reward.breakdown(FOUR)
    assert result.parts["length"].tolist() == pytest.approx([0.6, 0.4, 0.0, 0.0], abs=1e-6)
    assert result.reward.tolist() == pytest.approx([2.6, 2.4, 2.0, 1.0], abs=1e-6)
    assert LongestCorrectLength(pay_wrong=True)(FOUR)[0].tolist() == pytest.approx([0.6, 0.4, 0.0, 0.2], abs=1e-6)


def slow_longest_correct_length(length: Numbers, correct: Flags, group: Groups, pay_wrong: bool = False) -> list[float]:
    """arXiv 2506.14755, Eq. 3; with ``pay_wrong`` the released trainer's."""
    result = [0.0] * len(length)
    for of in members(group).values():
        right = [length[i] for i in of if correct[i]]
        for i in of:
            if right and (correct[i] or pay_wrong):
                result[i] = 1 - length[i] / max(*right, 1.0)
    return result


@pytest.mark.parametrize("pay_wrong", [False, True])
def test_the_length_reward_agrees_with_the_loop(
    batches: list[RolloutBatch], merged: RolloutBatch, pay_wrong: bool
) -> None:
    expected: list[float] = []
    for batch in batches:
        length, correct, group = batch.length.tolist(), (batch.correct == 1).tolist(), batch.group.tolist()
        expected += slow_longest_correct_length(length, correct, group, pay_wrong)
    given_N = LongestCorrectLength(pay_wrong=pay_wrong)(merged)[0]
    torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)
