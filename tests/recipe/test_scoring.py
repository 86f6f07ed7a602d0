from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from leanthink.algorithms import BatchNorm, Drpo, Gae, Grpo, ReinforcePp, Rloo, VerlAdvantage, reinforce_pp_advantage
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError, MissingColumnError
from leanthink.core.measured import TextReward
from leanthink.core.placement import token_rewards
from leanthink.core.reward import Reward
from leanthink.recipe.definition import Recipe, load_recipe, recipe_names
from leanthink.recipe.scoring import (
    batch_advantage,
    batch_of_facts,
    measured_rewards,
    overlong_filter,
    score_step,
    step_metrics,
)
from leanthink.rewards import (
    Correct,
    Format,
    Gate,
    Repetition,
    SigmoidLength,
    SoftOverlong,
    StepwiseGain,
    Sum,
    Truncation,
)
from oracles import Flags, Groups, Numbers, grpo

OVERLONG = Sum(correct=Correct(), overlong=SoftOverlong(limit=100, buffer=50))
BATCH = RolloutBatch.of(
    group=[0, 0, 0, 1, 1, 2],
    length=[50, 75, 100, 10, 20, 80],
    correct=[1, 1, 0, 0, 0, 1],
    truncated=[0, 0, 1, 0, 0, 0],
)
PROBES = {
    "cut_tokens": [[3, 9, 20], [], [], [1, 4], [], []],
    "probe_accuracies": [[0.0, 0.0, 1.0], [], [], [0.2, 1.0], [], []],
}


def test_one_step_gives_reward_parts_and_advantage() -> None:
    scored = score_step(Recipe(name="mine", reward=OVERLONG, advantage=Rloo()), BATCH)
    assert scored.reward.tolist() == pytest.approx([1, 0.5, -1, 0, 0, 0.4])
    assert scored.parts["overlong"].tolist() == pytest.approx([0, -0.5, -1, 0, 0, -0.6])
    assert scored.advantage.tolist() == pytest.approx([1.25, 0.5, -1.75, 0, 0, 0])
    assert scored.state == {}


def test_a_loss_that_makes_its_own_advantage_decides() -> None:
    loss = Drpo(length_temperature=0.25, limit=100.0)
    scored = score_step(Recipe(name="mine", reward=Correct(), advantage=Rloo(), loss=loss), BATCH)
    share = 1 / (1 + math.exp(-1))  # of 50 tokens against 75: the preferences differ by a quarter
    assert scored.advantage.tolist() == pytest.approx([share, 1 - share, -1, 0, 0, 0])
    assert scored.metrics["correct_pushed_down_share"] == 0
    assert scored.metrics["groups/no_signal_share"] == pytest.approx(2 / 3)
    by_reward = Drpo(length_temperature=0.5, preference="reward")
    scored = score_step(Recipe(name="mine", reward=OVERLONG, loss=by_reward), BATCH)
    assert scored.advantage.tolist() == pytest.approx([share, 1 - share, -1, 0, 0, 0])  # rewards 1 and 0.5


def test_metrics_are_plain_means_with_correct_and_wrong_apart() -> None:
    metrics = score_step(Recipe(name="mine", reward=OVERLONG, advantage=Grpo()), BATCH).metrics
    expected = {
        "accuracy": 0.5,
        "truncated_share": 1 / 6,
        "length/all": 335 / 6,
        "length/correct": 205 / 3,
        "length/wrong": 130 / 3,
        "reward/all": 0.9 / 6,
        "reward/correct": 1.9 / 3,
        "reward/wrong": -1 / 3,
        "part/correct": 0.5,
        "part/overlong": -2.1 / 6,
        "correct_pushed_down_share": 0.0,
        "groups/all_correct_share": 1 / 3,
        "groups/all_wrong_share": 1 / 3,
        "groups/no_signal_share": 2 / 3,
        "groups/size": 2.0,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert metrics.keys() - expected.keys() == {"reward/all_std", "part/correct_std", "part/overlong_std"}
    assert metrics["part/correct_std"] == pytest.approx(0.5)


def test_a_mean_over_nothing_is_left_out() -> None:
    recipe = Recipe(name="mine", reward=Correct())
    all_right = score_step(recipe, BATCH.select(BATCH.correct == 1)).metrics
    assert "length/wrong" not in all_right and "reward/wrong" not in all_right
    assert score_step(recipe, BATCH.select(torch.zeros(6) > 0)).metrics == {}


def test_long_correct_responses_pushed_down_are_counted() -> None:
    batch = RolloutBatch.of(group=[0] * 4, length=[10, 20, 30, 40], correct=[1] * 4)
    recipe = Recipe(name="mine", reward=SigmoidLength(alpha=0.2), advantage=Rloo())
    assert score_step(recipe, batch).metrics["correct_pushed_down_share"] == 0.5


@pytest.mark.parametrize("advantage", [Grpo(), Grpo(scale="none"), Rloo()])
def test_equal_rewards_are_no_signal_whatever_the_rounding(advantage: Any) -> None:
    batch = RolloutBatch.of(group=[0] * 7, length=[800] * 7, correct=[1] * 7)
    recipe = Recipe(name="mine", reward=SigmoidLength(alpha=0.1), advantage=advantage)
    assert score_step(recipe, batch).metrics["groups/no_signal_share"] == 1.0


def test_a_batch_may_be_given_as_lists() -> None:
    recipe = load_recipe("trle")
    columns = {"group": ["a", "a", "b"], "length": [5, 9, 7], "correct": [1, 1, 0], "step": 3}
    assert torch.equal(score_step(recipe, columns).reward, score_step(recipe, RolloutBatch.of(**columns)).reward)
    with pytest.raises(ConfigError, match=r"'trle' is no recipe; give one of load_recipe"):
        score_step("trle", columns)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"is no recipe; give Recipe\(name="):
        score_step(recipe.reward, columns)  # type: ignore[arg-type]
    with pytest.raises(BatchError, match=r"list is no batch; give RolloutBatch.of\(...\), or its columns"):
        score_step(recipe, [1, 0])  # type: ignore[arg-type]


