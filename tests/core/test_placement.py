"""Rewards that fall on single tokens: the pieces themselves, and how they pass through rewards made of rewards."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from leanthink import Composite, PlacedReward, Placement, Reward, RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.placement import flat_token_rewards, joined, token_rewards
from leanthink.core.reward import Part, RewardN
from leanthink.core.schedules import Linear
from leanthink.rewards import (
    Chain,
    Clip,
    Correct,
    Freeze,
    Gate,
    GroupNormalize,
    PassRateAtLeast,
    Scale,
    Sum,
    Switch,
)


@dataclass(frozen=True, kw_only=True)
class Midway(PlacedReward):
    """Pays ``amount`` at the token ``at`` of responses that have it, and ``rest`` beside it."""

    at: int = 2
    amount: float = 0.5
    rest: float = 0.0
    is_term = True

    def place(self, batch: RolloutBatch) -> tuple[RewardN, Placement]:
        row_K = (batch.length > self.at).nonzero().squeeze(-1)
        amount_K = torch.full((len(row_K),), self.amount, dtype=torch.float64)
        total_N = torch.full((len(batch),), self.rest, dtype=torch.float64).index_add(0, row_K, amount_K)
        return total_N, Placement(row=row_K, token=torch.full_like(row_K, self.at), amount=amount_K)


BATCH = RolloutBatch.of(
    group=[0, 0, 1, 1], length=[4, 1, 3, 0], correct=[1, 0, 1, 1], truncated=[0, 0, 1, 0], step=5, budget=[1, 0, 0, 1]
)


def tokens(reward: Reward, batch: RolloutBatch = BATCH) -> list[list[float]]:
    result = reward.breakdown(batch)
    return token_rewards(result.reward, batch.length, result.placement).tolist()


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        (Midway(rest=1.0), [[0, 0, 0.5, 1], [1, 0, 0, 0], [0, 0, 1.5, 0], [0, 0, 0, 0]]),
        (Sum(a=Correct(), b=Midway()), [[0, 0, 0.5, 1], [0, 0, 0, 0], [0, 0, 1.5, 0], [0, 0, 0, 0]]),
        (Sum(a=Midway(), b=Midway(at=0, amount=1)), [[1, 0, 0.5, 0], [1, 0, 0, 0], [1, 0, 0.5, 0], [0, 0, 0, 0]]),
        (Scale(by=-2.0, of=Midway()), [[0, 0, -1, 0], [0, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 0]]),
        (
            Scale(by=Linear(start=0.0, stop=1.0, steps=10), of=Midway()),
            [[0, 0, 0.25, 0], [0, 0, 0, 0], [0, 0, 0.25, 0], [0, 0, 0, 0]],
        ),
        (Gate(column="truncated", of=Midway()), [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 0]]),
        (Gate(column="budget", negate=True, of=Midway()), [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 0]]),
        (
            Switch(select=PassRateAtLeast(threshold=0.9), shaped=Midway(amount=3.0), plain=Midway(at=1)),
            [[0, 0.5, 0, 0], [0, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 0]],
        ),
        (Freeze(of=Sum(a=Correct(), b=Midway())), [[0, 0, 0.5, 1], [0, 0, 0, 0], [0, 0, 1.5, 0], [0, 0, 0, 0]]),
    ],
)
def test_linear_rewards_pass_a_placement_on(reward: Reward, expected: list[list[float]]) -> None:
    assert reward.is_placed
    assert tokens(reward) == expected
    result = reward.breakdown(BATCH)
    assert result.placement is not None and result.reward.tolist() == reward(BATCH)[0].tolist()


def test_without_a_placed_part_there_is_no_placement() -> None:
    reward = Sum(a=Correct(), b=Scale(by=0.5, of=Gate(column="budget", of=Correct())))
    assert not reward.is_placed and reward.breakdown(BATCH).placement is None
    assert tokens(reward) == [[0, 0, 0, 1.5], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


@dataclass(frozen=True, kw_only=True)
class Squared(Composite):
    """A user's combinator, which is not linear."""

    of: Reward

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        return part("of", batch).square()


@dataclass(frozen=True, kw_only=True)
class Careless(Squared):
    """One whose constructor forgets the check."""

    def __post_init__(self) -> None:
        pass


@pytest.mark.parametrize(
    "build",
    [
        lambda placed: Clip(low=0.0, of=placed),
        lambda placed: GroupNormalize(of=placed),
        lambda placed: Chain(first=Correct(), second=placed),
        lambda placed: Switch(select=placed, shaped=Correct(), plain=Correct()),
        lambda placed: Squared(of=placed),
        lambda placed: Sum(a=Correct(), b=Clip(high=1.0, of=Sum(c=placed))),
    ],
    ids=["clip", "group_normalize", "chain", "switch.select", "user", "deep"],
)
def test_any_other_refuses_a_placed_part_when_built(build: Callable[[Reward], Reward]) -> None:
    build(Correct())
    with pytest.raises(ConfigError, match=r"pays single tokens.* not linear in it.* put it beside, under a sum"):
        build(Scale(by=0.5, of=Midway()))


