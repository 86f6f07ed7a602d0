"""The contract kit finds what it promises to find, and shows it so that it can be run again."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from leanthink.algorithms import Advantage, FilterTopK, TokenAdvantage
from leanthink.core.batch import RolloutBatch
from leanthink.core.groups import group_mean
from leanthink.core.measured import TextReward
from leanthink.core.placement import Placement
from leanthink.core.reward import PlacedReward, Reward, RewardN, Scope, State, StatefulReward
from leanthink.rewards import Correct, Gate
from leanthink.testing import (
    ContractError,
    check_advantage,
    check_reward,
    check_token_advantage,
    random_batch,
    special_batches,
)

SEEN: list[int] = []


@dataclass(frozen=True, kw_only=True)
class Bad(Reward):
    """Breaks one promise."""

    how: str
    is_term = True

    @property
    def scope(self) -> Scope:
        return Scope.GROUP if self.how == "leaks across groups" else Scope.RESPONSE

    def score(self, batch: RolloutBatch) -> RewardN:
        length_N = batch.length
        if self.how == "changes the batch":
            return length_N.sub_(1)
        if self.how == "random":
            return length_N * random.random()
        if self.how == "by row":
            return length_N + torch.arange(len(batch))
        if self.how == "leaks across groups":
            return length_N - length_N.mean() if len(batch) else length_N
        if self.how == "leaks within groups":
            return length_N - group_mean(length_N, batch.group)[batch.group]
        if self.how == "not finite":
            return length_N / batch.correct
        if self.how == "crashes when empty":
            return length_N / length_N.max()
        if self.how == "shape":
            return length_N.mean()
        if self.how == "remembers outside its state":
            object.__setattr__(self, "how", "changed")
        return torch.zeros_like(length_N)


@dataclass(frozen=True, kw_only=True)
class BadState(StatefulReward):
    """Breaks one promise about state."""

    how: str
    scope = Scope.BATCH
    is_term = True

    def init(self) -> State:
        return {"seen": [], "step": 0}

    def update(self, batch: RolloutBatch, state: State) -> tuple[RewardN, State]:
        after: Any = {"seen": [*state["seen"][-2:], len(batch)], "step": batch.step}
        if self.how == "changes the state":
            state["seen"].append(1)
        if self.how == "tensor":
            after["step"] = torch.tensor(batch.step)
        if self.how == "nan":
            after["step"] = float("nan")
        if self.how == "tuple":
            after["step"] = (1, 2)
        if self.how == "number as key":
            after = {**after, "by step": {batch.step: 1}}
        if self.how == "another key":
            after["extra"] = 1
        if self.how == "lists in a list":
            after["seen"] = [[1.0]]
        if self.how == "differs":
            SEEN.append(1)
            after["step"] = len(SEEN)
        if self.how == "fails later" and state["seen"]:
            return torch.full_like(batch.length, torch.nan), after
        return torch.zeros_like(batch.length), after


@dataclass(frozen=True, kw_only=True)
class LongIsGood(Reward):
    """Pays for length, right or wrong."""

    def score(self, batch: RolloutBatch) -> RewardN:
        return batch.correct + batch.length / 10_000


@dataclass(frozen=True, kw_only=True)
class Budgeted(Reward):
    """Reads a column."""

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"budget"})

    def score(self, batch: RolloutBatch) -> RewardN:
        return batch.correct * (batch.length <= batch.column("budget"))


class NoDataclass(Reward):
    """Compares by identity."""

    def score(self, batch: RolloutBatch) -> RewardN:
        return batch.correct.clone()


@dataclass(kw_only=True)
class NotFrozen(NoDataclass):
    """Cannot be hashed."""


@dataclass(frozen=True, kw_only=True)
class BadAdvantage(Advantage):
    """Breaks one promise."""

    how: str

    @property
    def batch_wide(self) -> bool:
        return self.how == "declared whole batch"

    @property
    def reads_order(self) -> bool:
        return self.how == "filters again"

    @property
    def reads_state(self) -> bool:
        return self.how == "filters again"

    def init(self) -> dict[str, Any]:
        return {"seen": [0]}

    def select(
        self, reward_N: torch.Tensor, group_N: torch.Tensor, length_N: torch.Tensor | None, state: Mapping[str, Any]
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        if self.how == "changes its state":
            state["seen"].append(len(reward_N))
        chosen_N = torch.rand(len(reward_N)) < 0.5 if self.how == "chooses at random" else torch.ones_like(group_N) == 1
        return chosen_N, {"seen": [*state["seen"], len(reward_N)]}

    def __call__(
        self, reward_N: torch.Tensor, group_N: torch.Tensor, length_N: torch.Tensor | None = None
    ) -> torch.Tensor:
        assert length_N is not None
        centred_N = reward_N - group_mean(reward_N, group_N)[group_N]
        match self.how:
            case "whole batch" | "declared whole batch":
                return reward_N - (reward_N.mean() if len(reward_N) else 0.0)
            case "rounding":
                return centred_N + 1e-18
            case "not centred":
                return reward_N * (reward_N != 0.1)
            case "not finite":
                return centred_N / (centred_N.abs().sum() if len(reward_N) else 1.0)
            case "single precision":
                return centred_N.float()
            case "changes rewards":
                return reward_N.sub_(group_mean(reward_N, group_N)[group_N])
            case "changes lengths":
                length_N += 1
            case "filters again":
                return FilterTopK(k=2)(reward_N, group_N, length_N)
            case "by row":
                return centred_N * torch.arange(1, len(reward_N) + 1)
        return centred_N


@pytest.mark.parametrize(
    ("how", "promise"),
    [
        ("changes the batch", "the batch is not changed"),
        ("random", "deterministic"),
        ("by row", "permuting the responses"),
        ("leaks across groups", "groups do not leak"),
        ("leaks within groups", "responses do not leak"),
        ("not finite", "finite"),
        ("crashes when empty", "finite value: IndexError|finite value: RuntimeError"),
        ("shape", "one value per response"),
        ("remembers outside its state", "evaluating it must not change it"),
    ],
)
def test_a_bad_reward_is_found(how: str, promise: str) -> None:
    with pytest.raises(ContractError, match=promise):
        check_reward(Bad(how=how))
    check_reward(Bad(how="not at all"), rounds=2)


@pytest.mark.parametrize(
    ("how", "promise"),
    [
        ("changes the state", "the state that goes in is not changed"),
        ("tensor", "JSON gives the state back"),
        ("nan", "JSON gives the state back|deterministic"),
        ("tuple", "JSON gives the state back"),
        ("number as key", "update gives a new state"),
        ("another key", "update gives a new state.*keys .*'extra'.* it starts with"),
        ("lists in a list", r"JSON gives the state back.*state.seen\[0\] is \[1.0\]; give a finite number"),
        ("differs", "deterministic"),
        ("fails later", "must be finite"),
    ],
)
def test_bad_state_is_found(how: str, promise: str) -> None:
    with pytest.raises(ContractError, match=promise):
        check_reward(BadState(how=how))
    check_reward(BadState(how="not at all"), rounds=2)


@pytest.mark.parametrize("reward", [NoDataclass(), NotFrozen()], ids=["by identity", "not frozen"])
def test_a_reward_that_is_no_value_is_found(reward: Reward) -> None:
    with pytest.raises(ContractError, match="make it a frozen"):
        check_reward(reward)


def test_a_local_class_is_found() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Local(Reward):
        def score(self, batch: RolloutBatch) -> RewardN:
            return batch.correct

    with pytest.raises(ContractError, match="at the top of a module"):
        check_reward(Local())


@dataclass(frozen=True, kw_only=True)
class Eleventh(TextReward):
    """The eleventh letter, which not every response has; or nothing at all."""

    nothing: bool = False

    def measure(self, response: str) -> float:
        return None if self.nothing else float(ord(response[10]))  # type: ignore[return-value]


@pytest.mark.parametrize(("nothing", "told"), [(False, "raised IndexError"), (True, "gave None")])
def test_a_measure_that_does_not_measure_every_text_breaks_a_promise(nothing: bool, told: str) -> None:
    with pytest.raises(ContractError, match=rf"measure gives a number, or a text, for every response; of .* it {told}"):
        check_reward(Eleventh(nothing=nothing))


def test_wrong_above_correct_is_found_and_shown_so_that_it_can_be_run() -> None:
    with pytest.raises(ContractError, match="correct response never scores below a wrong one") as caught:
        check_reward(LongIsGood())
    code = re.search(r"batch = (RolloutBatch\.of\(.*)", str(caught.value))
    assert code is not None
    batch = eval(code[1], {"RolloutBatch": RolloutBatch})
    reward_N, _ = LongIsGood()(batch)
    assert batch.num_groups == 1 and reward_N[batch.correct == 1].min() < reward_N[batch.correct == 0].max()
    check_reward(LongIsGood(), wrong_may_beat_correct=True, rounds=2)


def test_columns_are_drawn_by_the_caller() -> None:
    with pytest.raises(ContractError, match=r"requires 'budget'; give how to draw it in columns"):
        check_reward(Budgeted())
    columns = {"budget": lambda generator, n: torch.randint(0, 9000, (n,), generator=generator)}
    check_reward(Budgeted(), columns, rounds=3)
    check_reward(Gate(column="tags", of=Correct()), {"tags": lambda generator, n: [True] * n}, rounds=3)


def test_an_undeclared_column_is_found() -> None:
    with pytest.raises(ContractError, match="no column 'budget'"):
        check_reward(Undeclared())


class Undeclared(Budgeted):
    """Reads a column without saying so."""

    requires = frozenset()


@pytest.mark.parametrize(
    ("how", "promise"),
    [
        ("whole batch", "groups do not leak"),
        ("rounding", "exactly 0 where rewards are equal"),
        ("not centred", "sums to 0"),
        ("not finite", "finite"),
        ("single precision", "float64"),
        ("changes rewards", "inputs are not changed"),
        ("changes lengths", "inputs are not changed"),
        ("by row", "permuting the responses"),
        ("filters again", "it keeps all that it has chosen"),
        ("changes its state", "it chooses alike, by a state it does not change"),
        ("chooses at random", "it chooses alike, by a state it does not change"),
    ],
)
def test_a_bad_advantage_is_found(how: str, promise: str) -> None:
    with pytest.raises(ContractError, match=promise):
        check_advantage(BadAdvantage(how=how))
    check_advantage(BadAdvantage(how="not centred"), centred=False, rounds=5)
    check_advantage(BadAdvantage(how="declared whole batch"), rounds=5)


@dataclass(frozen=True, kw_only=True)
class BadPlacement(PlacedReward):
    """Pays a token that depends on the response's neighbours."""

    is_term = True

    def place(self, batch: RolloutBatch) -> tuple[RewardN, Placement]:
        rows = (batch.length > len(batch)).nonzero().squeeze(-1)
        amount_K = torch.ones(len(rows), dtype=torch.float64)
        total_N = torch.zeros(len(batch), dtype=torch.float64).index_add(0, rows, amount_K)
        return total_N, Placement(row=rows, token=torch.full_like(rows, len(batch) - 1), amount=amount_K)


