"""DDCA, arXiv 2602.02099."""

from __future__ import annotations

import math

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import NoBaseline, PpoClip, Rloo
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.recipe.scoring import score_step
from leanthink.rewards import ConditionalLength, Correct, GroupNormalize, Scale, Sum
from made_batches import group_of
from oracles import Flags, Groups, Numbers, mean, members, std

EXAMPLES = [ConditionalLength(), ConditionalLength(dynamic=False, baseline="leave_one_out", eps=1e-3)]
RECIPES = {
    "ddca": SpelledOut(
        reward=Sum(
            correct=GroupNormalize(of=Correct(), ddof=0, eps=1e-8),
            length=Scale(by=0.2, of=ConditionalLength(dynamic=True, baseline="mean", eps=1e-8)),
        ),
        advantage=NoBaseline(),
        loss=PpoClip(low=0.2, high=0.2),
        verl={
            "data.max_response_length": 16384,
            "actor_rollout_ref.rollout.n": 8,
            "actor_rollout_ref.rollout.temperature": 0.6,
            "actor_rollout_ref.rollout.top_p": 0.95,
        },
    )
}

LENGTHS, RIGHT = [800, 1200, 5000, 1600, 3000, 2400, 16384, 4000], [1, 1, 0, 1, 0, 1, 0, 1]
EIGHT = group_of(LENGTHS, RIGHT)


def grpo_pair(batch: RolloutBatch, *overrides: str) -> list[float]:
    step = score_step(load_recipe("ddca", overrides), batch)
    assert step.advantage is not None
    return step.advantage.tolist()


def rloo_pair(batch: RolloutBatch) -> list[float]:
    n = len(batch)
    length = Scale(by=0.2 * (n - 1) / n, of=ConditionalLength(baseline="leave_one_out"))
    return Rloo()(Sum(correct=Correct(), length=length)(batch)[0], batch.group).tolist()


def test_worked_example() -> None:
    term = [0.144461, 0.098801, 0, 0.047375, 0, -0.061974, 0, -0.228662]
    assert ConditionalLength()(EIGHT)[0].tolist() == pytest.approx(term, abs=1e-6)
    ddca = [0.803489, 0.794357, -1.290994, 0.784072, -1.290994, 0.762202, -1.290994, 0.728864]
    assert grpo_pair(EIGHT) == pytest.approx(ddca, abs=1e-6)
    dca = [0.820824, 0.806213, -1.290994, 0.789757, -1.290994, 0.754765, -1.290994, 0.701425]
    path = "reward.sum.length.scale.of.conditional_length"
    assert grpo_pair(EIGHT, f"{path}.dynamic=false") == pytest.approx(dca, abs=1e-6)
    rendered = [0.810712, 0.799297, -1.290994, 0.786440, -1.290994, 0.759103, -1.290994, 0.717431]
    assert grpo_pair(EIGHT, f"{path}.baseline=leave_one_out") == pytest.approx(rendered, abs=1e-6)
    rloo = [0.464687, 0.453272, -0.714286, 0.440415, -0.714286, 0.413078, -0.714286, 0.371406]
    assert rloo_pair(EIGHT) == pytest.approx(rloo, abs=1e-6)


@pytest.mark.parametrize(
    ("length", "correct", "grpo", "rloo"),
    [
        (
            [500, 700, 900, 1100],
            [0, 1, 1, 0],
            [-1, 1.023106, 0.976894, -1],
            [-0.666667, 0.712878, 0.620455, -0.666667],
        ),
        (
            [500, 700, 900, 1100],
            [0, 0, 1, 0],
            [-0.577350, -0.577350, 1.732051, -0.577350],
            [-0.333333, -0.333333, 1, -0.333333],
        ),
        (
            [600, 800, 1000, 2000],
            [1, 1, 1, 1],
            [0.040499, 0.024301, 0.006404, -0.071203],
            [0.053998, 0.032401, 0.008538, -0.094938],
        ),
        ([640, 100, 640, 5000], [1, 0, 1, 0], [1, -1, 1, -1], [2 / 3, -2 / 3, 2 / 3, -2 / 3]),
        ([5, 7], [0, 0], [0, 0], [0, 0]),
        ([5], [1], [0], [0]),
    ],
    ids=["two right", "one right", "all right", "one length", "none right", "alone"],
)
def test_worked_groups(length: list[float], correct: list[int], grpo: list[float], rloo: list[float]) -> None:
    assert grpo_pair(group_of(length, correct)) == pytest.approx(grpo, abs=1e-6)
    assert rloo_pair(group_of(length, correct)) == pytest.approx(rloo, abs=1e-6)


def slow_conditional(
    length: Numbers, right: Flags, group: Groups, dynamic: bool, leave_one_out: bool, eps: float
) -> list[float]:
    """The released code's length advantage, response by response."""
    result = [0.0] * len(length)
    for rows in members(group).values():
        chosen = [i for i in rows if right[i]]
        if len(chosen) < 2:
            continue
        centre, sigma = mean([length[i] for i in chosen]), std([length[i] for i in chosen])
        sigma = eps if sigma < eps else sigma
        s = {i: 1 / (1 + math.exp(-(length[i] - centre) / (sigma + eps))) for i in chosen}
        for i in chosen:
            others = [s[j] for j in chosen if j != i or not leave_one_out]
            result[i] = -(len(chosen) / len(rows) if dynamic else 1.0) * (s[i] - mean(others))
    return result


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize("leave_one_out", [True, False])
def test_agrees_with_the_loop(
    batches: list[RolloutBatch], merged: RolloutBatch, dynamic: bool, leave_one_out: bool
) -> None:
    expected: list[float] = []
    for batch in batches:
        right = [bool(one) for one in batch.correct.tolist()]
        expected += slow_conditional(batch.length.tolist(), right, batch.group.tolist(), dynamic, leave_one_out, 1e-8)
    reward = ConditionalLength(dynamic=dynamic, baseline="leave_one_out" if leave_one_out else "mean")
    torch.testing.assert_close(reward(merged)[0], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_it_sums_to_0_and_wrong_lengths_play_no_part() -> None:
    assert float(ConditionalLength()(EIGHT)[0].sum()) == pytest.approx(0, abs=1e-12)
    other = EIGHT.replace(length=[tokens if right else 7 for tokens, right in zip(LENGTHS, RIGHT, strict=True)])
    assert torch.equal(ConditionalLength()(other)[0], ConditionalLength()(EIGHT)[0])


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"eps is 0; give a small positive number"):
        ConditionalLength(eps=0)
    with pytest.raises(ConfigError, match=r"baseline is 'median'; give mean or leave_one_out"):
        ConditionalLength(baseline="median")  # type: ignore[arg-type]
