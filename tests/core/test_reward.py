from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import pytest
import torch

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ChangedBatchError, MissingColumnError, StateError
from leanthink.core.measured import TextReward, TokenReward
from leanthink.core.reward import Composite, Part, Reward, RewardN, Scope, State, StatefulReward
from leanthink.rewards import Chain, Correct, Format, Freeze, Gate, Scale, SigmoidLength, SoftOverlong, Sum, Switch
from leanthink.testing import check_reward

BATCH = RolloutBatch.of(group=[0, 0, 1], length=[10, 20, 30], correct=[1, 0, 1])


@final
@dataclass(frozen=True, kw_only=True)
class MeanSoFar(StatefulReward):
    """The mean length of all responses up to and including this batch."""

    factor: float = 1.0
    scope = Scope.BATCH
    is_term = True

    def init(self) -> State:
        return {"count": 0, "total": 0.0}

    def update(self, batch: RolloutBatch, state: State) -> tuple[RewardN, State]:
        after = {"count": state["count"] + len(batch), "total": state["total"] + float(batch.length.sum())}
        mean = after["total"] / max(after["count"], 1)
        return torch.full_like(batch.length, self.factor * mean), after


@dataclass(frozen=True, kw_only=True)
class Returns(Reward):
    """Whatever it is told to."""

    value: Any

    def score(self, batch: RolloutBatch) -> RewardN:
        return self.value  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Letters(TextReward):
    """Counts a letter."""

    letter: str = "a"
    each: float = 1.0

    def measure(self, response: str) -> float:
        return self.each * response.count(self.letter)


@dataclass(frozen=True, kw_only=True)
class Different(TokenReward):
    """How many tokens differ."""

    def measure(self, tokens: Sequence[Any]) -> float:
        return float(len(set(tokens)))


@pytest.mark.parametrize(
    ("value", "facts"),
    [
        (torch.ones(2), ["Returns", "(2,)", "(3,)", "one value per response"]),
        (torch.ones(3, 1), ["Returns", "(3, 1)"]),
        (torch.tensor(1.0), ["Returns", "()"]),
        ([1.0, 2.0, 3.0], ["Returns", "list"]),
        (None, ["Returns", "NoneType"]),
        (torch.tensor([0.0, math.nan, 0.0]), ["Returns", "nan", "row 1", "finite"]),
        (torch.tensor([0.0, 0.0, -math.inf]), ["Returns", "-inf", "row 2"]),
    ],
)
def test_a_reward_that_is_no_number_per_response_is_refused(value: Any, facts: list[str]) -> None:
    for reward in (Returns(value=value), Sum(correct=Correct(), broken=Returns(value=value))):
        with pytest.raises(BatchError) as caught:
            reward(BATCH)
        for fact in facts:
            assert fact in str(caught.value)


@dataclass(frozen=True, kw_only=True)
class Penalised(Reward):
    """Takes a price off correctness where it lies."""

    def score(self, batch: RolloutBatch) -> RewardN:
        reward_N = batch.correct
        reward_N -= 0.001 * batch.length
        return reward_N


@dataclass(frozen=True, kw_only=True)
class Rescaled(Composite):
    """Writes into a view of a further column."""

    of: Reward

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        batch.column("price")[:1].mul_(2)
        return part("of", batch)


@pytest.mark.parametrize(
    ("reward", "told"),
    [
        (Penalised(), r"Penalised changed batch\.correct in place; work on batch\.correct\.clone\(\)"),
        (Sum(own=Penalised(), correct=Correct()), r"Penalised changed batch\.correct in place"),
        (Rescaled(of=Correct()), r"Rescaled changed batch\.price in place"),
    ],
)
def test_a_reward_that_writes_into_the_batch_is_refused(reward: Reward, told: str) -> None:
    batch = RolloutBatch.of(group=[0, 0], length=[10, 20], correct=[1, 0], price=[1.0, 2.0])
    with pytest.raises(ChangedBatchError, match=told):
        reward(batch)


def test_what_inference_mode_made_is_scored_as_ever() -> None:
    with torch.inference_mode():
        batch = RolloutBatch.of(group=[0, 0], length=[10, 20], correct=[1, 0])
        assert Correct()(batch)[0].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_rewards_come_out_as_float64(dtype: torch.dtype) -> None:
    reward_N, state = Returns(value=torch.ones(3, dtype=dtype))(BATCH)
    assert reward_N.dtype == torch.float64 and state == {}


def test_facts_follow_from_the_parts() -> None:
    plain = Sum(correct=Correct(), overlong=SoftOverlong(limit=9, buffer=1))
    assert plain.scope == Scope.RESPONSE and not plain.requires
    assert not plain.reads_state and not plain.is_term
    wide = Sum(correct=Correct(), gate=Gate(column="budget", of=Chain(format=Format(), mean=MeanSoFar())))
    assert wide.scope == Scope.BATCH and wide.reads_state
    assert wide.requires == {"budget", Format().column}
    assert Scale(by=2, of=SoftOverlong(limit=9, buffer=1)).is_term
    assert [type(part).__name__ for part in wide.walk()] == [
        *("Sum", "Correct", "Gate", "Chain", "Format", "MeanSoFar"),
    ]


