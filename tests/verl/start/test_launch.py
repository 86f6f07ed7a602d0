"""Every recipe composes with verl's own Hydra configuration and passes verl's own validation, on both profiles."""

import dataclasses
import re
import shlex

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

from leanthink.algorithms import PpoClip
from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import Recipe, load_recipe, recipe_names
from leanthink.rewards import Correct
from leanthink.runs.failure import KINDS
from leanthink.testbed import policy_path
from leanthink.verl.settings import Settings
from leanthink.verl.start.launch import Job
from leanthink.verl.start.schema import check_keys


def job(name="trle", profile="gpu", **changes):
    recipe = changes.pop("recipe", None) or load_recipe(name)
    files = {"train_files": ("train.parquet",), "val_files": ("test.parquet",), "folder": "/runs/one"}
    model = str(policy_path())  # verl reads the critic's model when it checks its settings
    return Job(recipe=recipe, profile=profile, model=model, gpus=8 if profile == "gpu" else 1, **files, **changes)


def composed(arguments):
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=arguments)
    OmegaConf.resolve(config)
    return config


@pytest.mark.filterwarnings("ignore:Disabled critic")
@pytest.mark.parametrize("profile", ["gpu", "cpu"])
@pytest.mark.parametrize("name", recipe_names())
def test_recipe_passes_verls_validation(name, profile):
    wanted = job(name, profile)
    config = composed(wanted.arguments())
    assert config.actor_rollout_ref.rollout.name == ("vllm" if profile == "gpu" else "leanthink_cpu")
    validate_config(config, need_reference_policy(config), need_critic(config))
    built = Settings.read(config).build()
    assert (built.reward, built.advantage, built.loss) == (
        wanted.recipe.reward,
        wanted.recipe.advantage,
        wanted.recipe.loss,
    )
    assert Settings.read(config.trainer.v1.sampler.sampler_kwargs.leanthink) == Settings.read(config)


def test_printed_command_is_what_runs():
    wanted = job(extra={"trainer.experiment_name": "it's mine", "data.prompt_key": "a b"})
    words = shlex.split(wanted.command().replace("\\\n", " "))
    assert words[:3] == ["python", "-m", "verl.trainer.main_ppo"]
    assert words[3:] == wanted.arguments()
    assert composed(words[3:]).trainer.experiment_name == "it's mine"


def test_cpu_command_carries_its_environment():
    assert job(profile="cpu").command().startswith("VERL_PLATFORM=cpu")


def test_loss_settings_reach_verl():
    recipe = Recipe(name="mine", reward=Correct(), loss=PpoClip(low=0.1, high=0.3, aggregation="seq-mean-token-sum"))
    actor = composed(job(recipe=recipe).arguments()).actor_rollout_ref.actor
    assert (actor.clip_ratio_low, actor.clip_ratio_high, actor.clip_ratio_c) == (0.1, 0.3, 3.0)
    assert actor.loss_agg_mode == "seq-mean-token-sum"


@pytest.mark.parametrize(
    ("name", "profile", "manager"),
    [
        ("dler", "gpu", "leanthink.verl.driver.dispatch.DispatchingManager"),
        ("vsrm_rpp", "gpu", "leanthink.verl.driver.dispatch.DispatchingManager"),
        ("grpo", "gpu", None),
        ("dler", "cpu", "leanthink.verl.cpu.agents.CpuManager"),
        ("grpo", "cpu", "leanthink.verl.cpu.agents.CpuManager"),
    ],
)
def test_a_recipe_with_a_limit_or_probes_gets_the_manager_that_dispatches(name, profile, manager):
    agent = composed(job(name, profile).arguments()).actor_rollout_ref.rollout.agent
    assert agent.get("agent_loop_manager_class") == manager


def test_async_modes_get_the_sampler_that_fits():
    config = composed(job(extra={"trainer.v1.trainer_mode": "colocate_async"}).arguments())
    assert config.trainer.v1.sampler.custom_sampler.name == "ShapingReplayBufferAsync"


def test_extra_keys_win_over_the_recipe():
    assert composed(job(extra={"actor_rollout_ref.rollout.n": 4}).arguments()).actor_rollout_ref.rollout.n == 4


def test_a_batch_that_does_not_divide_is_refused_before_anything_starts():
    with pytest.raises(ConfigError, match=r"data.train_batch_size 3 x rollout.n 1 = 3 responses do not divide over 8"):
        job(extra={"data.train_batch_size": 3, "actor_rollout_ref.rollout.n": 1}).keys()


def test_misspelt_option_of_ours():
    with pytest.raises(ConfigError, match="did you mean 'max_unknown'"):
        job(options={"max_unknwon": 0.1}).keys()


@pytest.mark.parametrize("name", ["lc_r1", "adaptive_deep"])
def test_rollouts_that_change_a_tokens_context_need_old_log_probabilities(name):
    key = "algorithm.rollout_correction.bypass_mode"
    recipe = load_recipe(name, profile="cpu")
    assert job(recipe=dataclasses.replace(recipe, cpu={}, verl={}), profile="cpu").keys()[key] is False
    with pytest.raises(ConfigError, match="bypass_mode is true"):
        job(recipe=recipe, profile="cpu", extra={key: True}).keys()


def test_cures_of_failures_name_keys_that_verl_has():
    named = {
        key
        for kind in KINDS
        for key in re.findall(r"\b(?:actor_rollout_ref|data|trainer|reward)\.[a-z_.]+[a-z]", kind.cure)
    }
    assert len(named) >= 8
    for key in named:
        with pytest.raises(ConfigError, match="no 'no_such_key'"):
            check_keys({f"{key}.no_such_key": 1})  # the error is about what stands below the key
