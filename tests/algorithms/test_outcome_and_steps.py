"""LC-R1's advantage, arXiv 2506.14755."""

from __future__ import annotations

import pytest
import torch

import oracles_modes as oracles
from leanthink.algorithms import OutcomeAndSteps
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError


def test_worked_example() -> None:
    reward_NT = torch.tensor([[0.0, 2.6], [0.0, 2.4], [0.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    group_N = torch.zeros(4, dtype=torch.int64)
    advantage_NT = OutcomeAndSteps()(reward_NT, torch.ones(4, 2, dtype=torch.bool), group_N)
    for t in range(2):
        assert advantage_NT[:, t].tolist() == pytest.approx([0.6, 0.4, 0.0, -1.0], abs=1e-6)


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
        expected = oracles.outcome_and_steps(reward_NT.tolist(), length_N.tolist(), batch.group.tolist(), eps)
        given_NT = advantage(reward_NT, mask_NT, batch.group)
        torch.testing.assert_close(given_NT, torch.tensor(expected, dtype=torch.float64).view_as(given_NT))


def test_a_wrong_scale_is_refused() -> None:
    with pytest.raises(ConfigError, match="eps -1"):
        OutcomeAndSteps(eps=-1.0)
