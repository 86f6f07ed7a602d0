from types import SimpleNamespace

import numpy as np
import pytest
import torch
from verl.trainer.ppo.core_algos import get_adv_estimator_fn

from leanthink.algorithms import BatchNorm, Grpo, ReinforcePp, Rloo
from leanthink.core.batch import RolloutBatch
from leanthink.recipe.definition import load_recipe
from leanthink.training import Mark
from leanthink.verl.driver.advantage import recipe_advantage, tagged, untagged

UIDS = np.array(["b", "a", "b", "a", "b"], dtype=object)
WITHIN = "reward.sum.length.scale.of.group_normalize.of.within_length"
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
    """By way of the plug-in's, which imports nothing until it is called."""
    given = (rewards([1.0, 0.5, 0.0, 0.25, 0.75]), MASK, UIDS)
    found, ours = (
        one(*given, config={"leanthink": "grpo"}) for one in (get_adv_estimator_fn("leanthink"), recipe_advantage)
    )
    assert all(map(torch.equal, found, ours)) and found[0].any()


def test_gdpos_parts_agree_with_verls_own_estimator():
    """The recipe's sum of normalised parts, whitened, is `gdpo` of the plain parts, for groups of two and more."""
    generator = torch.Generator().manual_seed(7)
    for _ in range(100):
        group_N = torch.arange(4).repeat_interleave(3)
        length_N = torch.randint(1, 9, (12,), generator=generator)
        correct_N = torch.randint(2, (12,), generator=generator)
        batch = RolloutBatch.of(group=group_N, length=length_N, correct=correct_N)
        short_N = (length_N <= 4).double()
        recipe = load_recipe("gdpo", ["reward.sum.length.scale.by=0.5", f"{WITHIN}.target=4"])
        mask_NT = (torch.arange(9) < length_N[:, None]).float()
        reward_NT = torch.zeros(12, 9)
        reward_NT[torch.arange(12), length_N - 1] = recipe.reward(batch)[0].float()
        uids = np.array([str(code) for code in group_N.tolist()], dtype=object)
        ours_NT, _ = recipe_advantage(
            reward_NT, mask_NT, uids, config={"leanthink": {"batch_norm": {"baseline": "none"}}}
        )
        theirs_NT, _ = get_adv_estimator_fn("gdpo")(
            token_level_rewards=torch.zeros(12, 9),
            response_mask=mask_NT,
            index=uids,
            config={"gdpo_reward_keys": ["correct", "short"], "gdpo_reward_weights": [1.0, 0.5]},
            non_tensor_batch={"correct": correct_N.numpy(), "short": short_N.numpy()},
            batch={
                "prompts": torch.zeros(12, 2),
                "attention_mask": torch.cat([torch.ones(12, 2), mask_NT], dim=1).long(),
            },
        )
        torch.testing.assert_close(ours_NT, theirs_NT, rtol=1e-5, atol=1e-5)
        assert theirs_NT.any()


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


def test_batch_norm_agrees_with_verls_own():
    values = rewards([1.0, 0.5, 0.0, 0.25, 0.75])
    theirs, _ = get_adv_estimator_fn("reinforce_plus_plus_baseline")(
        token_level_rewards=values, response_mask=MASK, index=UIDS
    )
    ours, _ = recipe_advantage(values, MASK, UIDS, config={"leanthink": "batch_norm"})
    torch.testing.assert_close(ours, theirs)


def test_padding_and_masked_responses_are_no_part_of_the_batch():
    mask = torch.cat([MASK, torch.zeros(2, 3, dtype=MASK.dtype)])
    values = torch.cat([rewards([1.0, 0.5, 0.0, 0.25, 0.75]), torch.zeros(2, 3)])
    uids = np.array([*UIDS, "pad1", "a"], dtype=object)
    ours, _ = recipe_advantage(values, mask, uids, config={"leanthink": "batch_norm"})
    expected, _ = recipe_advantage(values[:5], MASK, UIDS, config={"leanthink": "batch_norm"})
    torch.testing.assert_close(ours[:5], expected)
    assert not ours[5:].any()


