"""An agent loop that probes: once a response is sampled, its thinking is cut and short answers are asked for.

The rollout engine writes them with the weights that wrote the response, before the group is handed to the trainer. They
are judged and thrown away: nothing of them is trained on. Only rewards that read probes need this loop.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

from leanthink.core.errors import ConfigError
from leanthink.rewards.probed import probed_part
from leanthink.verify import Verifier
from leanthink.verl.rollout.probes import PROBED, Probed, Prober
from leanthink.verl.rollout.room import limit_of
from leanthink.verl.rollout.single_turn import FactsAgentLoop
from leanthink.verl.settings import Settings


class ProbingAgentLoop(FactsAgentLoop):
    """The default loop, then the probes of its response; they travel in the output's extra fields."""

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any) -> AgentLoopOutput:
        """One response and its probes."""
        output = await super().run(sampling_params, priority=priority, **kwargs)
        prober = self._prober()
        params = prober.sampling_params(sampling_params)
        deterministic = bool(self.rollout_config.get("full_determinism", False))
        # The response's own id leads its probes to the server that holds the prefixes in its cache.
        request_id = self.request_id or uuid4().hex

        async def generate(prefix_ids: list[int], n: int) -> tuple[Any, int]:
            mine, own_id = dict(params), request_id
            if deterministic:  # the engine then takes ids and seeds as they are
                own_id = f"{request_id}-{len(prefix_ids)}-{n}"
                mine["seed"] = int(self.rollout_config.seed) + n
            ids = [*output.prompt_ids, *prefix_ids]
            reply = await self.server_manager.generate(
                request_id=own_id, prompt_ids=ids, sampling_params=mine, priority=int(priority)
            )
            return reply, limit_of(self.config, len(ids), params["max_tokens"])

        gold = (kwargs.get("reward_model") or {}).get("ground_truth")
        if gold is None:  # the outcome will be unknown, and the response left out
            output.extra_fields[PROBED] = Probed().node()
            return output
        opened = prober.opened_by(output.prompt_ids)
        output.extra_fields[PROBED] = (await prober.probe(output.response_ids, str(gold), generate, opened)).node()
        return output

    def _prober(self) -> Prober:
        """One a process: verl makes a loop for every response."""
        settings = Settings.read(self.config)
        return _prober_of(json.dumps(settings.node(), sort_keys=True), self.tokenizer, self.ends())


@lru_cache(maxsize=2)
def _prober_of(node: str, tokenizer: Any, ends: frozenset[int]) -> Prober:
    settings = Settings.read(json.loads(node))
    part = probed_part(settings.build().reward)
    if part is None:
        raise ConfigError(
            f"recipe {settings.recipe} has no reward that reads probes; leave out "
            "actor_rollout_ref.rollout.agent.agent_loop_manager_class"
        )
    return Prober(part, tokenizer, Verifier(**settings.verify), ends)
