"""HBPO, arXiv 2507.15844."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import NoBaseline, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.rewards import BudgetGap, Format, GroupNormalize, HierarchicalBudget, Scale, Sum, ThinkOutcome
from oracles import Flags, Groups, Numbers, mean, members, std

EXAMPLES = [
    HierarchicalBudget(),
    HierarchicalBudget(budgets=(512, 2560), inside="released", least=0.0, valid=Format(), trained=False),
    BudgetGap(of=HierarchicalBudget()),
    BudgetGap(of=HierarchicalBudget(longest=20_000), centred=True),
]
WRONG_MAY_BEAT_CORRECT = [HierarchicalBudget]  # far beyond a small budget
PARTS = HierarchicalBudget(valid=ThinkOutcome(right=2.0, wrong=1.0, no_box=0.0, no_block=0.0))
RECIPES = {
    "hbpo": SpelledOut(
        reward=Sum(across=GroupNormalize(of=PARTS, ddof=1, eps=1e-6), within=BudgetGap(of=PARTS)),
        advantage=NoBaseline(),
        loss=PpoClip(low=0.2, high=0.28),
        verl={
            "data.train_batch_size": 64,
            "data.max_prompt_length": 1024,
            "data.max_response_length": 4096,
            "actor_rollout_ref.rollout.n": 16,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 16,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "actor_rollout_ref.actor.use_kl_loss": False,
        },
    )
}

BUDGETS = [512, 1024, 2048, 2560]


@pytest.mark.parametrize(
    ("tokens", "paper", "released"),
    [
        (20, [3.923141, 3.695518, 2.828427, 2.222281], [3.879765, 3.695517, 2.828422, 2.222273]),
        (200, [3.923141, 3.695518, 2.828427, 2.222281], [3.912068, 3.695517, 2.828422, 2.222273]),
        (512, [3.923141, 3.695518, 2.828427, 2.222281], [3.923141, 3.695517, 2.828422, 2.222273]),
        (1500, [3.115030, 3.240030, 2.828427, 2.222281], [3.115027, 3.240027, 2.828422, 2.222273]),
        (3000, [1.024755, 1.149755, 1.399755, 1.524755], [1.024745, 1.149745, 1.399745, 1.524745]),
        (4096, [-0.875, -0.75, -0.5, -0.375], None),
        (4097, [0.0] * 4, None),
    ],
)
def test_worked_example_of_the_reward(tokens: int, paper: list[float], released: list[float] | None) -> None:
    batch = RolloutBatch.of(group=[0] * 4, length=[tokens] * 4, correct=[1] * 4, budget=BUDGETS)
    assert HierarchicalBudget()(batch)[0].tolist() == pytest.approx(paper, abs=1e-6)
    if released is not None:  # with 3.1416 for pi
        given = HierarchicalBudget(inside="released")(batch)[0].tolist()
        assert given == pytest.approx(released, abs=2e-5)


EIGHT = RolloutBatch.of(
    group=[0] * 8,
    length=[400, 900, 700, 800, 1500, 1900, 2400, 2000],
    correct=[1, 1, 1, 0, 1, 1, 1, 0],
    budget=[512, 512, 1024, 1024, 2048, 2048, 2560, 2560],
)


def test_worked_example_of_the_advantage() -> None:
    reward = HierarchicalBudget()
    earned = [3.923141, 3.669378, 3.695518, 0, 2.828427, 2.828427, 2.222281, 0]
    assert reward(EIGHT)[0].tolist() == pytest.approx(earned, abs=1e-6)
    across, within = GroupNormalize(of=reward), BudgetGap(of=reward)
    gap = [-0.126881] * 2 + [-1.847759] * 2 + [0] * 2 + [-1.111140] * 2
    assert within(EIGHT)[0].tolist() == pytest.approx(gap, abs=1e-6)
    inter = [0.965136, 0.804772, 0.821291, -1.514078, 0.273336, 0.273336, -0.109716, -1.514078]
    assert across(EIGHT)[0].tolist() == pytest.approx(inter, abs=2e-6)
    both = [0.838255, 0.677890, -1.026468, -3.361837, 0.273336, 0.273336, -1.220856, -2.625218]
    assert Sum(across=across, within=within)(EIGHT)[0].tolist() == pytest.approx(both, abs=2e-6)
    twice = [0.711373, 0.551009, -2.874227, -5.209596, 0.273336, 0.273336, -2.331997, -3.736359]
    doubled = Sum(across=across, within=Scale(by=2.0, of=within))
    assert doubled(EIGHT)[0].tolist() == pytest.approx(twice, abs=2e-6)


def test_a_prompt_nobody_solves_is_pushed_down() -> None:
    batch = RolloutBatch.of(group=[0] * 4, length=[100] * 4, correct=[0] * 4, budget=BUDGETS)
    expected = [-3.923141, -3.695518, -2.828427, -2.222281]
    reward = HierarchicalBudget()
    whole = Sum(across=GroupNormalize(of=reward), within=BudgetGap(of=reward))
    assert whole(batch)[0].tolist() == pytest.approx(expected, abs=1e-6)
    centred = BudgetGap(of=HierarchicalBudget(), centred=True)(batch)[0]
    assert float(centred.sum()) == pytest.approx(0, abs=1e-12) and centred[0] < 0 < centred[3]


def slow_hbpo(length: Numbers, right: Flags, group: Groups, budget: Numbers) -> tuple[list[float], list[float]]:
    """Sec. 3.2's reward and Sec. 3.3's advantage, response by response."""
    earned, advantage = [0.0] * len(length), [0.0] * len(length)
    for i in range(len(length)):
        if right[i] and length[i] <= 4096:
            if length[i] > budget[i]:
                earned[i] = 4 * math.cos(math.pi * length[i] / (2 * 4096)) - abs(length[i] - budget[i]) / 4096
            else:
                earned[i] = 4 * math.cos(math.pi * budget[i] / (2 * 4096))
    for rows in members(group).values():
        own = [earned[i] for i in rows]
        for i in rows:
            same = [earned[j] for j in rows if budget[j] == budget[i]]
            intra = mean(same) - 4 * math.cos(math.pi * budget[i] / (2 * 4096))
            inter = (earned[i] - mean(own)) / (std(own, 1) + 1e-6) if len(own) > 1 else 0.0
            advantage[i] = intra + inter
    return earned, advantage


def test_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch) -> None:
    draw = torch.Generator().manual_seed(3)
    budget_N = torch.tensor(BUDGETS)[torch.randint(4, (len(merged),), generator=draw)].double()
    length_N = (merged.length / 3).floor()  # so that many are within the window
    earned: list[float] = []
    advantage: list[float] = []
    start = 0
    for batch in batches:
        rows = slice(start, start := start + len(batch))
        right = [bool(one) for one in batch.correct.tolist()]
        more, value = slow_hbpo(length_N[rows].tolist(), right, batch.group.tolist(), budget_N[rows].tolist())
        earned, advantage = earned + more, advantage + value
    batch = merged.replace(length=length_N, budget=budget_N)
    reward = HierarchicalBudget()
    whole = Sum(across=GroupNormalize(of=reward), within=BudgetGap(of=reward))
    torch.testing.assert_close(reward(batch)[0], torch.tensor(earned, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(whole(batch)[0], torch.tensor(advantage, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_a_least_keeps_right_above_wrong() -> None:
    batch = RolloutBatch.of(group=[0] * 2, length=[4000, 10], correct=[1, 0], budget=[512, 512])
    assert HierarchicalBudget()(batch)[0][0] < 0
    assert HierarchicalBudget(least=0.0)(batch)[0].tolist() == [0, 0]


def test_a_group_is_shared_out_over_the_budgets() -> None:
    openings = [HierarchicalBudget().opening(session, 8) for session in range(8)]
    assert [one.columns["budget"] for one in openings] == [512, 512, 1024, 1024, 2048, 2048, 2560, 2560]
    assert openings[2].text == "<think> I will answer the question within 1024 tokens." and openings[2].is_trained
    with pytest.raises(ConfigError, match=r"6 rollouts do not divide over 4 budgets; set .*rollout\.n to a multiple"):
        HierarchicalBudget().opening(0, 6)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"budgets": ()}, r"budgets are \(\); give one or more"),
        ({"budgets": (512, 512)}, "each once"),
        ({"budgets": (8192,)}, r"budgets is \(8192,\); give 1 to 4096 tokens"),
        ({"scale": 0.0}, r"scale is 0\.0"),
        ({"deviation": -1.0}, r"deviation is -1\.0"),
        ({"inside": "both"}, "inside is 'both'; give paper or released"),
        ({"least": 1.0}, r"least is 1\.0; give 0 or less"),
        ({"opening_text": "<think>"}, r"give a text with \{budget\} in it"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        HierarchicalBudget(**settings)


def test_a_budget_is_a_number_of_tokens() -> None:
    with pytest.raises(BatchError, match=r"column 'budget', row 1: -1 is no number of tokens"):
        HierarchicalBudget()(RolloutBatch.of(group=[0, 0], length=[1, 2], correct=[1, 1], budget=[512, -1]))
