"""Every loss and estimator of verl's own is a node of a recipe, or told why it is none; verl gaining one fails here."""

import functools

import numpy as np
import pytest
import torch
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, POLICY_LOSS_REGISTRY, get_adv_estimator_fn
from verl.workers.utils.losses import ppo_loss

from leanthink.algorithms import GrpoPassk, Opo, VerlAdvantage, VerlLoss
from leanthink.algorithms.verls import ESTIMATORS, LOSSES, UNAVAILABLE
from leanthink.recipe.nodes import build
from leanthink.recipe.registry import REGISTRY
from leanthink.verl import NAME
from leanthink.verl.start.launch import advantage_keys, loss_keys
from verl_worker import actor_config, batch_with, micro_steps, random_responses


def test_the_table_has_every_loss_and_estimator_that_verl_has():
    losses, estimators = (
        set(POLICY_LOSS_REGISTRY) - {NAME},
        {str(getattr(n, "value", n)) for n in ADV_ESTIMATOR_REGISTRY},
    )
    assert losses == set(LOSSES) | {"bypass_mode"}
    assert estimators - {NAME} == set(ESTIMATORS) | (set(UNAVAILABLE) - {"bypass_mode"})
    assert set(LOSSES.values()) <= set(REGISTRY["loss"]) and set(ESTIMATORS.values()) <= set(REGISTRY["advantage"])


OWN = [name for name, cls in REGISTRY["loss"].items() if issubclass(cls, VerlLoss)]


@pytest.mark.parametrize("name", OWN)
def test_verl_computes_the_loss_by_the_nodes_keys(name):
    """The keys go into verl's configuration, and its loss gives a gradient with them."""
    loss = build({name: {"beta": 0.1}} if name == "dro" else name, "loss")
    keys = {key.removeprefix("actor_rollout_ref.actor."): value for key, value in loss_keys(loss).items()}
    own = {key.removeprefix("policy_loss."): keys.pop(key) for key in list(keys) if key.startswith("policy_loss.")}
    assert LOSSES[own["loss_mode"]] == name
    from verl.workers.config.actor import PolicyLossConfig

    config = actor_config(policy_loss=PolicyLossConfig(**own), **keys)
    responses = random_responses(groups=2, rollouts=4, seed=9, drift=0.1)
    data, _, _ = batch_with(responses)
    for value, metrics, _ in micro_steps(responses.of, data, functools.partial(ppo_loss, config)):
        value.backward()
        assert "actor/pg_loss" in metrics
    assert any(bool(row.grad.any()) for row in responses.log_probs)


def test_gspos_clip_is_the_nodes():
    """A ratio of 1.5 in every response, clipped at 1.0004 where it pays: no gradient, and without the clip there is."""
    for high, moves in ((4e-4, False), (0.9, True)):
        responses = random_responses(groups=2, rollouts=4, seed=2, drift=0.0)
        responses.valid[:] = [True] * 8
        responses.old[:] = [row.detach() - 0.4 for row in responses.log_probs]
        data, _, _ = batch_with(responses)
        data["advantages"] = data["advantages"] * 0 + 1.0
        keys = loss_keys(build({"gspo": {"high": high}}, "loss"))
        keys = {key.rpartition(".")[2]: value for key, value in keys.items()}
        from verl.workers.config.actor import PolicyLossConfig

        config = actor_config(policy_loss=PolicyLossConfig(loss_mode=keys.pop("loss_mode")), **keys)
        for value, _, _ in micro_steps(responses.of, data, functools.partial(ppo_loss, config)):
            value.backward()
        assert any(bool(row.grad.any()) for row in responses.log_probs) is moves


@pytest.mark.parametrize(
    "name", [name for name, cls in REGISTRY["advantage"].items() if issubclass(cls, VerlAdvantage)]
)
def test_verl_finds_the_estimator_by_the_nodes_keys(name):
    keys = advantage_keys(build(name, "advantage"))
    assert ESTIMATORS[keys.pop("algorithm.adv_estimator")] == name
    assert all(key.startswith("algorithm.") for key in keys)


def test_opo_weighs_the_baseline_by_length():
    """Rewards 1 and 0 of one and three tokens: the baseline is a quarter."""
    mask = torch.tensor([[1.0, 0, 0], [1, 1, 1]])
    rewards = torch.tensor([[1.0, 0, 0], [0, 0, 0]])
    name = advantage_keys(Opo())["algorithm.adv_estimator"]
    value, _ = get_adv_estimator_fn(name)(rewards.clone(), mask, np.array(["a", "a"], dtype=object))
    assert value.tolist() == [[0.75, 0, 0], [-0.25, -0.25, -0.25]]


def test_grpo_passks_switch_is_verls():
    assert advantage_keys(GrpoPassk(norm_adv_by_std_in_grpo=False)) == {
        "algorithm.adv_estimator": "grpo_passk",
        "algorithm.norm_adv_by_std_in_grpo": False,
    }
