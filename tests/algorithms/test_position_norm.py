"""DECS's advantage, arXiv 2509.25827, Eq. 10; its worked examples are in tests/rewards."""

from __future__ import annotations

import itertools
import random

import pytest
import torch

from leanthink.algorithms import PositionNorm
from leanthink.algorithms.position_norm import token_values
from leanthink.core.errors import ConfigError
from oracles import mean, members, std

EXAMPLES = [PositionNorm(), PositionNorm(eps=0.1, singleton="own")]


def slow_position_norm(values: list[list[float]], outcome: list[float], group: list[int]) -> list[list[float]]:
    """Eq. 10: of each position over all responses that were written, an ended one at its outcome."""
    result = [[0.0] * len(row) for row in values]
    for rows in members(group).values():
        written = [i for i in rows if values[i]]
        for i in written:
            for j in range(len(values[i])):
                at_j = [values[k][j] if j < len(values[k]) else outcome[k] for k in written]
                if len(at_j) == 1:
                    result[i][j] = at_j[0]
                elif max(at_j) - min(at_j) > 1e-12:
                    result[i][j] = (values[i][j] - mean(at_j)) / (std(at_j, 1) + 1e-6)
    return result


def test_agrees_with_the_loop() -> None:
    """A thousand batches of values by token, given as the steps between them."""
    draw = random.Random(3)
    for _ in range(1000):
        n = draw.randint(1, 7)
        group = [draw.randint(0, 2) for _ in range(n)]
        outcome = [draw.choice([0.0, 1.1]) for _ in range(n)]
        values, rows = [], []
        for i in range(n):
            length = draw.randint(0, 6)
            value = [outcome[i] - draw.choice([0.0, 0.0, 0.05, 0.1]) for _ in range(length)]
            # The step to the first value is placed, too; what is left of the outcome falls on the last token.
            steps = [value[0] - outcome[i], *(b - a for a, b in itertools.pairwise(value))] if value else []
            if steps:
                value[-1] = (
                    value[-2] if length > 1 else outcome[i]
                )  # a step at the last token is not told from the outcome
                steps[-1] = outcome[i] - sum(steps[:-1])
            values.append(value)
            rows.append(torch.tensor(steps, dtype=torch.float64))
        reward_NT = torch.nn.utils.rnn.pad_sequence([*rows, torch.zeros(7).double()], batch_first=True)[:-1]
        mask_NT = torch.arange(7) < torch.tensor([len(row) for row in rows])[:, None]
        given = PositionNorm()(reward_NT, mask_NT, torch.tensor(group)).tolist()
        expected = slow_position_norm(values, outcome, group)
        for i in range(n):
            assert given[i][: len(values[i])] == pytest.approx(expected[i], abs=1e-8)
            assert not any(given[i][len(values[i]) :])


def test_a_value_holds_until_the_next_step_and_a_response_keeps_its_total_behind_its_end() -> None:
    reward_NT = torch.tensor([[0.0, -0.5, 0.0, 0.5, 1.0, 0.0]])
    mask_NT = torch.tensor([[True] * 5 + [False]])
    assert token_values(reward_NT, mask_NT).tolist() == [[1.0, 0.5, 0.5, 1.0, 1.0, 1.0]]


def test_a_group_of_one_has_its_values_or_nothing() -> None:
    reward_NT, mask_NT = torch.tensor([[0.0, 1.1]]), torch.ones(1, 2, dtype=torch.bool)
    one = torch.zeros(1, dtype=torch.int64)
    assert PositionNorm()(reward_NT, mask_NT, one)[0].tolist() == pytest.approx([1.1, 1.1])
    assert not PositionNorm(singleton="own")(reward_NT, mask_NT, one).any()


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"eps is 0\.0"):
        PositionNorm(eps=0.0)
    with pytest.raises(ConfigError, match="singleton 'mean'; give eps"):
        PositionNorm(singleton="mean")  # type: ignore[arg-type]