def test_a_placement_that_leaks_is_found() -> None:
    with pytest.raises(ContractError, match="do not leak into each other"):
        check_reward(BadPlacement(), rounds=5)


@dataclass(frozen=True, kw_only=True)
class BadTokenAdvantage(TokenAdvantage):
    """Breaks one promise."""

    how: str

    def __call__(self, reward_NT: torch.Tensor, mask_NT: torch.Tensor, group_N: torch.Tensor) -> torch.Tensor:
        if self.how == "changes its input":
            return reward_NT.mul_(2) * mask_NT
        if self.how == "beside the mask":
            return torch.ones_like(reward_NT)
        if self.how == "by row":
            return mask_NT * torch.arange(len(mask_NT), dtype=torch.float64)[:, None]
        if self.how == "counts the dead":
            return mask_NT * (reward_NT - len(reward_NT))
        if self.how == "counts padding":
            return mask_NT * (reward_NT - mask_NT.shape[1])
        if self.how == "random":
            return mask_NT * reward_NT * random.random()
        return (mask_NT * reward_NT).float()


@pytest.mark.parametrize(
    ("how", "promise"),
    [
        ("changes its input", "inputs are not changed"),
        ("beside the mask", "0 where the mask is 0"),
        ("by row", "permuting the responses"),
        ("counts the dead", "an empty mask takes no part"),
        ("counts padding", "padding changes nothing"),
        ("random", "deterministic"),
        ("dtype", "one finite float64 number per token"),
    ],
)
def test_a_bad_advantage_by_token_is_found(how: str, promise: str) -> None:
    with pytest.raises(ContractError, match=promise):
        check_token_advantage(BadTokenAdvantage(how=how))


def test_random_batches_have_every_kind_of_group_and_repeat() -> None:
    generator = torch.Generator().manual_seed(3)
    batches = [random_batch(generator) for _ in range(300)]
    sizes: set[int] = set()
    rates: set[float] = set()
    tied = truncated = mixed_order = 0
    for batch in batches:
        for code in range(batch.num_groups):
            in_group_N = batch.group == code
            sizes.add(int(in_group_N.sum()))
            rates.add(float(batch.correct[in_group_N].mean()))
            tied += len(set(batch.length[in_group_N].tolist())) < int(in_group_N.sum())
            truncated += bool(batch.truncated[in_group_N].all())
        mixed_order += bool((batch.group.diff() < 0).any())
    assert sizes == {1, 2, 3, 4, 5, 6} and {0.0, 1.0} < rates and min(tied, truncated, mixed_order) > 20
    again = torch.Generator().manual_seed(3)
    assert [random_batch(again) for _ in range(300)] == batches
    assert any(len(batch) == 0 for batch in special_batches(generator))
