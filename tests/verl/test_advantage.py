import numpy as np
import pytest
import torch
from verl.trainer.ppo.core_algos import get_adv_estimator_fn

from leanthink.algorithms import Grpo, Rloo
from leanthink.verl.advantage import recipe_advantage

UIDS = np.array(["b", "a", "b", "a", "b"], dtype=object)
MASK = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0], [1, 0, 0]])


def rewards(values):
    token_rewards = torch.zeros(5, 3)
    token_rewards[torch.arange(5), MASK.sum(-1) - 1] = torch.tensor(values)
    return token_rewards


@pytest.mark.parametrize(("node", "estimator"), [("rloo", Rloo()), ({"grpo": {"scale": "none"}}, Grpo(scale="none"))])
def test_every_token_gets_its_responses_advantage(node, estimator):
    values = [1.0, 0.5, 0.0, 0.25, 0.75]
    advantage_NT, returns_NT = recipe_advantage(rewards(values), MASK, UIDS, config={"leanthink": node})
    expected_N = estimator(torch.tensor(values), torch.tensor([0, 1, 0, 1, 0]))
    torch.testing.assert_close(advantage_NT, (expected_N[:, None] * MASK).float())
    torch.testing.assert_close(returns_NT, advantage_NT)


def test_a_masked_response_takes_no_part():
    mask = MASK.clone()
    mask[2] = 0
    full = rewards([1.0, 0.5, 99.0, 0.25, 0.0])
    advantage_NT, _ = recipe_advantage(full, mask, UIDS, config={"leanthink": "rloo"})
    without = [0, 1, 3, 4]
    expected_NT, _ = recipe_advantage(full[without], mask[without], UIDS[without], config={"leanthink": "rloo"})
    torch.testing.assert_close(advantage_NT[without], expected_NT)
    assert not advantage_NT[2].any()


def test_all_masked_gives_zeros():
    advantage_NT, _ = recipe_advantage(rewards([1.0] * 5), MASK * 0, UIDS, config={"leanthink": "grpo"})
    assert not advantage_NT.any()


def test_it_is_the_one_verl_finds_by_name():
    assert get_adv_estimator_fn("leanthink") is recipe_advantage


@pytest.mark.parametrize("scale", ["std", "none"])
def test_grpo_agrees_with_verls_own(scale):
    theirs, _ = get_adv_estimator_fn("grpo")(
        token_level_rewards=rewards([1.0, 0.5, 0.0, 0.25, 0.75]),
        response_mask=MASK,
        index=UIDS,
        norm_adv_by_std_in_grpo=scale == "std",
    )
    node = {"grpo": {"scale": scale}}
    ours, _ = recipe_advantage(rewards([1.0, 0.5, 0.0, 0.25, 0.75]), MASK, UIDS, config={"leanthink": node})
    torch.testing.assert_close(ours, theirs)


def test_rloo_agrees_with_verls_own():
    values = rewards([1.0, 0.5, 0.0, 0.25, 0.75])
    theirs, _ = get_adv_estimator_fn("rloo")(token_level_rewards=values, response_mask=MASK, index=UIDS)
    ours, _ = recipe_advantage(values, MASK, UIDS, config={"leanthink": "rloo"})
    torch.testing.assert_close(ours, theirs)