def test_state_is_kept_by_part_and_comes_out_anew() -> None:
    reward = Sum(correct=Correct(), mean=Scale(by=0.1, of=MeanSoFar()), plain=Freeze(of=MeanSoFar()))
    before = reward.init()
    assert before == {
        "mean": {"of": {"count": 0, "total": 0.0}},
        "plain": {"of": {"count": 0, "total": 0.0}},
    }
    _, after = reward(BATCH, before)
    assert after["mean"] == {"of": {"count": 3, "total": 60.0}}
    assert after["plain"] == before["plain"] == {"of": {"count": 0, "total": 0.0}}
    restored = json.loads(json.dumps(after))
    ours, theirs = reward(BATCH, after), reward(BATCH, restored)
    assert torch.equal(ours[0], theirs[0]) and ours[1] == theirs[1]
    assert ours[1]["mean"]["of"]["count"] == 6


def test_without_state_it_is_the_first_step() -> None:
    reward = Sum(correct=Correct(), mean=MeanSoFar())
    assert torch.equal(reward.score(BATCH), reward(BATCH)[0])
    assert torch.equal(reward(BATCH)[0], reward(BATCH, reward.init())[0])
    assert MeanSoFar().score(BATCH).tolist() == [20.0] * 3


@pytest.mark.parametrize(
    ("reward", "state"),
    [
        (Sum(correct=Correct(), mean=MeanSoFar()), {}),
        (Sum(correct=Correct(), mean=MeanSoFar()), {"other": {"count": 0, "total": 0.0}}),
        (Sum(correct=Correct(), mean=MeanSoFar()), {"mean": {"count": 0, "total": 0.0}, "more": {}}),
        (Sum(correct=Correct()), {"mean": {}}),
        (Scale(by=1, of=Sum(mean=MeanSoFar())), {"of": {"max": {}}}),
        (Freeze(of=MeanSoFar()), {"count": 1, "total": 3.0}),
        (Correct(), {"mean": {}}),
    ],
    ids=str,
)
def test_foreign_state_is_refused(reward: Reward, state: State) -> None:
    with pytest.raises(StateError, match="another recipe"):
        reward(BATCH, state)


def test_the_breakdown_names_every_part_by_its_path() -> None:
    late = Scale(by=2, of=SoftOverlong(limit=9, buffer=1))
    reward = Sum(
        correct=Correct(),
        length=Scale(by=0.5, of=Chain(base=SigmoidLength(alpha=0.4), late=late)),
        by_group=Switch(select=Returns(value=torch.zeros(3)), shaped=Correct(right=3), plain=Sum(one=Correct())),
    )
    parts = reward.breakdown(BATCH).parts
    assert list(parts) == [
        *("correct", "length", "length/base", "length/late"),
        *("by_group", "by_group/select", "by_group/shaped", "by_group/plain", "by_group/plain/one"),
    ]
    assert parts["length/late"].tolist() == [-2.0] * 3 and parts["length"].tolist() == [-1.0] * 3
    total_N = parts["correct"] + parts["length"] + parts["by_group"]
    assert torch.equal(total_N, reward(BATCH)[0])


def test_text_rewards_read_what_was_measured() -> None:
    reward = Letters(letter="b", each=0.5)
    batch = BATCH.replace(extras={reward.column: [reward.measure(text) for text in ("", "abba", "b")]})
    assert reward(batch)[0].tolist() == [0.0, 1.0, 0.5]
    with pytest.raises(MissingColumnError, match="measured/letters"):
        reward(BATCH)


def test_token_rewards_are_measured_on_tokens() -> None:
    assert Different().value_of("aa", [7, 8, 9]) == 3 and Letters().value_of("aa", [7, 8, 9]) == 2
    batch = BATCH.replace(extras={Different().column: [4, 5, 6]})
    assert Different()(batch)[0].tolist() == [4, 5, 6]
    check_reward(Different())


def test_equal_text_rewards_share_a_column_and_others_do_not() -> None:
    assert Format(kept=1) == Format(kept=1.0) and Format(kept=1).column == Format(kept=1.0).column
    columns = {one.column for one in (Letters(), Letters(letter="1"), Letters(each=2), Format(), Format(kept=2))}
    assert len(columns) == 5


def test_a_kept_state_is_not_changed_by_later_steps() -> None:
    reward = Sum(mean=MeanSoFar())
    _, first = reward(BATCH)
    kept = json.dumps(first)
    reward(BATCH, first)
    assert json.dumps(first) == kept


def test_our_own_rewards_keep_the_contract() -> None:
    check_reward(MeanSoFar(factor=0.5), rounds=5)
    check_reward(Letters(letter="4"), rounds=5)
    check_reward(Sum(correct=Correct(right=1e6), mean=MeanSoFar(), letters=Letters()), rounds=5)
