"""GRPO-λ, arXiv 2505.18086."""

from __future__ import annotations

import math
from collections.abc import Hashable
from fractions import Fraction
from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_mean
from leanthink.core.reward import Scope
from leanthink.core.schedules import Linear
from leanthink.recipe.nodes import build
from leanthink.rewards import (
    Correct,
    LambdaSwitch,
    PassRateAtLeast,
    Scale,
    SigmoidLength,
    SoftOverlong,
    Sum,
    Switch,
    TopPassRate,
)
from leanthink.rewards.lambda_switch import top_count
from oracles import Flags, Groups, Numbers, members

OVERLONG = SoftOverlong(limit=12_000, buffer=4000)

EXAMPLES = [
    LambdaSwitch(top_fraction=0.5, shaped=SigmoidLength(alpha=0.4), plain=Correct()),
    LambdaSwitch(
        top_fraction=Linear(start=0.0, stop=1.0, steps=30),
        ties="random",
        min_groups=1,
        shaped=Sum(correct=Correct(), late=Scale(by=0.5, of=OVERLONG)),
        plain=Correct(),
    ),
    LambdaSwitch(mode="threshold", threshold=0.5, shaped=SigmoidLength(alpha=0.4), plain=Correct()),
    TopPassRate(top_fraction=0.5),
    TopPassRate(rounding="ceil", ties="all"),
    TopPassRate(top_fraction=0.5, ties="random", seed=3),
]
RECIPES = {
    "grpo_lambda": SpelledOut(
        reward=LambdaSwitch(
            mode="top_fraction",
            top_fraction=0.2,
            rounding="floor",
            ties="first",
            min_groups=0,
            shaped=SigmoidLength(alpha=0.2),
            plain=Correct(),
        ),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        verl={
            "data.train_batch_size": 128,
            "actor_rollout_ref.rollout.n": 16,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 128,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
        },
    )
}

FIVE = RolloutBatch.of(
    group=[name for name in "ABCDE" for _ in range(4)],
    length=[400, 500, 900, 600, 300, 800, 700, 300, 450, 450, 900, 100, 50, 60, 70, 80, 500, 500, 500, 900],
    correct=[1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0],
)
A, B, C, D, E = (slice(start, start + 4) for start in range(0, 20, 4))
RATES = [1.0, 0.75, 0.25, 0.0, 0.75]


def reward(top_fraction: float = 0.2, ddof: int = 0, **settings: Any) -> LambdaSwitch:
    shaped = SigmoidLength(alpha=0.2, ddof=ddof)
    return LambdaSwitch(top_fraction=top_fraction, shaped=shaped, plain=Correct(), **settings)


def close(values_M: torch.Tensor, expected: list[float]) -> None:
    assert values_M.tolist() == pytest.approx(expected, abs=1e-6)


def chosen(of: TopPassRate, batch: RolloutBatch = FIVE) -> str:
    """The names of the chosen groups."""
    indicator_G = group_mean(of(batch)[0], batch.group).tolist()
    assert set(indicator_G) <= {0.0, 1.0}
    return "".join(name for name, is_chosen in zip("ABCDE", indicator_G, strict=True) if is_chosen)


def test_worked_example_one_group() -> None:
    assert group_mean(FIVE.correct, FIVE.group).tolist() == RATES
    reward_N, _ = reward(0.2)(FIVE)
    close(reward_N[A], [0.948883, 0.926107, 0.833497, 0.900000])
    assert [reward_N[rows].tolist() for rows in (B, C, D, E)] == [[1, 0, 1, 1], [1, 0, 0, 0], [0] * 4, [1, 1, 1, 0]]
    advantage_N = Grpo()(reward_N, FIVE.group)
    close(advantage_N[A], [0.936717, 0.480478, -1.374691, -0.042504])
    close(advantage_N[B], [0.499999, -1.499997, 0.499999, 0.499999])
    close(advantage_N[D], [0.0] * 4)


def test_worked_example_three_groups() -> None:
    reward_N, _ = reward(0.6)(FIVE)
    close(reward_N[B], [0.933952, 0.0, 0.839114, 0.933952])
    close(reward_N[E], [0.9, 0.9, 0.9, 0.0])
    assert reward_N[C].tolist() == [1, 0, 0, 0]
    advantage_N = Grpo()(reward_N, FIVE.group)
    close(advantage_N[B], [0.567289, -1.492686, 0.358109, 0.567289])
    close(advantage_N[E], [0.499999, 0.499999, 0.499999, -1.499997])