def test_measured_parts_have_a_column_each_and_two_of_one_name_are_refused() -> None:
    """A class of one's own may be called as one of ours is; its values must not be read for those of ours."""

    @dataclass(frozen=True, kw_only=True)
    class Mine(TextReward):
        registered_as = "repetition"

        def measure(self, response: str) -> float:
            return 0.0

    ours = Sum(a=Repetition(), b=Repetition(size=20), c=Repetition(size=40))
    assert [part.column for part in measured_rewards(ours)] == ["measured/repetition", "measured/repetition(size=20)"]
    with pytest.raises(ConfigError, match="both measure 'measured/repetition'; give one a name of its own"):
        measured_rewards(Sum(a=Mine(), b=Repetition()))


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_scores_a_batch(name: str) -> None:
    recipe = load_recipe(name)
    columns = {part.column: [0.0] * 6 for part in measured_rewards(recipe.reward)}
    columns |= {column: [1.0] * 6 for column in recipe.reward.requires - set(columns)}
    columns |= {name: column for name, column in PROBES.items() if name in recipe.reward.requires}
    scored = score_step(recipe, BATCH.replace(extras=columns))
    assert all(math.isfinite(value) for value in scored.metrics.values())
    if isinstance(recipe.advantage, VerlAdvantage):
        assert scored.advantage is None
    else:
        assert scored.advantage is not None and scored.advantage.isfinite().all()


def test_an_advantage_by_token_is_shown_by_its_mean_over_the_response() -> None:
    reward = Sum(correct=Correct(), steps=StepwiseGain())
    batch = BATCH.replace(extras=PROBES)
    scored = score_step(Recipe(name="mine", reward=reward, advantage=ReinforcePp()), batch)
    reward_NT = token_rewards(scored.reward, batch.length, scored.placement)
    mask_NT = torch.arange(100) < batch.length[:, None]
    expected_NT = reinforce_pp_advantage(reward_NT, mask_NT)
    expected = [float(row[mask].mean()) for row, mask in zip(expected_NT, mask_NT, strict=True)]
    assert scored.advantage is not None and scored.advantage.tolist() == pytest.approx(expected)
    assert scored.placement is not None and scored.placement.token.tolist() == [3, 9, 1]
    assert "correct_pushed_down_share" in scored.metrics


def test_the_mean_over_one_token_is_its_own_and_over_none_zero() -> None:
    batch = RolloutBatch.of(group=[0, 0, 0], length=[1, 3, 0], correct=[1, 0, 0])
    scored = score_step(Recipe(name="mine", reward=Correct(), advantage=ReinforcePp()), batch)
    assert scored.advantage is not None  # four tokens, whose returns are 1, 0, 0, 0
    assert scored.advantage.tolist() == pytest.approx([1.5, -0.5, 0.0], abs=1e-6)


def test_what_only_a_critic_could_tell_is_left_out() -> None:
    scored = score_step(Recipe(name="mine", reward=Correct(), advantage=Gae()), BATCH)
    assert scored.advantage is None and scored.metrics["accuracy"] == 0.5
    assert not {"correct_pushed_down_share", "groups/no_signal_share"} & scored.metrics.keys()


