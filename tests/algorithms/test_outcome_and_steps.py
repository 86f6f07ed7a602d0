"""LC-R1's advantage, arXiv 2506.14755."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from leanthink.algorithms import OutcomeAndSteps
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from oracles import Groups, Numbers, members

EXAMPLES = [OutcomeAndSteps(), OutcomeAndSteps(scale="std")]


def test_worked_example() -> None:
    reward_NT = torch.tensor([[0.0, 2.6], [0.0, 2.4], [0.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    group_N = torch.zeros(4, dtype=torch.int64)
    advantage_NT = OutcomeAndSteps()(reward_NT, torch.ones(4, 2, dtype=torch.bool), group_N)
    for t in range(2):
        assert advantage_NT[:, t].tolist() == pytest.approx([0.6, 0.4, 0.0, -1.0], abs=1e-6)


def slow_outcome_and_steps(
    reward: Sequence[Numbers], length: Sequence[int], group: Groups, eps: float | None = None
) -> list[list[float]]:
    """arXiv 2506.14755: the outcome less the group's mean on every token, what falls on a token there alone.

    With ``eps`` the outcome's part is divided by the group's sample deviation plus it; equal outcomes give 0.
    """
    result = [[0.0] * len(row) for row in reward]
    for of in members(group).values():
        alive = [i for i in of if length[i]]
        for i in alive:
            outcomes = [reward[j][length[j] - 1] for j in alive]
            mean = sum(outcomes) / len(alive)
            whole = reward[i][length[i] - 1] - mean
            if eps is not None and len(set(outcomes)) > 1:
                whole /= math.sqrt(sum((one - mean) ** 2 for one in outcomes) / (len(outcomes) - 1)) + eps
            for t in range(length[i]):
                result[i][t] = whole + (reward[i][t] if t < length[i] - 1 else 0.0)
    return result


@pytest.mark.parametrize(
    ("advantage", "eps"),
    [
        (OutcomeAndSteps(), None),
        (OutcomeAndSteps(scale="std"), 1e-6),
        (OutcomeAndSteps(scale="std", eps=0.1), 0.1),
    ],
)
def test_agrees_with_the_loop(batches: list[RolloutBatch], advantage: OutcomeAndSteps, eps: float | None) -> None:
    generator = torch.Generator().manual_seed(0)
    for batch in batches:
        length_N = batch.length.long() % 7
        width = int(length_N.max()) if len(batch) else 0
        mask_NT = torch.arange(width) < length_N[:, None]
        reward_NT = torch.randint(-2, 3, (len(batch), width), generator=generator) / 2 * mask_NT
        expected = slow_outcome_and_steps(reward_NT.tolist(), length_N.tolist(), batch.group.tolist(), eps)
        given_NT = advantage(reward_NT, mask_NT, batch.group)
        torch.testing.assert_close(given_NT, torch.tensor(expected, dtype=torch.float64).view_as(given_NT))


def test_a_wrong_scale_is_refused() -> None:
    with pytest.raises(ConfigError, match="eps -1"):
        OutcomeAndSteps(eps=-1.0)
