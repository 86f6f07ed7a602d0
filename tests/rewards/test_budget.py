"""LCPO (L1), arXiv 2503.04697, Eqs. 1 and 2."""

from __future__ import annotations

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.rewards import Correct, Counted, ExactBudget, Gate, MaxBudget, Sum
from leanthink.rewards.budget import exact_budget, max_budget
from leanthink.testing import Columns
from oracles import Flags, Numbers

EXAMPLES = [
    ExactBudget(),
    ExactBudget(alpha=0.002),
    MaxBudget(alpha=0.0003),
    MaxBudget(delta=1.0),
]
COLUMNS: Columns = {
    "at_most": lambda generator, n: torch.randint(0, 2, (n,), generator=generator).double(),
    "budget": lambda generator, n: torch.randint(0, 4, (n,), generator=generator) * 512.0,
}
RECIPES = {
    "lcpo_exact": SpelledOut(
        reward=Sum(correct=Correct(), budget=ExactBudget(alpha=0.0003)),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        verl={
            "data.train_batch_size": 128,
            "actor_rollout_ref.rollout.n": 16,
            "actor_rollout_ref.rollout.temperature": 0.6,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 64,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "actor_rollout_ref.actor.kl_loss_coef": 0.001,
            "data.max_prompt_length": 1024,
            "data.max_response_length": 4096,
        },
    ),
    "lcpo_max": SpelledOut(
        reward=Sum(
            exact=Gate(
                column="at_most",
                negate=True,
                of=Sum(correct=Correct(), budget=ExactBudget(alpha=0.0003)),
            ),
            max=Gate(column="at_most", of=MaxBudget(alpha=0.005, delta=0.5)),
        ),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        verl={
            "data.train_batch_size": 128,
            "actor_rollout_ref.rollout.n": 16,
            "actor_rollout_ref.rollout.temperature": 0.6,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 64,
            "actor_rollout_ref.actor.optim.lr": 4e-6,
            "data.max_response_length": 4500,
        },
    ),
}

SIX = RolloutBatch.of(
    group=[0] * 6, length=[512, 700, 1024, 1524, 2000, 4096], correct=[1, 1, 1, 1, 0, 0], budget=[1024] * 6
)
NEAR = RolloutBatch.of(
    group=[0] * 8, length=[924, 974, 1000, 1024, 1050, 1074, 1124, 1200], correct=[1] * 8, budget=[1024] * 8
)
EXACT = [0.8464, 0.9028, 1.0, 0.85, -0.2928, -0.9216]


def eq_1(alpha: float = 0.0003) -> Sum:
    return Sum(correct=Correct(), budget=ExactBudget(alpha=alpha))


def test_worked_example_exact() -> None:
    assert eq_1()(SIX)[0].tolist() == pytest.approx(EXACT, abs=1e-6)


@pytest.mark.parametrize(
    ("reward", "batch", "expected"),
    [
        (MaxBudget(), SIX, [1, 1, 0.5, 0, 0, 0]),
        (MaxBudget(alpha=0.0003), SIX, [0.6536, 0.5972, 0.5, 0.35, 0, 0]),
        (MaxBudget(alpha=0.005, delta=0.5), NEAR, [1, 0.75, 0.62, 0.5, 0.37, 0.25, 0, 0]),
    ],
)
def test_worked_example_max(reward: MaxBudget, batch: RolloutBatch, expected: list[float]) -> None:
    assert reward(batch)[0].tolist() == pytest.approx(expected, abs=1e-6)


def slow_lcpo_exact(length: Numbers, correct: Flags, budget: Numbers, alpha: float) -> list[float]:
    """arXiv 2503.04697, Eq. 1: ``r = c - alpha |n_gold - n_y|``."""
    result = []
    for tokens, right, gold in zip(length, correct, budget, strict=True):
        miss = gold - tokens if gold > tokens else tokens - gold
        result.append((1.0 if right else 0.0) - alpha * miss)
    return result