def test_a_missing_column_is_named_before_anything_runs() -> None:
    recipe = Recipe(name="mine", reward=Gate(column="budget", of=Correct()))
    with pytest.raises(MissingColumnError, match=r"recipe mine needs the column 'budget'.*length, correct"):
        score_step(recipe, BATCH)


def test_measured_rewards_are_found_once_for_each_setting() -> None:
    reward = Sum(a=Format(), b=Sum(c=Format(), d=Format(kept=2), e=Repetition()), correct=Correct())
    assert measured_rewards(reward) == [Format(), Format(kept=2), Repetition()]
    assert measured_rewards(Correct()) == []


def test_facts_become_a_batch() -> None:
    facts = [
        {"correct": 1, "length": 5, "budget": 8, "text": "a"},
        {"text": "b", "correct": 0, "length": 6, "budget": 9},
    ]
    batch = batch_of_facts(facts, ["x", "x"], step=3)
    assert batch == RolloutBatch.of(
        group=["x", "x"], length=[5, 6], correct=[1, 0], budget=[8, 9], text=["a", "b"], step=3
    )
    assert len(batch_of_facts([], [], step=0)) == 0
    cut = batch_of_facts([{"correct": 0, "length": 5, "truncated": True, "device": 1}], ["x"], step=0)
    assert cut.truncated.tolist() == [True] and cut.column("device").tolist() == [1.0]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            [{"correct": 1, "length": 5, "budget": 8}, {"correct": 0, "length": 6}],
            ["row 1", "'budget'", "some responses"],
        ),
        ([{"correct": 1, "length": 5}, {"correct": 0, "length": 6, "late": 1}], ["row 1", "'late'"]),
        ([{"correct": 1}, {"correct": 0}], ["'length' is missing"]),
        ([{"length": 1}, {"length": 0}], ["'correct' is missing"]),
        ([{"correct": 1, "length": 5, "reward": 8}] * 2, ["'reward'", "another name"]),
        ([{"correct": 1, "length": 5, "step": 8}] * 2, ["'step'", "another name"]),
        ([{"correct": 0.5, "length": 5}] * 2, ["'correct'", "row 0", "0.5"]),
        ([{"correct": 1, "length": 5}], ["1 rows", "'group' has 2"]),
    ],
)
def test_ragged_or_malformed_facts_are_refused(facts: list[dict[str, Any]], words: list[str]) -> None:
    with pytest.raises(BatchError) as caught:
        batch_of_facts(facts, ["x", "x"], step=0)
    for word in words:
        assert word in str(caught.value)


FILTERED = RolloutBatch.of(
    group=[0, 0, 0, 0, 1, 1], length=[5, 6, 7, 8, 9, 9], correct=[1, 1, 0, 0, 1, 0], truncated=[0, 0, 0, 1, 1, 0]
)
PLUS_MINUS = Recipe(name="mine", reward=Correct(right=1, wrong=-1), advantage=Grpo(eps=0.0))


@pytest.mark.parametrize(
    ("truncated", "expected"),
    [
        ("keep", [0.866025, 0.866025, -0.866025, -0.866025, 0.707107, -0.707107]),
        ("mask", [0.866025, 0.866025, -0.866025, 0, 0, -0.707107]),
        ("exclude", [0.577350, 0.577350, -1.154701, 0, 0, 0]),  # one response left in the second group: nothing
    ],
)
def test_worked_example_of_overlong_filtering(truncated: Any, expected: list[float]) -> None:
    scored = score_step(PLUS_MINUS, FILTERED, truncated=truncated)
    assert scored.advantage.tolist() == pytest.approx(expected, abs=1e-6)
    assert scored.reward.tolist() == [1, 1, -1, -1, 1, -1]
    assert scored.metrics["truncated_share"] == pytest.approx(1 / 3)


def slow_filtered_grpo(reward: Numbers, group: Groups, truncated: Flags, variant: str) -> list[float]:
    """arXiv 2503.14476, Sec. 3.4: GRPO's advantage, 0 for the truncated, whose rewards count ("mask") or do not."""
    result = []
    for i in range(len(reward)):
        counted = [j for j in range(len(reward)) if group[j] == group[i] and (variant != "exclude" or not truncated[j])]
        if truncated[i] and variant != "keep":
            result.append(0.0)
            continue
        values = grpo([reward[j] for j in counted], [group[i]] * len(counted))
        result.append(values[counted.index(i)])
    return result


