"""A loss over whole groups gets the keys it needs on both profiles, and anything that breaks it is refused."""

import functools

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.verl.start.launch import Job
from leanthink.verl.update.arrangement import require

ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


def drpo(profile="gpu", overrides=(), name="drpo", **changes):
    files = {"train_files": ("train.parquet",), "val_files": ("test.parquet",), "folder": "run"}
    gpus = 8 if profile == "gpu" else 1
    return Job(
        recipe=load_recipe(name, overrides, profile), profile=profile, model="model", gpus=gpus, **files, **changes
    )


@pytest.mark.parametrize("profile", ["gpu", "cpu"])
@pytest.mark.parametrize("name", ["drpo", "disco"])
def test_recipes_get_micro_batches_of_whole_groups(name, profile):
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=drpo(profile, name=name).arguments())
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    assert actor.policy_loss.loss_mode == "leanthink"
    assert (actor.use_dynamic_bsz, rollout.log_prob_use_dynamic_bsz, actor.shuffle) == (False, False, False)
    assert actor.ppo_micro_batch_size_per_gpu % rollout.n == 0
    assert (actor.use_kl_loss, actor.entropy_coeff, config.algorithm.use_kl_in_reward) == (False, 0, False)
    assert not config.leanthink.get("sort_by_length", False)
    # The same check as in the trainer, on the whole of verl's configuration.
    loss = load_recipe(name, profile=profile).loss
    require(loss, functools.partial(OmegaConf.select, config), sort_by_length=False)


def test_one_group_a_gpu_and_about_32_responses_on_a_cpu():
    assert drpo("gpu").keys()[f"{ACTOR}.ppo_micro_batch_size_per_gpu"] == 8
    assert drpo("cpu").keys()[f"{ACTOR}.ppo_micro_batch_size_per_gpu"] == 32
    sizes = {f"{ROLLOUT}.n": 6, f"{ACTOR}.ppo_mini_batch_size": 8}
    assert drpo("cpu", extra=sizes).keys()[f"{ACTOR}.ppo_micro_batch_size_per_gpu"] == 6


def test_sort_by_length_stays_off_where_a_batch_is_one_update():
    keys = drpo("cpu", extra={f"{ACTOR}.ppo_mini_batch_size": 16}).keys()
    assert "sort_by_length" not in keys["+leanthink"]
    keys = drpo("cpu", ["loss.drpo.form=advantage"], extra={f"{ACTOR}.ppo_mini_batch_size": 16}).keys()
    assert keys["+leanthink"]["sort_by_length"] is True


BROKEN = [
    ({f"{ACTOR}.shuffle": True}, {}, ["shuffle is true", "tears prompt groups", "actor.shuffle=false"]),
    ({f"{ACTOR}.use_dynamic_bsz": True}, {}, ["use_dynamic_bsz is true", "form=advantage"]),
    ({f"{ACTOR}.ppo_micro_batch_size_per_gpu": 4}, {}, ["ppo_micro_batch_size_per_gpu is 4", "give one of 8, 16, 32"]),
    ({f"{ACTOR}.ppo_micro_batch_size_per_gpu": 24}, {}, ["per_gpu is 24", "divide the 32 responses"]),
    ({f"{ACTOR}.ppo_mini_batch_size": 4}, {}, ["4 prompts", "8 data-parallel ranks", "multiple of 8"]),
    ({f"{ACTOR}.use_kl_loss": True}, {}, ["use_kl_loss is true", "KL penalty of its own"]),
    ({f"{ACTOR}.entropy_coeff": 0.001}, {}, ["entropy_coeff is 0.001", "no entropy term"]),
    ({"algorithm.use_kl_in_reward": True}, {}, ["use_kl_in_reward is true", "reads no token rewards"]),
    ({"algorithm.rollout_correction.rollout_is": "token"}, {}, ["rollout_is is token", "set", "rollout_is=null"]),
    ({f"{ACTOR}.policy_loss.loss_mode": "vanilla"}, {}, ["loss_mode is vanilla", "loss_mode=leanthink"]),
    ({f"{ACTOR}.strategy": "megatron"}, {}, ["strategy is megatron", "fsdp or fsdp2"]),
    ({}, {"sort_by_length": True}, ["sort_by_length tears", "leanthink.sort_by_length=false"]),
]  # fmt: skip


@pytest.mark.parametrize(("extra", "options", "facts"), BROKEN, ids=lambda value: str(value)[:60])
def test_a_broken_arrangement_is_refused_with_the_cure(extra, options, facts):
    with pytest.raises(ConfigError) as caught:
        drpo(extra=extra, options=options).keys()
    assert all(fact in str(caught.value) for fact in facts), caught.value


@pytest.mark.parametrize(("extra", "options", "facts"), BROKEN[:5] + BROKEN[-1:], ids=lambda value: str(value)[:60])
def test_the_advantage_form_needs_no_whole_groups(extra, options, facts):
    extra = {**extra, f"{ROLLOUT}.log_prob_use_dynamic_bsz": extra.get(f"{ACTOR}.use_dynamic_bsz", False)}
    assert drpo(overrides=["loss.drpo.form=advantage"], extra=extra, options=options).keys()


def test_the_advantage_form_needs_the_log_probabilities_at_sampling():
    with pytest.raises(ConfigError, match="calculate_log_probs is false"):
        drpo(overrides=["loss.drpo.form=advantage"], extra={f"{ROLLOUT}.calculate_log_probs": False}).keys()


def test_sequence_parallel_ranks_share_their_responses():
    keys = drpo(extra={f"{ACTOR}.ulysses_sequence_parallel_size": 2, f"{ACTOR}.ppo_mini_batch_size": 4}).keys()
    assert keys[f"{ACTOR}.ppo_micro_batch_size_per_gpu"] == 8


def test_nothing_is_asked_for_verls_own_losses():
    require(load_recipe("trle").loss, lambda key: "anything", sort_by_length=True)
