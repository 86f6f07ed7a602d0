"""GDPO, arXiv 2601.05242: made of parts, equal to what the paper and verl compute."""

from __future__ import annotations

import math

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import BatchNorm, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.schedules import Linear
from leanthink.recipe.definition import load_recipe
from leanthink.recipe.scoring import score_step
from leanthink.rewards import Correct, GroupNormalize, Scale, StepLength, Sum, WithinLength
from oracles import Groups, Numbers, mean, members, std

EXAMPLES = [WithinLength(target=4000), WithinLength(target=Linear(start=8000, stop=4000, steps=30))]
RECIPES = {
    "gdpo": SpelledOut(
        reward=Sum(
            correct=Scale(by=1.0, of=GroupNormalize(of=Correct(), ddof=1, eps=1e-6)),
            length=Scale(by=1.0, of=GroupNormalize(of=WithinLength(target=4000), ddof=1, eps=1e-6)),
        ),
        advantage=BatchNorm(level="token", ddof=1, eps=1e-8, baseline="none"),
        loss=PpoClip(low=0.2, high=0.28),
        verl={
            "data.train_batch_size": 512,
            "data.max_prompt_length": 1024,
            "data.max_response_length": 8000,
            "actor_rollout_ref.rollout.n": 16,
            "actor_rollout_ref.rollout.temperature": 1.0,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 64,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "actor_rollout_ref.actor.use_kl_loss": True,
            "actor_rollout_ref.actor.kl_loss_coef": 5e-4,
            "actor_rollout_ref.actor.kl_loss_type": "mse",
            "algorithm.filter_groups.enable": True,
        },
    )
}

PATH = "reward.sum.length.scale"
TRL = [
    "advantage={batch_norm: {baseline: none, level: response, eps: 1.0e-4}}",
    "reward.sum.correct.scale.of.group_normalize.eps=1.0e-4",
    f"{PATH}.of.group_normalize.eps=1.0e-4",
]
CONDITIONED = f"{PATH}.of.group_normalize.of={{step_length: {{target: 4000, alpha: 1.0}}}}"
TWO_GROUPS = RolloutBatch.of(
    group=[0] * 4 + [1] * 4,
    length=[1200, 3000, 4500, 6000, 900, 2500, 3900, 8000],
    correct=[1, 0, 1, 0, 1, 1, 1, 0],
)


def scored(batch: RolloutBatch, *overrides: str) -> tuple[list[float], list[float]]:
    """The sum of the normalised parts, and the advantage, by the recipe."""
    step = score_step(load_recipe("gdpo", overrides), batch)
    assert step.advantage is not None
    return step.reward.tolist(), step.advantage.tolist()


def test_the_papers_two_rewards_that_grpo_cannot_tell_apart() -> None:
    """Fig. 2: [0, 1] with [0, 0], and [0, 1] with [0, 1]."""
    batch = RolloutBatch.of(group=[0, 0], length=[9000, 9000], correct=[0, 1])
    assert scored(batch)[0] == pytest.approx([-0.707107, 0.707107], abs=2e-6)  # the paper adds nothing to the deviation
    assert scored(batch.replace(length=[9000, 10]))[0] == pytest.approx([-1.414214, 1.414214], abs=3e-6)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], [1.570799, 0.510445, 0.510445, -0.549908, 1.122641, 1.122641, 1.122641, -1.326141]),
        (TRL, [1.080075, 0, 0, -1.080075, 0.623565, 0.623565, 0.623565, -1.870695]),
        (
            [f"{PATH}.by=0.25"],
            [1.446058, -0.148062, 1.047528, -0.546593, 1.024961, 1.024961, 1.024961, -1.275953],
        ),
        (
            [f"{PATH}.by=0.25", *TRL],
            [1.020541, -0.612324, 0.612324, -1.020541, 0.589194, 0.589194, 0.589194, -1.767581],
        ),
        ([CONDITIONED], [1.909051, -0.329333, 0.709505, -0.329333, 1.089746, 1.089746, 1.089746, -1.309347]),
    ],
    ids=["verl", "TRL", "verl, a quarter", "TRL, a quarter", "conditioned"],
)
def test_worked_example(overrides: list[str], expected: list[float]) -> None:
    assert scored(TWO_GROUPS, *overrides)[1] == pytest.approx(expected, abs=1e-6)