@pytest.mark.parametrize("reward", [0.0, 1.0])
@pytest.mark.parametrize(("node", "estimator"), [("grpo", Grpo()), ("batch_norm", BatchNorm())])
def test_a_counted_response_stays_in_the_statistics_of_its_group(node, estimator, reward):
    values, mask = rewards([1.0, 0.5, reward, 0.25, 0.5]), MASK.clone()
    mask[2] = 0
    uids = UIDS.copy()
    uids[2] = tagged("b", Mark(counted=True))
    ours, _ = recipe_advantage(values, mask, uids, config={"leanthink": node})
    expected_N = estimator(torch.tensor([1.0, 0.5, reward, 0.25, 0.5]), torch.tensor([0, 1, 0, 1, 0]), mask.sum(-1))
    torch.testing.assert_close(ours, (expected_N[:, None] * mask).float())
    assert not ours[2].any()


def test_the_boost_reads_the_tag():
    values = rewards([1.0, 0.5, 0.0, 0.25, 0.0])
    uids = np.array([tagged(uid, Mark(correct=row in (0, 4))) for row, uid in enumerate(UIDS)], dtype=object)
    plain, _ = recipe_advantage(values, MASK, UIDS, config={"leanthink": "batch_norm"})
    lifted, _ = recipe_advantage(values, MASK, uids, config={"leanthink": {"batch_norm": {"boost": 0.1}}})
    lift = torch.tensor([0.1, 0, 0, 0, 0.1])
    torch.testing.assert_close(lifted, (plain + lift[:, None]) * MASK)


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("correct", [True, False])
@pytest.mark.parametrize("left_out", [True, False])
def test_tags_can_be_taken_off(counted, correct, left_out):
    tag = tagged("a/b", Mark(counted=counted, correct=correct, left_out=left_out))
    assert untagged(tag) == ("a/b", Mark(counted, correct, left_out))


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("node", ["grpo", {"adaptive_top_k": {"k": [3, 2]}}])
def test_a_response_that_was_left_out_takes_no_part(node, counted):
    uids = UIDS.copy()
    uids[2] = tagged("b", Mark(left_out=True, counted=counted))
    full = rewards([1.0, 0.5, 99.0, 0.25, 0.0])
    ours, _ = recipe_advantage(full, MASK, uids, config={"leanthink": node})
    rest = [0, 1, 3, 4]
    alone, _ = recipe_advantage(full[rest], MASK[rest], UIDS[rest], config={"leanthink": node})
    torch.testing.assert_close(ours[rest], alone)
    assert not ours[2].any() and alone.any()


def token_rewards():
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(1)) * MASK


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_reinforce_pp_agrees_with_verls_own(gamma):
    theirs, _ = get_adv_estimator_fn("reinforce_plus_plus")(
        token_level_rewards=token_rewards(), response_mask=MASK, config=SimpleNamespace(gamma=gamma)
    )
    node = {"reinforce_pp": {"gamma": gamma}}
    ours, _ = recipe_advantage(token_rewards(), MASK, UIDS, config={"leanthink": node})
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_an_advantage_by_token_sees_where_rewards_fall():
    early, late = torch.zeros(2, 3), torch.zeros(2, 3)
    early[0, 0] = late[0, 2] = 1.0
    mask, uids = torch.ones(2, 3, dtype=torch.int64), UIDS[:2]
    for node, differs in (("reinforce_pp", True), ("grpo", False)):
        given = [recipe_advantage(rewards, mask, uids, config={"leanthink": node})[0] for rewards in (early, late)]
        assert torch.equal(*given) is not differs


@pytest.mark.parametrize("mask_row", [2, 0])
def test_a_masked_response_is_not_whitened_with(mask_row):
    """An unknown verdict has an empty mask: neither our estimator nor verl's GAE may count its tokens."""
    mask = MASK.clone()
    mask[mask_row] = 0
    rest = [row for row in range(5) if row != mask_row]
    values = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    full = torch.randn(5, 3, generator=torch.Generator().manual_seed(3))
    full[mask_row] *= 100

    ours, _ = recipe_advantage(full, mask, UIDS, config={"leanthink": "reinforce_pp"})
    alone = ReinforcePp()(full[rest] * mask[rest], mask[rest].bool(), torch.zeros(4))
    torch.testing.assert_close(ours[rest], alone.float())
    assert not ours[mask_row].any()

    gae = get_adv_estimator_fn("gae")
    theirs, returns = gae(full, values, mask, 1.0, 1.0)
    without, returns_without = gae(full[rest], values[rest], mask[rest], 1.0, 1.0)
    torch.testing.assert_close(theirs[rest] * mask[rest], without * mask[rest])
    torch.testing.assert_close(returns[rest] * mask[rest], returns_without * mask[rest])