def test_a_constructor_that_forgets_the_check_is_found_out_at_the_first_batch() -> None:
    with pytest.raises(ConfigError, match="Careless is not linear in it"):
        Careless(of=Midway())(BATCH)


def test_a_users_linear_combinator_says_by_what_a_part_counts() -> None:
    @dataclass(frozen=True, kw_only=True)
    class ByBudget(Composite):
        of: Reward
        carries = frozenset({"of"})

        def weight(self, name: str, batch: RolloutBatch, value: Any) -> RewardN:
            return batch.column("budget")

        def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
            return batch.column("budget") * part("of", batch)

    assert tokens(ByBudget(of=Midway(rest=1.0)))[0] == [0, 0, 0.5, 1]
    assert tokens(ByBudget(of=Midway(rest=1.0)))[2] == [0, 0, 0, 0]


@dataclass(frozen=True, kw_only=True)
class Fixed(PlacedReward):
    """Pays what it is told."""

    token: int
    amount: float = 1.0

    def place(self, batch: RolloutBatch) -> tuple[RewardN, Placement]:
        rows = torch.arange(len(batch))
        amount_N = torch.full((len(batch),), self.amount, dtype=torch.float64)
        return torch.zeros(len(batch)), Placement(row=rows, token=torch.full_like(rows, self.token), amount=amount_N)


@pytest.mark.parametrize(
    ("reward", "fact"),
    [
        (Fixed(token=3), "Fixed pays token 3 of row 1, which has 1"),
        (Fixed(token=-1), "Fixed pays token -1 of row 0"),
        (Fixed(token=0, amount=float("nan")), "Fixed pays nan to a token of row 0"),
    ],
)
def test_a_wrong_placement_names_reward_and_row(reward: Reward, fact: str) -> None:
    with pytest.raises(BatchError, match=fact):
        reward(BATCH.select(torch.tensor([0, 1, 2])))


def test_token_rewards_agree_with_the_loop(batches: list[RolloutBatch]) -> None:
    generator = torch.Generator().manual_seed(0)
    for batch in batches:
        length_N = batch.length.long() % 9
        reward_N = torch.randn(len(batch), generator=generator).double()
        rows = [row for row in range(len(batch)) if length_N[row] > 0 for _ in range(row % 3)]
        places = [int(torch.randint(int(length_N[row]), (1,), generator=generator)) for row in rows]
        amount_K = torch.randn(len(rows), generator=generator).double()
        placement = Placement(
            row=torch.tensor(rows, dtype=torch.int64), token=torch.tensor(places, dtype=torch.int64), amount=amount_K
        )
        expected = []
        for row, (total, length) in enumerate(zip(reward_N.tolist(), length_N.tolist(), strict=True)):
            values = [0.0] * length
            for at, token, amount in zip(rows, places, amount_K.tolist(), strict=True):
                if at == row:
                    values[token] += amount
                    total -= amount
            if values:
                values[-1] += total
            expected.append(values)
        given = token_rewards(reward_N, length_N, placement)
        for row, values in enumerate(expected):
            assert given[row, : len(values)].tolist() == pytest.approx(values, abs=1e-9)
            assert not given[row, len(values) :].any()
        flat = flat_token_rewards(reward_N, length_N, placement)
        assert flat.dtype == torch.float32 and flat.tolist() == pytest.approx(
            list(itertools.chain(*expected)), abs=1e-6
        )
        kept = [given[row, :length].float() for row, length in enumerate(length_N.tolist())]
        assert torch.equal(flat, torch.cat([torch.zeros(0), *kept]))  # to the last bit
        plain = flat_token_rewards(reward_N, length_N)
        assert torch.equal(plain[plain != 0], reward_N[(length_N > 0) & (reward_N != 0)].float())


def test_selected_rows_keep_their_amounts() -> None:
    placement = Placement(row=torch.tensor([0, 1, 1, 3]), token=torch.tensor([5, 6, 7, 8]), amount=torch.arange(4.0))
    part = placement.select(torch.tensor([3, 1]), count=4)
    assert (part.row.tolist(), part.token.tolist()) == ([1, 1, 0], [6, 7, 8])
    back = part.renumbered(torch.tensor([3, 1]))
    assert (back.row.tolist(), back.amount.tolist()) == ([1, 1, 3], [1.0, 2.0, 3.0])
    assert len(placement.times(torch.tensor([0.0, 2.0, 1.0, 1.0]))) == 3
    assert joined([]) is None and len(joined([placement, part]) or ()) == 7


def test_nothing_is_changed_in_place() -> None:
    placement = Placement(row=torch.tensor([0]), token=torch.tensor([1]), amount=torch.tensor([0.5]))
    reward_N, length_N = torch.tensor([1.0]), torch.tensor([3])
    token_rewards(reward_N, length_N, placement)
    assert (reward_N.tolist(), length_N.tolist(), placement.amount.tolist()) == ([1.0], [3], [0.5])
