"""verl's two sides of a rollout engine: the replica that starts a server, the adapter that sends it new weights."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import ray
import torch
from omegaconf import OmegaConf
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica

from leanthink.core.errors import ConfigError
from leanthink.verl.cpu.server import GenerationServer, ServerConfig

_CONTROL_CALLS = 16


def server_name(replica_rank: int) -> str:
    """The name under which Ray knows the server of a replica."""
    return f"leanthink_cpu_server_{replica_rank}"


class CpuReplica(RolloutReplica):  # type: ignore[misc]  # verl is untyped
    """One rollout server; verl makes as many as there are training ranks."""

    async def launch_servers(self) -> None:
        """Start the server and return at once: verl goes on building the rest while the model is loaded."""
        if self.world_size != 1:
            raise ConfigError(
                f"CPU rollout: a replica over {self.world_size} ranks; set actor_rollout_ref.rollout."
                "tensor_model_parallel_size, data_parallel_size and pipeline_model_parallel_size to 1"
            )
        name = server_name(self.replica_rank)
        config = self._server_config()
        server = ray.remote(GenerationServer).options(
            name=name, num_cpus=0, max_concurrency=config.max_num_seqs + 1000 + _CONTROL_CALLS
        )
        self._server_handle = server.remote(config)
        self._server_address = name
        self.servers = [self._server_handle]

    def _server_config(self) -> ServerConfig:
        rollout, model = self.config, self.model_config
        override = model.get("override_config") or {}
        if OmegaConf.is_config(override):
            override = OmegaConf.to_container(override, resolve=True)
        return ServerConfig(
            model_path=os.path.expanduser(model.path),
            prompt_length=rollout.prompt_length,
            response_length=rollout.response_length,
            replica_rank=self.replica_rank,
            seed=rollout.seed,
            ignore_eos=rollout.ignore_eos,
            max_model_len=rollout.max_model_len,
            max_num_seqs=rollout.max_num_seqs,
            trust_remote_code=bool(model.get("trust_remote_code")),
            override_config=dict(override),
        )


class CpuRollout(BaseRollout):  # type: ignore[misc]  # verl is untyped
    """Lives in a training worker and hands its weights to the server of the same rank."""

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, replica_rank: int = -1) -> None:
        super().__init__(config, model_config, device_mesh)
        self._replica_rank = replica_rank if replica_rank >= 0 else int(os.environ.get("RANK", "0"))
        self._server: Any = None

    async def resume(self, tags: list[str]) -> None:
        """The server keeps its memory."""

    async def release(self) -> None:
        """The server keeps its memory."""

    async def update_weights(
        self,
        weights: Iterable[tuple[str, torch.Tensor]],
        wire_format: str = "named_tensors",
        global_steps: int | None = None,
        peft_config: Any = None,
        **unused: Any,
    ) -> None:
        """Send the full tensors to the server and wait until it uses them."""
        if wire_format != "named_tensors" or peft_config is not None:
            what = wire_format if peft_config is None else "LoRA adapters"
            raise ConfigError(
                f"CPU rollout: weights sent as {what}; it takes whole tensors: set model.lora.merge=True and "
                "actor_rollout_ref.rollout.checkpoint_engine.backend=naive"
            )
        # Every rank walks through all tensors, as gathering a sharded one is a collective call. Arrays rather than
        # tensors, because Ray moves them through shared memory without a copy.
        arrays = {name: _full(tensor).detach().cpu().float().numpy() for name, tensor in weights}
        if self._server is None:
            self._server = ray.get_actor(server_name(self._replica_rank))
        await self._server.load_weights.remote(arrays, global_steps)


def _full(tensor: torch.Tensor) -> torch.Tensor:
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()
