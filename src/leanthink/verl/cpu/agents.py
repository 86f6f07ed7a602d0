"""verl's agent loop workers for one machine: cheaper for a small model, whose own work is small beside theirs.

On two cores the worker that drives the agent loops is the busiest process of a step. It would let Hydra build an agent
loop for every response, send every response to a reward worker to be judged, and send messages of its own for each;
here one loop of each kind is built and copied, the verdict is asked for where the response is, and messages travel
together (`leanthink.verl.cpu.gathering`). Named by ``actor_rollout_ref.rollout.agent.agent_loop_manager_class``.
"""

from __future__ import annotations

import copy
from typing import Any

import hydra
import ray
from verl.experimental.agent_loop.agent_loop import DictConfigWrap, ToolListWrap, _agent_loop_registry
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopWorkerTQ
from verl.utils.profiler.performance import simple_timer
from verl.workers.rollout.llm_server import LLMServerClient

from leanthink.core.errors import ConfigError, did_you_mean
from leanthink.verl.cpu import ROLLOUT_NAME
from leanthink.verl.cpu.gathering import GatheringClient, gather_puts
from leanthink.verl.driver.dispatch import DispatchingManager
from leanthink.verl.rollout.facts import fact_finder, response_of

_WORKER: type[Any] = AgentLoopWorkerTQ.__ray_metadata__.modified_class.__ray_actor_class__
"""The class under verl's remote one."""


class CpuAgentLoopWorker(_WORKER):  # type: ignore[misc]  # verl is untyped
    """Runs agent loops and finds the facts about each response itself."""

    llm_client: Any

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        """Takes verl's arguments."""
        super().__init__(config, *args, **kwargs)
        self._loops: dict[str, Any] = {}
        gather_puts(type(self))
        # Another client, as the one that goes on with what was interrupted, asks in its own way.
        if config.actor_rollout_ref.rollout.name == ROLLOUT_NAME and type(self.llm_client) is LLMServerClient:
            self.llm_client = GatheringClient(self.llm_client, config.trainer.nnodes * config.trainer.n_gpus_per_node)
        reward = config.reward
        # A reward model or a function of the user's own is the reward workers' business.
        judges_here = not reward.reward_model.enable and reward.custom_reward_function.path is None
        self._finder = fact_finder(config, self.tokenizer) if judges_here else None

    async def _run_agent_loop(
        self, sampling_params: dict[str, Any], trajectory: dict[str, Any], *, agent_name: str, **kwargs: Any
    ) -> Any:
        """One response, by a copy of the loop of this name."""
        kwargs.pop("trace", None)  # tracing services are for clusters
        output = await copy.copy(self._loop(agent_name)).run(sampling_params, **kwargs)
        return await self._agent_loop_postprocess(output, trajectory["validate"], **kwargs)

    def _loop(self, name: str) -> Any:
        if name not in self._loops:
            if name not in _agent_loop_registry:
                raise ConfigError(f"no agent loop {name!r}; {did_you_mean(name, _agent_loop_registry)}")
            self._loops[name] = hydra.utils.instantiate(
                config=_agent_loop_registry[name],
                trainer_config=DictConfigWrap(config=self.config),
                server_manager=self.llm_client,
                tokenizer=self.tokenizer,
                processor=self.processor,
                hf_model_type=self.hf_model_type,
                dataset_cls=self.dataset_cls,
                data_config=DictConfigWrap(self.config.data),
                tools=ToolListWrap(self.tools),
            )
        return self._loops[name]

    async def _compute_score(self, outputs: list[Any], kwargs: dict[str, Any]) -> None:
        """The facts about the last output, in place of a reward worker's."""
        output = outputs[-1]
        if self._finder is None or output.reward_score is not None:
            await super()._compute_score(outputs, kwargs)
            return
        timing: dict[str, float] = {}
        with simple_timer("compute_score", timing):
            response = response_of(list(output.response_ids), kwargs, output.extra_fields, output.prompt_ids)
            facts = await self._finder.find(response)
        output.reward_score = facts["acc"]
        output.extra_fields["reward_extra_info"] = facts
        output.metrics.compute_score = timing["compute_score"]


class CpuManager(DispatchingManager):
    """Our manager of agent loops with :class:`CpuAgentLoopWorker`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes verl's arguments."""
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(CpuAgentLoopWorker)
