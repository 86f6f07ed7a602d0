from __future__ import annotations

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("verl")

from omegaconf import OmegaConf

from leanthink.core.errors import ConfigError
from leanthink.verl.cpu import rollout
from leanthink.verl.cpu.rollout import CpuReplica, CpuRollout


class Server:
    """Stands for the handle of the server's actor."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, np.ndarray], int | None]] = []
        self.load_weights = SimpleNamespace(remote=self._load)

    async def _load(self, weights: dict[str, np.ndarray], global_steps: int | None) -> None:
        self.received.append((weights, global_steps))


class Sharded:
    """Stands for a DTensor."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def full_tensor(self) -> torch.Tensor:
        return self._tensor


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> tuple[CpuRollout, dict[str, Server]]:
    servers = {rollout.server_name(rank): Server() for rank in (0, 1)}
    monkeypatch.setattr(rollout.BaseRollout, "__init__", lambda self, *args: None)
    monkeypatch.setattr(rollout.ray, "get_actor", servers.__getitem__)
    monkeypatch.setenv("RANK", "1")
    return CpuRollout(None, None, None), servers


def test_a_rank_sends_whole_float32_tensors_to_its_own_server(adapter) -> None:
    sender, servers = adapter
    weights = [("a", torch.nn.Parameter(torch.ones(2))), ("b", Sharded(torch.full((1, 2), 3.0, dtype=torch.bfloat16)))]
    asyncio.run(sender.update_weights(iter(weights), global_steps=4, base_sync_done=True))
    ((arrays, steps),) = servers["leanthink_cpu_server_1"].received
    assert steps == 4
    assert {name: array.tolist() for name, array in arrays.items()} == {"a": [1, 1], "b": [[3, 3]]}
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    assert not servers["leanthink_cpu_server_0"].received


@pytest.mark.parametrize("options", [{"wire_format": "delta_flush"}, {"peft_config": {"r": 4}}])
def test_other_kinds_of_weights_are_refused(adapter, options: dict) -> None:
    with pytest.raises(ConfigError, match=r"model.lora.merge=True"):
        asyncio.run(adapter[0].update_weights(iter([]), **options))


def replica(**options) -> CpuReplica:
    made = object.__new__(CpuReplica)
    made.replica_rank, made.world_size = 1, options.pop("world_size", 1)
    made.config = SimpleNamespace(
        prompt_length=8, response_length=16, seed=3, ignore_eos=False, max_model_len=None, max_num_seqs=32
    )
    model = {"path": "~/model", "override_config": {"attn_implementation": "sdpa"}, **options}
    made.model_config = OmegaConf.create(model)
    return made


def test_the_server_is_told_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    config = replica(trust_remote_code=True)._server_config()
    assert (config.model_path, config.replica_rank, config.seed) == ("/home/someone/model", 1, 3)
    assert (config.prompt_length, config.response_length, config.max_num_seqs) == (8, 16, 32)
    assert config.trust_remote_code
    assert config.override_config == {"attn_implementation": "sdpa"}


def test_a_replica_is_one_rank() -> None:
    with pytest.raises(ConfigError, match=r"a replica over 2 ranks; set .*tensor_model_parallel_size"):
        asyncio.run(replica(world_size=2).launch_servers())
