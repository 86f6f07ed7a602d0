"""Every registered part, and every shipped recipe's reward and advantage, keeps the contract.

What is tried, and how its columns are drawn, stands in the test file of each method; ``collected`` says how.
"""

from __future__ import annotations

from typing import Any

import pytest

from collected import collected, lacking_examples
from leanthink.algorithms import Advantage, Loss, TokenAdvantage, VerlAdvantage
from leanthink.core.errors import ConfigError
from leanthink.core.limits import Limit
from leanthink.core.reward import Composite, Reward
from leanthink.core.schedules import Schedule, Stairs
from leanthink.core.stopping import StopBias
from leanthink.recipe.definition import load_recipe, recipe_names
from leanthink.recipe.nodes import build, describe
from leanthink.rewards import StepwiseGain
from leanthink.testing import Columns, check_advantage, check_reward, check_token_advantage

FOUND = collected()


def of(kind: type) -> list[Any]:
    """The examples of one kind."""
    return [example for examples in FOUND.examples.values() for example in examples if isinstance(example, kind)]


REWARDS, ADVANTAGES, TOKEN_ADVANTAGES = of(Reward), of(Advantage), of(TokenAdvantage)
OTHERS = [*of(Loss), *of(Limit), *of(StopBias), *of(Schedule), *of(VerlAdvantage)]


def test_every_registered_name_has_examples() -> None:
    assert not lacking_examples(FOUND), "\n".join(lacking_examples(FOUND))
    tried = [*REWARDS, *ADVANTAGES, *TOKEN_ADVANTAGES, *OTHERS]
    assert len(tried) == sum(map(len, FOUND.examples.values())), "an example of a kind that nothing here tries"


def columns_of(reward: Reward) -> Columns:
    return {name: FOUND.columns[name] for name in reward.requires if name in FOUND.columns}


@pytest.mark.parametrize("reward", REWARDS, ids=lambda reward: repr(reward)[:80])
def test_every_reward_keeps_the_contract(reward: Reward) -> None:
    any_order = isinstance(reward, FOUND.wrong_may_beat_correct)
    check_reward(reward, columns_of(reward), wrong_may_beat_correct=any_order, steps=(0, 15, 1000), rounds=10)


@pytest.mark.parametrize("advantage", ADVANTAGES, ids=repr)
def test_every_advantage_keeps_the_contract(advantage: Advantage) -> None:
    check_advantage(advantage, centred=not isinstance(advantage, FOUND.not_centred), rounds=30)


@pytest.mark.parametrize("advantage", TOKEN_ADVANTAGES, ids=repr)
def test_every_advantage_by_token_keeps_the_contract(advantage: TokenAdvantage) -> None:
    check_token_advantage(advantage, rounds=30)


@pytest.mark.parametrize("reward", of(Composite), ids=repr)
def test_a_placed_part_is_carried_or_refused_when_built(reward: Composite) -> None:
    """A composite whose own ``__post_init__`` forgets ``super().__post_init__()`` fails here."""
    parts = vars(reward) if "parts" not in vars(reward) else dict(vars(reward)["parts"])
    for name in parts.keys() & reward.children().keys():
        placed = {**parts, name: StepwiseGain()}
        if name in reward.carries:
            assert type(reward)(**placed).is_placed
        else:
            with pytest.raises(ConfigError, match="pays single tokens"):
                type(reward)(**placed)


@pytest.mark.parametrize("value", OTHERS, ids=repr)
def test_every_other_part_and_setting_is_described_and_built_again(value: Any) -> None:
    kinds: dict[type, Any] = {
        **{Schedule: "schedule", Limit: "limit", StopBias: "stop", Loss: "loss", VerlAdvantage: "advantage"}
    }
    kind = next(kind for base, kind in kinds.items() if isinstance(value, base))
    assert build(describe(value), kind, kind) == value and hash(value) == hash(build(describe(value), kind, kind))


def steps_of(value: Any) -> set[int]:
    """The steps around which any schedule inside ``value`` changes."""
    found = {0, 1, 10_000}
    for part in value.walk():
        for setting in vars(part).values():
            if isinstance(setting, Stairs):
                found |= {step + around for step in setting.boundaries for around in (-1, 0)}
            elif isinstance(setting, Schedule):
                length = getattr(setting, "steps", 0) or getattr(setting, "period", 0)
                found |= {getattr(setting, "delay", 0) + length * share // 4 for share in range(5)}
    return found


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipes_reward_keeps_the_contract_at_every_stage(name: str) -> None:
    recipe = load_recipe(name)
    declared = recipe.wrong_may_beat_correct  # as a recipe does whose parts are advantages already
    assert declared or not recipe.reward.is_term, "a term is no reward by itself; add correctness, or declare it"
    check_reward(
        recipe.reward,
        columns_of(recipe.reward),
        wrong_may_beat_correct=recipe.wrong_may_beat_correct,
        steps=sorted(steps_of(recipe.reward)),
        rounds=15,
    )
    if isinstance(recipe.advantage, Advantage):
        check_advantage(recipe.advantage, centred=not isinstance(recipe.advantage, FOUND.not_centred), rounds=10)
    elif isinstance(recipe.advantage, TokenAdvantage):
        check_token_advantage(recipe.advantage, rounds=10)
