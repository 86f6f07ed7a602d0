"""PALU, arXiv 2510.10168."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.control import check_state, moved
from leanthink.core.errors import ConfigError, StateError
from leanthink.core.limits import FromReward, limit_tokens
from leanthink.recipe.definition import load_recipe, recipe_from
from leanthink.rewards import Correct, QuantileBudget, Scale, Sum
from leanthink.rewards.quantile_budget import next_budget
from oracles import Flags, Numbers

EXAMPLES = [
    QuantileBudget(longest=16_000, threshold=0.5),
    QuantileBudget(longest=12_000, floor=9, tau=1.0, lengths="all", strict=True, anchor="observed_max", remembered=2),
]
RECIPES = {
    "palu": SpelledOut(
        reward=QuantileBudget(longest=16384.0, threshold=0.8, tau=0.5),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        limit=FromReward(),
        verl={},
    )
}

G1 = [1200.0, 1500, 2000, 2600, 3000, 3400, 3900, 4000]


def following(length: list[float], right: int, budget: float, **settings: Any) -> float:
    """The next budget where the first ``right`` responses are correct within the present one."""
    return next_budget(torch.tensor(length), torch.arange(len(length)) < right, budget, 16384, **settings)


def test_worked_example() -> None:
    assert following(G1, 7, 8000) == 6700
    assert following(G1, 7, 8000, tau=0.1) == 7700
    assert following(G1, 7, 8000, lengths="all") == 6800
    assert following(G1, 6, 3500) == 16384
    assert following([1000.0] * 8, 8, 4000) == 4000
    assert following([1000.0] * 5, 4, 4000) == 4000
    assert following([1000.0] * 5, 4, 4000, strict=True) == 16384
    assert following(G1, 0, 4000) == 16384
    assert following(G1, 7, 8000, anchor="observed_max") == 2600
    assert following(G1, 7, 1301, floor=200) == 200


def test_worked_example_over_three_visits_and_a_cut() -> None:
    reward = QuantileBudget(longest=16384)
    batch = RolloutBatch.of(group=[0] * 8, length=G1, correct=[1] * 7 + [0], prompt_key=["g1"] * 8)
    state, seen = reward.init(), []
    for _ in range(3):
        _, state = reward(batch, state)
        seen.append(state["budget"]["g1"])
    assert seen == [15084, 13784, 12484]
    reward_N, state = reward(batch, {**state, "budget": {"g1": 3500}})
    assert reward_N.tolist() == [1] * 6 + [0, 0] and state["budget"] == {"g1": 16384}
    assert (state["cuts"], state["resets"]) == (3, 1)
    cut = batch.replace(length=[3500 if tokens > 3500 else tokens for tokens in G1], truncated=[0] * 6 + [1, 1])
    assert reward(cut, {**state, "budget": {"g1": 3500}})[0].tolist() == [1] * 6 + [0, 0]


class SlowPalu:
    """arXiv 2510.10168: a table of budgets, moved after each visit of a prompt."""

    def __init__(self, longest: float, threshold: float, tau: float):
        self.longest, self.threshold, self.tau = longest, threshold, tau
        self.table: dict[str, float] = {}

    @staticmethod
    def quantile(values: list[float], share: float) -> float:
        ordered = sorted(values)
        place = share * (len(ordered) - 1)
        low = math.floor(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

    def step(self, length: Numbers, correct: Flags, truncated: Flags, prompt: Sequence[str]) -> list[float]:
        rewards, inside = [], {name: [] for name in prompt}
        visits: dict[str, int] = {}
        for tokens, ok, cut, name in zip(length, correct, truncated, prompt, strict=True):
            visits[name] = visits.get(name, 0) + 1
            good = bool(ok) and not cut and tokens <= self.table.get(name, self.longest)
            rewards.append(1.0 if good else 0.0)
            if good:
                inside[name].append(tokens)
        for name, lengths in inside.items():
            budget = self.table.get(name, self.longest)
            if lengths and len(lengths) / visits[name] >= self.threshold:
                gap = self.quantile(lengths, 1.0) - self.quantile(lengths, 1.0 - self.tau)
                self.table[name] = min(max(float(math.floor(budget - gap + 1e-6)), 1.0), self.longest)
            else:
                self.table[name] = self.longest
        return rewards


def test_agrees_with_the_loop_over_many_steps(batches: list[RolloutBatch]) -> None:
    draw = random.Random(3)
    reward, slow = QuantileBudget(longest=16_000, threshold=0.5), SlowPalu(16_000, 0.5, 0.5)
    state = reward.init()
    for batch in batches:
        names = [f"prompt {draw.randrange(25)}" for _ in range(max(batch.num_groups, 1))]
        prompt = [names[code] for code in batch.group.tolist()]
        reward_N, state = reward(batch.replace(prompt_key=prompt), json.loads(json.dumps(state)))
        expected = slow.step(batch.length.tolist(), batch.correct.tolist(), batch.truncated.tolist(), prompt)
        assert reward_N.tolist() == expected
        assert state["budget"] == slow.table
    assert state["cuts"] > 50 and state["resets"] > 50


def test_the_limit_is_the_budget_of_each_prompt_and_the_least_of_several() -> None:
    recipe = load_recipe("palu")
    assert isinstance(recipe.limit, FromReward)
    state = {**recipe.reward.init(), "budget": {"p": 3600.0}}
    assert limit_tokens(recipe.limit, ["p", "new"], 5, {}, recipe.reward, state) == [3600, 16384]
    two = Sum(a=QuantileBudget(longest=900), b=Scale(by=0.5, of=QuantileBudget(longest=800)))
    both = two.init()
    both["a"]["budget"] = {"p": 100.0}
    assert FromReward(factor=2).of_reward(["p", "q"], 0, two, both) == [200, 1600]


def test_a_limit_from_a_reward_that_steers_none_is_refused_when_the_recipe_is_built() -> None:
    with pytest.raises(ConfigError, match=r"recipe mine, limit: from_reward takes the budgets .*quantile_budget"):
        recipe_from({"reward": "correct", "limit": "from_reward"}, "mine")
    with pytest.raises(ConfigError, match="factor is 0\\.5"):
        FromReward(factor=0.5)
    with pytest.raises(StateError, match="reads the reward's state"):
        FromReward().tokens(["p"], 0, {})
    assert Correct() == recipe_from({"reward": "correct"}, "mine").reward


def test_memory_is_bounded() -> None:
    reward = QuantileBudget(longest=100, remembered=2)
    state = reward.init()
    for name in ("p", "q", "p", "r"):
        _, state = reward(RolloutBatch.of(group=[0], length=[5], correct=[1], prompt_key=[name]), state)
    assert list(state["budget"]) == ["p", "r"]


def test_an_edited_budget_is_checked() -> None:
    reward = QuantileBudget(longest=100)
    check_state(reward, {"budget": {"p": 40}, "cuts": 0, "resets": 0}, "state")
    with pytest.raises(StateError, match=r"state: budget\.p is 400; give 1 to 100 tokens"):
        check_state(reward, {"budget": {"p": 400}, "cuts": 0, "resets": 0}, "state")
    with pytest.raises(StateError, match=r"state: cuts is -1; give a whole number, 0 or more"):
        check_state(reward, {"budget": {}, "cuts": -1, "resets": 0}, "state")
    with pytest.raises(StateError, match=r"state: resets is 0\.5; give a whole number, 0 or more"):
        check_state(reward, {"budget": {}, "cuts": 0, "resets": 0.5}, "state")
    with pytest.raises(StateError, match=r"state\.budget\.p is \[40\.0\]; give a finite number, or resume"):
        check_state(reward, {"budget": {"p": [40.0]}, "cuts": 0, "resets": 0}, "state")
    assert reward.shown(0, {"budget": {"p": 40, "q": 60}, "cuts": 3, "resets": 1}) == {
        "budget": 50, "prompts": 2, "cuts": 3, "resets": 1
    }  # fmt: skip


def test_budgets_that_move_stay_in_range() -> None:
    saved = {"budget": {"p": 40.0, "q": 90.0, "r": 100.0}, "cuts": 2, "resets": 1}
    after = QuantileBudget(longest=80, floor=50)
    state, told = moved(after, QuantileBudget(longest=100), saved)
    assert state == {"budget": {"p": 50, "q": 80, "r": 80}, "cuts": 2, "resets": 1}
    assert told == ["the reward goes on with the state saved under that name, made to fit its new settings"]
    check_state(after, state, "state")


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"longest": 0}, "longest 0"),
        ({"floor": 200}, "floor is 200"),
        ({"threshold": 0}, "threshold is 0"),
        ({"tau": 1.5}, "tau 1.5"),
        ({"strict": True, "threshold": 1.0}, "no pass rate exceeds"),
        ({"lengths": "some"}, "lengths is 'some'"),
        ({"anchor": "mean"}, "anchor 'mean'"),
        ({"remembered": 0}, "remembered is 0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        QuantileBudget(**{"longest": 100, **settings})