def test_worked_example_one_correct_response_and_the_other_deviation() -> None:
    close(reward(1.0)(FIVE)[0][C], [0.9, 0.0, 0.0, 0.0])
    close(reward(0.2, ddof=1)(FIVE)[0][A], [0.943245, 0.922741, 0.839922, 0.900000])


@pytest.mark.parametrize("alpha", [0.01, 0.5])
def test_alpha_is_without_effect_in_an_all_correct_group(alpha: float) -> None:
    shaped = LambdaSwitch(shaped=SigmoidLength(alpha=alpha), plain=Correct())(FIVE)[0]
    advantage_N = Grpo(eps=0.0)(shaped, FIVE.group)
    assert torch.allclose(advantage_N[A], Grpo(eps=0.0)(reward()(FIVE)[0], FIVE.group)[A], atol=1e-9)


def test_the_share_counts_groups() -> None:
    assert [chosen(TopPassRate(top_fraction=share)) for share in (0, 0.19, 0.2, 0.4, 0.6, 0.8, 1)] == [
        "", "", "A", "AB", "ABE", "ABCE", "ABCDE",
    ]  # fmt: skip
    assert [chosen(TopPassRate(top_fraction=share, rounding="ceil")) for share in (0, 0.19, 0.2, 0.21)] == [
        "", "A", "A", "AB",
    ]  # fmt: skip
    assert chosen(TopPassRate(top_fraction=0.1, min_groups=1)) == "A"
    assert chosen(TopPassRate(top_fraction=0.1, min_groups=99)) == "ABCDE"


def test_the_count_is_exact_where_the_product_is_not() -> None:
    assert 0.29 * 100 < 29 and 0.07 * 100 > 7
    assert (top_count(100, 0.29), top_count(100, 0.07, "ceil")) == (29, 7)


def test_ties_go_by_first_appearance_by_lot_or_all_together() -> None:
    assert chosen(TopPassRate(top_fraction=0.4)) == "AB"
    assert chosen(TopPassRate(top_fraction=0.4, ties="all")) == "ABE"
    assert chosen(TopPassRate(top_fraction=0.2, ties="all")) == "A"
    backwards = FIVE.select(torch.arange(19, -1, -1))
    assert chosen(TopPassRate(top_fraction=0.4), backwards) == "AE"  # E is the first group there, named A
    drawn = [chosen(TopPassRate(top_fraction=0.4, ties="random"), FIVE.replace(step=step)) for step in range(20)]
    assert set(drawn) == {"AB", "AE"}
    again = [chosen(TopPassRate(top_fraction=0.4, ties="random"), FIVE.replace(step=step)) for step in range(20)]
    other = [chosen(TopPassRate(top_fraction=0.4, ties="random", seed=1), FIVE.replace(step=s)) for s in range(20)]
    assert drawn == again != other


def slow_top_pass_rate(
    correct: Flags, group: Groups, top_fraction: str, rounding: str = "floor", ties: str = "first", min_groups: int = 0
) -> list[bool]:
    """arXiv 2505.18086, Sec. 3: a group of rank r (1 is best) is chosen while ``r / B <= lambda``; exact fractions."""
    rows = members(group)
    rate = {name: Fraction(sum(correct[i] for i in of), len(of)) for name, of in rows.items()}
    ranked: list[Hashable] = []
    for value in sorted(set(rate.values()), reverse=True):
        ranked += [name for name in rows if rate[name] == value]
    chosen: set[Hashable] = set()
    for rank, name in enumerate(ranked, start=1):
        within = Fraction(rank, len(ranked)) <= Fraction(top_fraction)
        if rounding == "ceil":
            within = Fraction(rank - 1, len(ranked)) < Fraction(top_fraction)
        if within or rank <= min_groups:
            chosen.add(name)
    if ties == "all" and chosen:
        last = min(rate[name] for name in chosen)
        chosen = {name for name in rows if rate[name] >= last}
    return [name in chosen for name in group]


@pytest.mark.parametrize("top_fraction", ["0", "0.2", "0.29", "0.5", "1"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"rounding": "ceil"}, {"ties": "all"}, {"min_groups": 2}, {"rounding": "ceil", "ties": "all"}],
    ids=str,
)
def test_the_choice_agrees_with_the_loop(
    batches: list[RolloutBatch], top_fraction: str, settings: dict[str, Any]
) -> None:
    select = TopPassRate(top_fraction=float(top_fraction), **settings)
    for batch in batches:
        correct = (batch.correct == 1).tolist()
        expected = slow_top_pass_rate(correct, batch.group.tolist(), top_fraction, **settings)
        assert (select(batch)[0] == 1).tolist() == expected


