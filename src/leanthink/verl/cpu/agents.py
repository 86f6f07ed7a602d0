"""verl's agent loop workers for one machine: cheaper for a small model, whose own work is small beside theirs.

On two cores the worker that drives the agent loops is the busiest process of a step. It would let Hydra build an agent
loop for every response and send every response to a reward worker to be judged; here one loop of each kind is built and
copied, and the verdict is asked for where the response is. Named by
``actor_rollout_ref.rollout.agent.agent_loop_manager_class``.
"""

from __future__ import annotations

import copy
from typing import Any

import hydra
import ray
from verl.experimental.agent_loop.agent_loop import DictConfigWrap, ToolListWrap, _agent_loop_registry
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopWorkerTQ
from verl.utils.profiler.performance import simple_timer

from leanthink.core.errors import ConfigError, did_you_mean
from leanthink.verl.driver.dispatch import DispatchingManager
from leanthink.verl.rollout.facts import FactFinder

_WORKER: type[Any] = AgentLoopWorkerTQ.__ray_metadata__.modified_class.__ray_actor_class__
"""The class under verl's remote one."""


class CpuAgentLoopWorker(_WORKER):  # type: ignore[misc]  # verl is untyped
    """Runs agent loops and finds the facts about each response itself."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        """Takes verl's arguments."""
        super().__init__(config, *args, **kwargs)
        self._loops: dict[str, Any] = {}
        reward = config.reward
        # A reward model or a function of the user's own is the reward workers' business.
        judges_here = not reward.reward_model.enable and reward.custom_reward_function.path is None
        self._finder = FactFinder(config, self.tokenizer) if judges_here else None

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
            facts = await self._finder.find(list(output.response_ids), kwargs, output.extra_fields, output.prompt_ids)
        output.reward_score = facts["acc"]
        output.extra_fields["reward_extra_info"] = facts
        output.metrics.compute_score = timing["compute_score"]


class CpuManager(DispatchingManager):
    """Our manager of agent loops with :class:`CpuAgentLoopWorker`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes verl's arguments."""
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(CpuAgentLoopWorker)
