"""Costs of tools and turns: EAPO (arXiv 2606.02132), OTC (arXiv 2504.14870), NeMo-RL and prime-rl."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.recipe.nodes import build
from leanthink.rewards import Correct, CostDecay, Counted, LinearCost, Sum, ToolProductivity
from made_batches import group_of
from oracles import Flags, Groups, Numbers, members

EXAMPLES = [
    CostDecay(beta=0.2),
    CostDecay(beta=1.0, unit=4000, least="group", of=Correct(right=2.0)),
    LinearCost(),
    LinearCost(output=0.5, gate=False),
    ToolProductivity(),
    ToolProductivity(smooth=3.0, alpha=2.0),
]
COLUMNS = {
    "context_tokens": lambda generator, n: 20_000 + torch.randint(0, 9000, (n,), generator=generator).double(),
    "assistant_turns": lambda generator, n: torch.randint(1, 9, (n,), generator=generator).double(),
    "tool_calls": lambda generator, n: torch.randint(0, 5, (n,), generator=generator).double(),
}
RECIPES = {
    "tool_cost": SpelledOut(
        reward=Counted(of=CostDecay(beta=0.2, unit=1.0), counts="calls"),
        advantage=Grpo(scale="none"),
        loss=PpoClip(low=0.2, high=0.28),
        verl={"actor_rollout_ref.rollout.multi_turn.enable": True},
    )
}


@pytest.mark.parametrize(
    ("beta", "unit", "correct", "cost", "expected"),
    [
        (1.0, 16000, [1, 1, 1, 0], [4000, 9000, 20000, 6000], [1.0, 0.798712, 0.525910, 0]),
        (1.0, 16000, [1, 0, 0, 0], [4000, 9000, 20000, 6000], [1, 0, 0, 0]),
        (0.5, 16000, [1, 1, 1, 1], [4000, 4000, 12000, 36000], [1, 1, 0.778801, 0.367879]),
        (0.5, 1, [1, 1, 1, 0], [0, 2, 4, 1], [1, 0.525910, 0.351501, 0]),
        (0.5, 1, [0, 0], [3, 1], [0, 0]),
    ],
    ids=["NeMo-RL", "one right", "all right", "EAPO", "none right"],
)
def test_worked_examples_of_the_decay(
    beta: float, unit: float, correct: list[int], cost: list[float], expected: list[float]
) -> None:
    reward = Counted(of=CostDecay(beta=beta, unit=unit), counts="calls")
    batch = group_of([10.0] * len(cost), correct, tool_calls=cost)
    assert reward(batch)[0].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("calls", "least", "expected"),
    [
        (0, 0, 1.0),
        (1, 0, 0.5),
        (3, 0, 0.222521),
        (1, 1, 1.0),
        (2, 1, 0.866025),
        (4, 1, 0.587785),
        (2, 2, 1.0),
        (6, 2, 0.707107),
    ],
)
def test_worked_example_of_productivity(calls: float, least: float, expected: float) -> None:
    batch = group_of([calls, least, 0], [1, 1, 0])
    assert ToolProductivity()(batch)[0].tolist()[::2] == pytest.approx([expected, 0], abs=1e-6)


def test_worked_example_of_the_linear_price() -> None:
    written, read = [800, 1600, 3200, 2000], [2000, 6000, 12000, 4000]
    batch = group_of(
        written,
        [1, 1, 1, 0],
        context_tokens=[w + r for w, r in zip(written, read, strict=True)],
        assistant_turns=[2, 4, 8, 5],
    )
    price = [-0.078125, -0.168750, -0.337500, -0.189062]
    assert LinearCost(gate=False)(batch)[0].tolist() == pytest.approx(price, abs=1e-6)
    shaped_N = Sum(correct=Correct(), cost=LinearCost(gate=False))(batch)[0]
    assert shaped_N.tolist() == pytest.approx([0.921875, 0.831250, 0.662500, -0.189062], abs=1e-6)
    advantage = [0.365234, 0.274609, 0.105859, -0.745703]
    assert Grpo(scale="none")(shaped_N, batch.group).tolist() == pytest.approx(advantage, abs=1e-6)
    assert LinearCost()(batch)[0].tolist() == pytest.approx([*price[:3], 0], abs=1e-6)


def slow_decay(cost: Numbers, right: Flags, group: Groups, beta: float, unit: float, of_right: bool) -> list[float]:
    result = [0.0] * len(cost)
    for rows in members(group).values():
        good = [i for i in rows if right[i]]
        d = 1 - len(good) / len(rows)
        for i in good:
            least = min(cost[j] for j in (good if of_right else rows))
            result[i] = d + (1 - d) * math.exp(-beta * max(0.0, cost[i] - least) / unit)
    return result


def slow_productivity(calls: Numbers, right: Flags, group: Groups, smooth: float) -> list[float]:
    result = [0.0] * len(calls)
    for rows in members(group).values():
        good = [i for i in rows if right[i]]
        for i in good:
            n, m = min(calls[j] for j in good), calls[i]
            if n == 0:
                result[i] = 1.0 if m == 0 else math.cos(m * math.pi / (2 * m + smooth))
            else:
                result[i] = math.sin(2 * n * m / (n + m) * math.pi / (2 * n))
    return result


@pytest.mark.parametrize("of_right", [True, False])
def test_agrees_with_the_loops(batches: list[RolloutBatch], merged: RolloutBatch, of_right: bool) -> None:
    calls_N = (merged.length / 1000).floor()
    decay: list[float] = []
    share: list[float] = []
    start = 0
    for batch in batches:
        calls = calls_N[start : start + len(batch)].tolist()
        start += len(batch)
        right, group = [bool(one) for one in batch.correct.tolist()], batch.group.tolist()
        decay += slow_decay(calls, right, group, 0.3, 2.0, of_right)
        share += slow_productivity(calls, right, group, 1.5)
    batch = merged.replace(length=calls_N)
    reward = CostDecay(beta=0.3, unit=2.0, least="right" if of_right else "group")
    torch.testing.assert_close(reward(batch)[0], torch.tensor(decay, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    given_N = ToolProductivity(smooth=1.5)(batch)[0]
    torch.testing.assert_close(given_N, torch.tensor(share, dtype=torch.float64), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("counts", ["tool_tokens", "context", "turns", "calls", "failed_calls", "seconds"])
def test_any_length_term_prices_any_of_them(counts: str) -> None:
    column = {"context": "context_tokens", "turns": "assistant_turns", "calls": "tool_calls", "seconds": "wall_seconds"}
    reward = build({"kimi_length": {"counts": counts}}, "reward")
    name = column.get(counts, counts)
    assert reward.requires == {name}
    batch = group_of([10.0, 10.0], [1, 1], **{name: [3, 1]})
    assert reward(batch)[0].tolist() == [-0.5, 0.5]
    with pytest.raises(BatchError, match=rf"column '{name}', row 0: -1 is not allowed"):
        reward(batch.replace(**{name: [-1, 1]}))


def test_who_names_tokens_cannot_be_priced_by_calls() -> None:
    with pytest.raises(ConfigError, match="TokenRepetition pays single tokens of the response; count thinking or"):
        build({"token_repetition": {"counts": "calls"}}, "reward")


@pytest.mark.parametrize(
    ("cls", "settings", "told"),
    [
        (CostDecay, {"beta": 0.0}, r"beta is 0\.0"),
        (CostDecay, {"beta": 1.0, "least": "all"}, "least 'all'; give beta and unit above 0"),
        (LinearCost, {"turns": -1.0}, r"turns is -1\.0; give a price of 0 or more"),
        (ToolProductivity, {"smooth": 0.0}, r"smooth is 0\.0"),
    ],
)
def test_wrong_settings_are_refused(cls: type, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        cls(**settings)


def test_the_recipe_goes_to_tools() -> None:
    assert load_recipe("tool_cost").agent == "tools" and load_recipe("grpo").agent is None
    with pytest.raises(ConfigError, match=r"recipe grpo, agent: 'web' is not allowed; give tools, or nothing"):
        load_recipe("grpo", ["agent=web"])