def slow_lambda_switch(
    length: Numbers, correct: Flags, group: Groups, top_fraction: str, alpha: float, eps: float = 1e-7
) -> list[float]:
    """arXiv 2505.18086, Eqs. 1-2."""
    chosen = slow_top_pass_rate(correct, group, top_fraction)
    result = []
    for i in range(len(length)):
        if not correct[i]:
            result.append(0.0)
        elif not chosen[i]:
            result.append(1.0)
        else:
            lengths = [length[j] for j in range(len(length)) if group[j] == group[i] and correct[j]]
            mean = sum(lengths) / len(lengths)
            deviation = math.sqrt(sum((one - mean) ** 2 for one in lengths) / len(lengths))
            result.append(1 - alpha / (1 + math.exp(-(length[i] - mean) / (deviation + eps))))
    return result


@pytest.mark.parametrize("top_fraction", ["0.2", "0.5"])
def test_agrees_with_the_loop(batches: list[RolloutBatch], top_fraction: str) -> None:
    switch = LambdaSwitch(
        top_fraction=float(top_fraction), shaped=SigmoidLength(alpha=0.2, check_eos=False), plain=Correct()
    )
    for batch in batches:
        correct, group = (batch.correct == 1).tolist(), batch.group.tolist()
        expected = slow_lambda_switch(batch.length.tolist(), correct, group, top_fraction, 0.2)
        assert switch(batch)[0].tolist() == pytest.approx(expected, abs=1e-9)


def test_the_ranking_counts_a_right_answer_before_a_cut_which_the_shaped_reward_does_not() -> None:
    reward = LambdaSwitch(top_fraction=0.5, shaped=SigmoidLength(alpha=0.2), plain=Correct())
    batch = RolloutBatch.of(group=[0, 0, 1, 1], length=[9] * 4, correct=[1, 0, 1, 1], truncated=[0, 0, 1, 0])
    assert reward(batch)[0].tolist() == [1.0, 0.0, 0.0, 0.9]


def test_threshold_chooses_by_the_groups_own_rate() -> None:
    by_rate = LambdaSwitch(mode="threshold", threshold=0.5, shaped=SigmoidLength(alpha=0.2), plain=Correct())
    assert torch.equal(by_rate(FIVE)[0], reward(0.6)(FIVE)[0])
    switch = Switch(select=PassRateAtLeast(threshold=0.5), shaped=SigmoidLength(alpha=0.2), plain=Correct())
    assert torch.equal(by_rate(FIVE)[0], switch(FIVE)[0])
    assert (by_rate.scope, reward().scope) == (Scope.GROUP, Scope.BATCH)
    assert (by_rate.reads_order, reward().reads_order, reward(ties="all").reads_order) == (False, True, False)


def test_it_is_a_switch_and_any_two_rewards_will_do() -> None:
    switch = Switch(select=TopPassRate(top_fraction=0.4), shaped=Correct(right=5), plain=Correct(wrong=-1))
    branches = {"shaped": {"correct": {"right": 5}}, "plain": {"correct": {"wrong": -1}}}
    built = build({"lambda_switch": {"top_fraction": 0.4, **branches}}, "reward", "reward")
    assert torch.equal(built(FIVE)[0], switch(FIVE)[0])
    parts = built.breakdown(FIVE).parts
    assert set(parts) == {"select", "shaped", "plain"} and parts["select"].mean() == 0.4


def test_the_share_may_be_a_schedule() -> None:
    ramp = TopPassRate(top_fraction=Linear(start=0.0, stop=1.0, steps=10))
    assert [chosen(ramp, FIVE.replace(step=step)) for step in (0, 4, 10)] == ["", "AB", "ABCDE"]


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"top_fraction": 1.2}, "top_fraction is 1.2"),
        ({"top_fraction": -0.1}, "top_fraction is -0.1"),
        ({"rounding": "round"}, "rounding is 'round'"),
        ({"ties": "last"}, "ties 'last'"),
        ({"min_groups": -1}, "min_groups is -1"),
        ({"mode": "fraction"}, "mode is 'fraction'"),
        ({"mode": "threshold"}, "mode is threshold and threshold None"),
        ({"threshold": 0.5}, "mode is top_fraction and threshold 0.5"),
        ({"mode": "threshold", "threshold": 1.5}, "threshold is 1.5"),
        ({"mode": "threshold", "threshold": 0.5, "ties": "all"}, "would ignore an argument"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        LambdaSwitch(shaped=SigmoidLength(alpha=0.2), plain=Correct(), **settings)