def test_worked_example_of_the_sum() -> None:
    parts = score_step(load_recipe("gdpo"), TWO_GROUPS).parts
    correct = [0.866024, -0.866024, 0.866024, -0.866024, 0.499999, 0.499999, 0.499999, -1.499997]
    length = [0.866024, 0.866024, -0.866024, -0.866024, 0.499999, 0.499999, 0.499999, -1.499997]
    assert parts["correct"].tolist() == pytest.approx(correct, abs=1e-6)
    assert parts["length"].tolist() == pytest.approx(length, abs=1e-6)
    both = [1.732048, 0, 0, -1.732048, 0.999998, 0.999998, 0.999998, -2.999994]
    assert scored(TWO_GROUPS)[0] == pytest.approx(both, abs=1e-6)
    conditioned = [2.366021, -1.366023, 0.366025, -1.366023, 0.999998, 0.999998, 0.999998, -2.999994]
    assert scored(TWO_GROUPS, CONDITIONED)[0] == pytest.approx(conditioned, abs=1e-6)


def test_an_all_right_group_is_ranked_by_the_limit_and_long_responses_weigh_more_by_token() -> None:
    batch = RolloutBatch.of(group=[0] * 4, length=[1000, 2000, 5000, 7000], correct=[1] * 4)
    assert scored(batch)[0] == pytest.approx([0.866024, 0.866024, -0.866024, -0.866024], abs=1e-6)
    assert scored(batch)[1] == pytest.approx([1.999933, 1.999933, -0.499983, -0.499983], abs=1e-6)
    assert scored(batch, *TRL)[1] == pytest.approx([0.865939, 0.865939, -0.865939, -0.865939], abs=1e-6)


def slow_gdpo(
    parts: list[tuple[float, Numbers]], group: Groups, length: Numbers, eps: float, by_token: bool
) -> list[float]:
    """Eqs. 4, 6 and 7 in loops; mean and deviation of the batch over tokens (verl) or responses (TRL)."""
    total = [0.0] * len(length)
    for weight, value in parts:
        for rows in members(group).values():
            own = [value[i] for i in rows]
            for i in rows:
                if len(own) > 1:
                    total[i] += weight * (value[i] - mean(own)) / (std(own, 1) + eps)
    count = [int(tokens) if by_token else 1 for tokens in length]
    n = sum(count)
    if n < 2:
        return [0.0] * len(length)
    centre = sum(c * s for c, s in zip(count, total, strict=True)) / n
    variance = sum(c * (s - centre) ** 2 for c, s in zip(count, total, strict=True)) / (n - 1)
    divisor = math.sqrt(variance + 1e-8) if by_token else math.sqrt(variance) + 1e-4
    return [(s - centre) / divisor for s in total]


@pytest.mark.parametrize("by_token", [True, False], ids=["verl", "TRL"])
@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_agrees_with_the_loop(batches: list[RolloutBatch], weight: float, by_token: bool) -> None:
    recipe = load_recipe("gdpo", [f"{PATH}.by={weight}", *([] if by_token else TRL)])
    eps = 1e-6 if by_token else 1e-4
    for batch in batches:
        length, group = batch.length.tolist(), batch.group.tolist()
        within = [1.0 if tokens <= 4000 else 0.0 for tokens in length]
        expected = slow_gdpo([(1.0, batch.correct.tolist()), (weight, within)], group, length, eps, by_token)
        given_N = recipe.advantage(recipe.reward(batch)[0], batch.group, batch.length)  # type: ignore[operator]
        torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_the_conditioned_part_is_the_step_of_right_responses() -> None:
    short_and_right = WithinLength(target=4000)(TWO_GROUPS)[0] * TWO_GROUPS.correct
    assert torch.equal(StepLength(target=4000, alpha=1.0)(TWO_GROUPS)[0], short_and_right)


def test_the_target_may_be_a_schedule_and_is_a_number_of_tokens() -> None:
    reward = WithinLength(target=Linear(start=100, stop=50, steps=10))
    batch = RolloutBatch.of(group=[0] * 3, length=[50, 75, 100], correct=[1, 0, 0])
    assert reward(batch)[0].tolist() == [1, 1, 1] and reward(batch.replace(step=5))[0].tolist() == [1, 1, 0]
    with pytest.raises(ConfigError, match=r"target is 0; give tokens, 1 or more"):
        WithinLength(target=0)
