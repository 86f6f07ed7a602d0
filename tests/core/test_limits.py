from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.limits import FromReward, Limit, PerPassRate, PerStep, Thinking, limit_tokens
from leanthink.core.schedules import Cyclic, Linear, Stairs
from leanthink.recipe.definition import load_recipe
from leanthink.recipe.nodes import build, describe
from leanthink.rewards import Correct

EXAMPLES = [
    FromReward(),
    FromReward(factor=1.5),
    PerPassRate(thresholds=(0.5,), lengths=(4000, 2000), equality="hard", remembered=9),
    PerStep(at_most=4000),
    PerStep(at_most=Linear(start=4000, stop=2000, steps=90)),
    Thinking(at_most=Linear(start=4000, stop=2000, steps=90)),
    Thinking(of=PerStep(at_most=9), answer=5, closing="</think>", in_validation=True),
]
RECIPES = {
    "thinkprune": SpelledOut(
        reward=Correct(),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        limit=PerStep(at_most=Stairs(values=(4000.0, 3000.0, 2000.0), boundaries=(180, 360))),
        verl={
            "data.train_batch_size": 128,
            "actor_rollout_ref.rollout.n": 16,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 128,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "actor_rollout_ref.actor.kl_loss_coef": 0.001,
            "data.max_prompt_length": 768,
        },
    )
}

EASY_IS_SHORT = PerPassRate(thresholds=(0.5,), lengths=(56, 32))


def seen(**correct: list[int]) -> RolloutBatch:
    """A batch in which each prompt has the given verdicts."""
    keys = [key for key, verdicts in correct.items() for _ in verdicts]
    flat = [verdict for verdicts in correct.values() for verdict in verdicts]
    return RolloutBatch.of(group=keys, length=[9] * len(flat), correct=flat, prompt_key=keys)


def test_a_limit_may_be_a_number_or_a_schedule() -> None:
    rounds = PerStep(at_most=Stairs(values=(64, 48, 36), boundaries=(1, 2)))
    assert [rounds.tokens(["a"], step, {}) for step in range(4)] == [[64], [48], [36], [36]]
    assert PerStep(at_most=40).tokens(["a", "b"], 7, {}) == [40, 40]
    assert PerStep(at_most=40).tokens([], 7, {}) == []
    wave = PerStep(at_most=Cyclic(high=96, low=48, period=10))
    assert wave.tokens(["a"], 5, {}) == pytest.approx([72])


def test_the_pass_rate_seen_last_decides() -> None:
    state = EASY_IS_SHORT.init()
    assert EASY_IS_SHORT.tokens(["a", "b"], 0, state) == [56, 56]
    state = EASY_IS_SHORT.update(seen(a=[1, 1, 0, 0], b=[1, 0, 0, 0]), state)
    assert state == {"pass_rate": {"a": 0.5, "b": 0.25}}
    assert EASY_IS_SHORT.tokens(["a", "b", "c"], 1, state) == [32, 56, 56]
    state = EASY_IS_SHORT.update(seen(a=[0, 0], c=[1]), state)
    assert EASY_IS_SHORT.tokens(["a", "b", "c"], 2, state) == [56, 56, 32]


def test_the_prompt_seen_longest_ago_makes_room() -> None:
    limit = PerPassRate(thresholds=(0.5,), lengths=(56, 32), remembered=2)
    state = limit.init()
    for batch in (seen(a=[1], b=[1]), seen(a=[1]), seen(c=[1])):
        state = limit.update(batch, state)
    assert list(state["pass_rate"]) == ["a", "c"]
    assert limit.update(seen(d=[1], e=[0], f=[1]), state)["pass_rate"] == {"e": 0.0, "f": 1.0}


def test_numbers_will_do_as_keys() -> None:
    numbered = RolloutBatch.of(group=[0, 0, 1], length=[9] * 3, correct=[1, 0, 1], prompt_key=[7, 7, 8])
    assert EASY_IS_SHORT.update(numbered, EASY_IS_SHORT.init()) == {"pass_rate": {"7": 0.5, "8": 1.0}}


