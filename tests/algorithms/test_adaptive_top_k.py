"""Adaptive-difficulty GFPO, arXiv 2508.09726, Algorithm 2; its recipe is spelled out beside the plain one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from leanthink.algorithms import AdaptiveTopK, BatchNorm, DifficultyWeight, FilterTopK, Grpo, Rloo
from leanthink.algorithms.adaptive_top_k import k_by_difficulty
from leanthink.algorithms.filter_top_k import Metric
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.recipe.scoring import batch_advantage, choose
from oracles import Groups, Numbers, gfpo, members

EXAMPLES = [
    AdaptiveTopK(),
    AdaptiveTopK(k=(3, 2), metric="token_efficiency", of=Rloo(), shift_negative=True, ready_after=3, remembered=5),
]

QUARTILES = [0.0, 0.25, 0.5, 0.75, 1.0]


def test_quartiles_by_hand() -> None:
    """A mean equal to a quartile is not below it."""
    mean_G = torch.tensor([0.0, 0.24, 0.25, 0.49, 0.5, 0.74, 0.75, 1.0], dtype=torch.float64)
    assert k_by_difficulty(mean_G, QUARTILES, (8, 7, 6, 4), 5).tolist() == [8, 8, 7, 7, 6, 6, 4, 4]
    assert k_by_difficulty(mean_G, QUARTILES, (8, 7, 6, 4), 6).tolist() == [8] * 8


def slow_adaptive_gfpo(
    reward: Numbers, length: Numbers, group: Groups, past: list[float], k: list[int], metric: str, ready: int
) -> list[float]:
    """arXiv 2508.09726, Algorithm 2: ``k`` by the quantile that a group's mean lies in; ``past`` grows."""
    means = {code: sum(reward[i] for i in of) / len(of) for code, of in members(group).items()}
    past.extend(means[code] for code in sorted(means))
    ranked, cuts = sorted(past), []
    for j in range(1, len(k)):
        place = j / len(k) * (len(ranked) - 1)
        low = int(place)
        high = min(low + 1, len(ranked) - 1)
        cuts.append(ranked[low] + (ranked[high] - ranked[low]) * (place - low) if ranked else 0.0)
    result = [0.0] * len(reward)
    for code, of in members(group).items():
        kept = k[0] if len(past) < ready else k[sum(means[code] >= cut for cut in cuts)]
        own = gfpo([reward[i] for i in of], [length[i] for i in of], [0] * len(of), kept, metric)
        for i, value in zip(of, own, strict=True):
            result[i] = value
    return result


@pytest.mark.parametrize("metric", ["shortest", "token_efficiency"])
@pytest.mark.parametrize(("k", "ready"), [((4, 3, 2), 1), ((3, 3, 2, 2), 30)])
def test_agrees_with_the_loop_over_steps(
    batches: list[RolloutBatch], metric: Metric, k: tuple[int, ...], ready: int
) -> None:
    advantage, state, past = AdaptiveTopK(k=k, metric=metric, ready_after=ready), AdaptiveTopK().init(), []
    left_out = 0
    for number, batch in enumerate(batches):
        reward_N = batch.correct - (number % 3) * batch.length / 100_000
        chosen_N, state = choose(advantage, reward_N, batch, "keep", state)
        given_N = batch_advantage(advantage, reward_N, batch, chosen_N=chosen_N)
        values = (reward_N.tolist(), batch.length.tolist(), batch.group.tolist())
        expected = slow_adaptive_gfpo(*values, past, list(k), metric, ready)
        torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)
        left_out += int((~chosen_N).sum())
    assert state == {"group_means": pytest.approx(past)}
    assert left_out > 10


def test_the_latest_means_are_remembered() -> None:
    advantage = AdaptiveTopK(k=(3, 2), ready_after=1, remembered=3)
    group_N = torch.tensor([0, 1, 2, 3])
    kept_N, state = advantage.select(torch.arange(4.0), group_N, torch.ones(4), {"group_means": [9.0]})
    assert state == {"group_means": [1.0, 2.0, 3.0]}
    assert kept_N.all()
    assert advantage.shown(state) == {"groups": 3, "quantile_0.5": 2.0}
    assert advantage.shown(advantage.init()) == {"groups": 0}


def test_before_the_first_quantiles_it_is_the_plain_filter(batches: list[RolloutBatch]) -> None:
    for batch in batches:
        plain_N = FilterTopK(k=3)(batch.correct, batch.group, batch.length)
        assert torch.equal(AdaptiveTopK(k=(3, 2))(batch.correct, batch.group, batch.length), plain_N)


def test_truncated_responses_count_for_difficulty_and_are_never_chosen() -> None:
    batch = RolloutBatch.of(group=[0] * 4, length=[3, 5, 7, 9], correct=[0, 1, 1, 0], truncated=[1, 0, 0, 0])
    advantage = AdaptiveTopK(k=(2, 2))
    masked_N, masked = choose(advantage, batch.correct, batch, "mask", advantage.init())
    excluded_N, excluded = choose(advantage, batch.correct, batch, "exclude", advantage.init())
    assert masked_N.tolist() == excluded_N.tolist() == [False, True, True, False]
    assert (masked["group_means"], excluded["group_means"]) == ([0.5], [pytest.approx(2 / 3)])


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"k": (8,)}, "two numbers or more"),
        ({"k": (4, 6)}, r"k is \[4, 6\]"),
        ({"k": (4, 1)}, "each 2 or more"),
        ({"metric": "longest"}, "metric is 'longest'"),
        ({"of": BatchNorm(boost=0.1)}, "without boost"),
        ({"of": FilterTopK(k=2)}, "filter of its own"),
        ({"ready_after": 0}, "ready_after is 0"),
        ({"ready_after": 50, "remembered": 40}, "remember no fewer"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        AdaptiveTopK(**settings)


def test_it_is_weighted_by_nothing_that_counts_what_it_left_out() -> None:
    with pytest.raises(ConfigError, match="remembers nothing, such as grpo"):
        DifficultyWeight(of=AdaptiveTopK())
    assert DifficultyWeight(of=Grpo()).of == Grpo()


def test_without_lengths_it_says_so() -> None:
    with pytest.raises(BatchError, match=r"adaptive_top_k: .* pass length_N"):
        AdaptiveTopK()(torch.ones(2), torch.tensor([0, 0]))