@pytest.mark.parametrize("truncated", ["keep", "mask", "exclude"])
def test_overlong_filtering_agrees_with_the_loop(batches: list[RolloutBatch], truncated: Any) -> None:
    for batch in batches[:400]:
        columns = [column.tolist() for column in (batch.correct, batch.group, batch.truncated)]
        slow_N = torch.tensor(slow_filtered_grpo(*columns, truncated), dtype=torch.float64)
        given_N = batch_advantage(Grpo(), batch.correct, batch, truncated)
        torch.testing.assert_close(given_N, slow_N, rtol=1e-9, atol=1e-9)


def test_what_excluding_leaves_alone_goes_too_and_a_group_of_one_stays() -> None:
    """Of two one is left, which has nothing to be compared with; a group that had one response is as it was sampled."""
    batch = RolloutBatch.of(
        group=[0, 0, 1, 2, 2, 2], length=[9] * 6, correct=[1, 0, 1, 1, 0, 1], truncated=[0, 1, 0, 0, 1, 0]
    )
    for kept_N in overlong_filter(batch, "exclude"):
        assert kept_N.tolist() == [False, False, True, True, False, True]
    assert batch_advantage(BatchNorm(), batch.correct, batch, "exclude")[:2].tolist() == [0, 0]


def test_masked_tokens_weigh_nothing_in_the_batch() -> None:
    counted_N, trained_N = overlong_filter(FILTERED, "mask")
    assert counted_N.all() and trained_N.tolist() == [True, True, True, False, False, True]
    given_N = batch_advantage(BatchNorm(), FILTERED.correct, FILTERED, "mask")
    lengths = FILTERED.length * trained_N
    expected_N = BatchNorm()(FILTERED.correct, FILTERED.group, lengths) * trained_N
    assert torch.equal(given_N, expected_N)


def test_a_batch_wide_advantage_shifts_groups_without_signal() -> None:
    batch = RolloutBatch.of(group=[0, 0, 1, 1], length=[5, 9, 5, 9], correct=[1, 0, 1, 1])
    scored = score_step(Recipe(name="mine", reward=Correct(), advantage=BatchNorm()), batch)
    assert scored.metrics["groups/no_signal_share"] == 0.5
    assert scored.advantage[2] == scored.advantage[3] != 0


def test_the_boost_reads_raw_correctness() -> None:
    batch = RolloutBatch.of(group=[0, 0], length=[5, 9], correct=[1, 1], truncated=[0, 1])
    plain, lifted = (
        score_step(Recipe(name="mine", reward=Truncation(), advantage=BatchNorm(boost=boost)), batch).advantage
        for boost in (0.0, 0.1)
    )
    torch.testing.assert_close(lifted, plain + 0.1)


def test_the_optimiser_of_dler_takes_any_reward() -> None:
    batch = RolloutBatch.of(group=[0, 0, 0, 1, 1], length=[10, 20, 40, 10, 40], correct=[1, 1, 0, 1, 1])
    recipe = load_recipe("dler", ["reward={sum: {correct: correct, length: {scale: {by: 0.5, of: kimi_length}}}}"])
    scored = score_step(recipe, batch)
    kimi = score_step(load_recipe("kimi"), batch.replace(step=20))
    assert torch.equal(scored.reward, kimi.reward)
    assert torch.equal(scored.advantage, BatchNorm()(kimi.reward, batch.group, batch.length))
    assert scored.advantage[3] > scored.advantage[4]  # a length signal in an all-correct group
    assert float((scored.advantage * batch.length).sum()) == pytest.approx(0, abs=1e-9)


@dataclass(frozen=True, kw_only=True)
class Shorter(Reward):
    """0.9 and 0.1 for right responses of 10 and 90 tokens, 0.05 for wrong ones."""

    def score(self, batch: RolloutBatch) -> torch.Tensor:
        return torch.where(batch.correct == 1, 1 - batch.length / 100, torch.full_like(batch.length, 0.05))


def test_pushed_down_are_counted_among_the_correct_alone() -> None:
    """Of two right ones one has an advantage below 0; so have all three wrong ones, which are not asked."""
    batch = RolloutBatch.of(group=[0] * 5, length=[10, 90, 20, 30, 40], correct=[1, 1, 0, 0, 0])
    metrics = score_step(Recipe(name="mine", reward=Shorter(), advantage=Rloo()), batch).metrics
    assert metrics["correct_pushed_down_share"] == 0.5


def test_a_budget_of_thinking_is_shown_beside_the_share_that_was_ended_by_it() -> None:
    batch = RolloutBatch.of(group=[0, 0], length=[9, 5], correct=[1, 0], thinking_limit=[14, 10], forced=[1, 0])
    metrics = step_metrics(batch, batch.correct, {}, None)
    assert (metrics["thinking_limit"], metrics["forced_share"]) == (12.0, 0.5)
