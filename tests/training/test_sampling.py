"""Which recipes sample their training responses in a way of their own."""

import pytest

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.training.sampling import check_one, sampling_kinds

WAYS = {
    "grpo": [],
    "trle": [],
    "vsrm_rpp": ["StepwiseGain"],
    "lc_r1": ["ThinkingCompression"],
    "s_grpo": ["EarlyExit"],
    "adaptive_deep": ["ModeSwitchReward"],
    "hbpo": ["HierarchicalBudget"],
}


@pytest.mark.parametrize("name", WAYS)
def test_the_kind_of_each(name):
    assert [part for _, part in sampling_kinds(load_recipe(name))] == WAYS[name]


def test_two_ways_are_refused_by_their_names():
    reward = "reward={sum: {steps: stepwise_gain, exits: early_exit}}"
    found = sampling_kinds(load_recipe("grpo", [reward]))
    assert [part for _, part in found] == ["StepwiseGain", "EarlyExit"]
    with pytest.raises(ConfigError, match="StepwiseGain and EarlyExit each sample responses in a way of their own"):
        check_one(found)


def test_two_exits_that_differ_are_refused():
    reward = "reward={sum: {one: early_exit, other: {early_exit: {decay: 3}}}}"
    with pytest.raises(ConfigError, match="2 different EarlyExit parts, which say how responses are sampled"):
        sampling_kinds(load_recipe("grpo", [reward]))