def slow_lcpo_max(length: Numbers, correct: Flags, budget: Numbers, alpha: float, delta: float = 0.5) -> list[float]:
    """arXiv 2503.04697, Eq. 2: ``r = c clip(alpha (n_gold - n_y) + delta, 0, 1)``."""
    result = []
    for tokens, right, gold in zip(length, correct, budget, strict=True):
        step = alpha * (gold - tokens) + delta
        result.append((1.0 if right else 0.0) * min(max(step, 0.0), 1.0))
    return result


@pytest.mark.parametrize(("alpha", "delta"), [(0.0003, 0.5), (0.005, 0.5), (0.1, 0.0), (0.001, 1.0)])
def test_agrees_with_the_loop(merged: RolloutBatch, alpha: float, delta: float) -> None:
    generator = torch.Generator().manual_seed(7)
    budget_N = torch.randint(100, 4001, (len(merged),), generator=generator).double()
    length, right, budget = merged.length.tolist(), (merged.correct == 1).tolist(), budget_N.tolist()
    slow_N = torch.tensor(slow_lcpo_exact(length, right, budget, alpha), dtype=torch.float64)
    given_N = merged.correct + exact_budget(merged.length, budget_N, alpha)
    torch.testing.assert_close(given_N, slow_N, rtol=1e-12, atol=1e-12)
    batch = merged.replace(budget=budget_N)
    assert torch.equal(eq_1(alpha)(batch)[0], given_N)
    slow_N = torch.tensor(slow_lcpo_max(length, right, budget, alpha, delta), dtype=torch.float64)
    given_N = max_budget(merged.length, merged.correct, budget_N, alpha, delta)
    torch.testing.assert_close(given_N, slow_N, rtol=1e-12, atol=1e-12)
    assert torch.equal(MaxBudget(alpha=alpha, delta=delta)(batch)[0], given_N)


def test_each_prompt_by_its_own_kind_of_budget() -> None:
    """The paper's dual objective: Eq. 2 where the prompt says 'maximum', Eq. 1 elsewhere."""
    dual = Sum(
        exact=Gate(column="at_most", negate=True, of=eq_1()),
        at_most=Gate(column="at_most", of=MaxBudget()),
    )
    both = RolloutBatch.of(
        group=[0] * 6 + [1] * 6,
        length=torch.cat([SIX.length] * 2),
        correct=torch.cat([SIX.correct] * 2),
        budget=[1024] * 12,
        at_most=[0] * 6 + [1] * 6,
    )
    assert dual(both)[0].tolist() == pytest.approx([*EXACT, 1, 1, 0.5, 0, 0, 0], abs=1e-6)


def test_thinking_alone_may_count() -> None:
    batch = SIX.replace(thinking_length=[1024, 1000, 1000, 1024, 0, 0]).replace(length=[2000] * 6)
    exact, most = (Counted(of=one, counts="thinking") for one in (ExactBudget(alpha=0.5), MaxBudget(alpha=0.5)))
    assert exact(batch)[0].tolist() == [0, -12, -12, 0, -512, -512]
    assert most(batch)[0].tolist() == [0.5, 1, 1, 0.5, 0, 0]


@pytest.mark.parametrize("reward", [ExactBudget(), MaxBudget()])
@pytest.mark.parametrize("budget", [-1.0, float("nan")])
def test_a_budget_that_is_none_is_named(reward: ExactBudget | MaxBudget, budget: float) -> None:
    with pytest.raises(BatchError, match=r"column 'budget', row 1: -?(1|nan) is no number of tokens"):
        reward(RolloutBatch.of(group=[0, 0], length=[5, 6], correct=[1, 1], budget=[8, budget]))


@pytest.mark.parametrize("kind", [ExactBudget, MaxBudget])
@pytest.mark.parametrize(
    ("settings", "fact"),
    [({"alpha": 0}, "alpha is 0"), ({"alpha": -0.01}, "alpha is -0.01")],
)
def test_wrong_settings_are_refused(kind: type[ExactBudget | MaxBudget], settings: dict[str, float], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        kind(**settings)


@pytest.mark.parametrize("delta", [-0.1, 1.5])
def test_a_step_that_is_none_is_refused(delta: float) -> None:
    with pytest.raises(ConfigError, match=f"delta is {delta}"):
        MaxBudget(delta=delta)