def test_state_goes_in_and_comes_out_as_json() -> None:
    before = EASY_IS_SHORT.update(seen(a=[1, 1, 0]), EASY_IS_SHORT.init())
    copied = json.loads(json.dumps(before))
    after = EASY_IS_SHORT.update(seen(b=[1]), before)
    assert before == copied and after != before
    assert EASY_IS_SHORT.update(seen(b=[1]), copied) == after
    assert EASY_IS_SHORT.reads_state and not PerStep(at_most=9).reads_state


@pytest.mark.parametrize(
    "limit", [PerStep(at_most=40), PerStep(at_most=Linear(start=90, stop=30, steps=9)), EASY_IS_SHORT], ids=repr
)
def test_it_travels(limit: Limit) -> None:
    assert pickle.loads(pickle.dumps(limit)) == limit
    assert build(json.loads(json.dumps(describe(limit))), "limit", "limit") == limit


def test_a_recipe_takes_one() -> None:
    assert load_recipe("dler", ["limit.per_step.at_most=3000"]).limit == PerStep(at_most=3000.0)
    assert load_recipe("grpo", ["limit={per_step: {at_most: 512}}"]).limit == PerStep(at_most=512.0)
    assert load_recipe("dler", ["limit=null"]).limit is None
    assert load_recipe("dler", profile="cpu").limit == PerStep(at_most=48.0)
    assert "limit" not in load_recipe("grpo").to_node()
    with pytest.raises(ConfigError, match=r"recipe dler, limit.per_step: no argument 'tokens'"):
        load_recipe("dler", ["limit={per_step: {tokens: 3000}}"])


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda: PerStep(at_most=0), "at_most is 0"),
        (lambda: PerStep(at_most=Linear(start=90, stop=0, steps=9)), "at_most is Linear"),
        (lambda: PerPassRate(thresholds=(0.5,), lengths=(9,)), "1 thresholds and 1 lengths"),
        (lambda: PerPassRate(thresholds=(0.5,), lengths=(9, 10)), "hardest"),
        (lambda: PerPassRate(thresholds=(0.5,), lengths=(9, 8), remembered=0), "remembered is 0"),
    ],
)
def test_wrong_settings_are_refused(make: Any, fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        make()


def test_a_budget_of_thinking_goes_by_any_rule() -> None:
    falling = Thinking(at_most=Linear(start=40, stop=20, steps=10))
    assert falling.tokens(["a", "b"], 5, {}) == [30, 30] and not falling.reads_state
    by_prompt = Thinking(of=EASY_IS_SHORT)
    state = by_prompt.update(seen(easy=[1, 1], hard=[0, 0]), by_prompt.init())
    assert by_prompt.reads_state and limit_tokens(by_prompt, ["easy", "hard"], 0, state, Correct(), {}) == [32, 56]
    assert by_prompt.shown(0, state) == {"prompts": 2} and by_prompt.wrong_state(state) is None
    recipe = load_recipe("palu", ["limit={thinking: {of: from_reward}}"])
    budgets = limit_tokens(recipe.limit, ["new"], 0, {}, recipe.reward, recipe.reward.init())  # type: ignore[arg-type]
    assert budgets == FromReward().of_reward(["new"], 0, recipe.reward, recipe.reward.init())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "give at_most, the tokens of thinking, or of, another limit; one of the two"),
        ({"at_most": 9, "of": PerStep(at_most=9)}, "one of the two"),
        ({"at_most": 0.5}, r"at_most is 0\.5; give tokens, 1 or more"),
        ({"at_most": 9, "answer": 0}, "answer is 0"),
        ({"at_most": 9, "closing": "done"}, "give a text that holds '</think>'"),
    ],
)
def test_a_budget_of_thinking_that_is_none_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Thinking(**settings)


def test_a_budget_of_thinking_is_no_rule_of_another_and_needs_a_reward_that_steers() -> None:
    for limit, told in (
        ("{thinking: {of: {thinking: {at_most: 9}}}}", "a thinking limit in a thinking limit; give one"),
        ("{thinking: {of: from_reward}}", "from_reward takes the budgets that a part of the reward steers"),
    ):
        with pytest.raises(ConfigError, match=told):
            load_recipe("grpo", [f"limit={limit}"])
