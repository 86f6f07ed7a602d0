from __future__ import annotations

import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from leanthink.core.errors import DependencyError
from leanthink.verl import cpu
from leanthink.verl.cpu import compat, profile

pytest.importorskip("verl")

PROGRAM = """
import os
import torch.distributed as dist
import verl
from leanthink.verl import cpu
cpu.register()
cpu.register()
from leanthink.verl.cpu.rollout import CpuReplica, CpuRollout
from verl.plugin.platform import get_platform
from verl.workers.engine.base import EngineRegistry
from verl.workers.rollout.base import get_rollout_class
from verl.workers.rollout.replica import get_rollout_replica_class
import verl.workers.engine, verl.utils.model
assert get_platform().device_name == "cpu"
assert get_rollout_class(cpu.ROLLOUT_NAME) is CpuRollout
assert get_rollout_replica_class(cpu.ROLLOUT_NAME) is CpuReplica
assert EngineRegistry.get_engine_cls("language_model", "fsdp2").__name__ == "FSDPEngineWithLMHead"
assert EngineRegistry.get_engine_cls("value_model", "fsdp2").__name__ == "FSDPEngineWithValueHead"
from verl.utils.distributed import initialize_global_process_group_ray
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0", RANK="0", WORLD_SIZE="1")
initialize_global_process_group_ray()
dist.barrier()
assert not hasattr(dist.init_process_group.__wrapped__, "__leanthink_cpu__"), "wrapped twice"
import torch
from transformers import AutoConfig
config = AutoConfig.from_pretrained(os.environ["MODEL"])
config.num_labels = 1
model = verl.utils.model.load_valuehead_model(os.environ["MODEL"], torch.float32, config, False)
assert model.config._attn_implementation == "sdpa", model.config._attn_implementation
assert model(torch.tensor([[5, 6]])).logits.shape == (1, 2, 1)
print("fine")
"""


def test_verl_finds_everything(llama: str) -> None:
    environment = {**os.environ, **profile.ENVIRONMENT, "MODEL": llama}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("fine\n")


def test_the_package_does_not_import_verl() -> None:
    code = (
        "import sys, leanthink.verl.cpu, leanthink.verl.cpu.profile, leanthink.verl.cpu.server\n"
        "assert not {'verl', 'ray', 'tensordict'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_a_function_that_changed_shape_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(backend: str, ranks: int) -> None: ...

    monkeypatch.setattr(torch.distributed, "init_process_group", changed)
    with pytest.raises(DependencyError, match=r"init_process_group takes .*no longer \['world_size'\].*verl 0.9"):
        compat.install()
    assert torch.distributed.init_process_group is changed


def test_a_value_loader_that_changed_shape_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    import verl.utils.model

    def changed(path: str) -> None: ...

    monkeypatch.setattr(verl.utils.model, "load_valuehead_model", changed)
    with pytest.raises(DependencyError, match="load_valuehead_model"):
        compat.load_value_models_with_sdpa()
    assert verl.utils.model.load_valuehead_model is changed


def test_a_registry_that_is_no_dict_is_refused() -> None:
    with pytest.raises(DependencyError, match=r"verl.base.REGISTRY is NoneType, not a dict"):
        compat.require_dict(SimpleNamespace(__name__="verl.base"), "REGISTRY")


@pytest.mark.parametrize(
    ("asked", "given"),
    [("cpu:gloo,cpu:gloo", "cpu:gloo"), ("cpu:gloo,cuda:nccl", "cpu:gloo,cuda:nccl"), ("gloo", "gloo"), (None, None)],
)
def test_a_backend_is_named_once(monkeypatch: pytest.MonkeyPatch, asked: str | None, given: str | None) -> None:
    calls = []
    monkeypatch.setattr(compat, "load_value_models_with_sdpa", lambda: calls.append("value models"))

    def original(backend: str | None = None, world_size: int = -1) -> None:
        calls.append((backend, world_size))

    compat._init_process_group(original)(asked, world_size=2)
    assert calls == ["value models", (given, 2)]


def test_a_remark_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("leanthink.tests.once")
    logger.addFilter(compat._Once())
    for kind in ("a", "b", "a"):
        logger.warning("no builder for %s", kind)
    assert caplog.messages == ["no builder for a", "no builder for b"]


def test_verls_configuration_takes_the_overrides() -> None:
    """Hydra composes them, so that no key is misspelt, none lacks its + and none has one too many."""
    from hydra import compose, initialize_config_module

    from leanthink.verl.hydra import overrides

    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=overrides({**profile.OVERRIDES, "trainer.n_gpus_per_node": 2}))
    assert config.actor_rollout_ref.rollout.name == cpu.ROLLOUT_NAME
    assert config.ray_kwargs.ray_init.num_gpus == 2
    assert config.critic.fsdp.mixed_precision.param_dtype == "fp32"
