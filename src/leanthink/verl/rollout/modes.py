"""An agent loop of two modes: half of a prompt's responses think long, half short, as they are told.

Training sees the prompt without what they were told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

from leanthink.core.errors import ConfigError
from leanthink.rewards import ModeSwitchReward
from leanthink.rewards.mode_switch_reward import MODE
from leanthink.verl.rollout.loops import sampling_part
from leanthink.verl.rollout.single_turn import FactsAgentLoop
from leanthink.verl.rollout.told import instructed


class _Opening:
    """Passes calls on to the server manager with the response's first token given, as if it had been sampled."""

    def __init__(self, inner: Any, token: int, limit_after: Callable[[int], int]) -> None:
        self._inner = inner
        self._token = token
        self._limit_after = limit_after

    async def generate(self, *, prompt_ids: list[int], sampling_params: dict[str, Any], **kwargs: Any) -> Any:
        """One generation."""
        limit = int(sampling_params.get("max_tokens") or self._limit_after(len(prompt_ids)))
        params = {**sampling_params, "max_tokens": max(limit - 1, 1)}
        reply = await self._inner.generate(prompt_ids=[*prompt_ids, self._token], sampling_params=params, **kwargs)
        changes: dict[str, Any] = {"token_ids": [self._token, *reply.token_ids][:limit]}
        if reply.log_probs:
            changes["log_probs"] = [0.0, *reply.log_probs][:limit]
        if limit == 1:  # the opening fills it; an engine writes one token at least, which is dropped
            changes["stop_reason"] = "length"
        return reply.model_copy(update=changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class ModesAgentLoop(FactsAgentLoop):
    """The default loop under a mode's instruction and opening; the output has the plain prompt."""

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any) -> AgentLoopOutput:
        """One response in the mode of its session."""
        part = sampling_part(self.config, ModeSwitchReward)
        long = int(kwargs["session_id"]) < (int(self.rollout_config.n) + 1) // 2
        opening, instruction = (
            (part.long_opening, part.long_instruction) if long else (part.short_opening, part.short_instruction)
        )
        messages = list(kwargs.pop("raw_prompt"))
        self.server_manager = _Opening(self.server_manager, self._token(opening), self.limit_after)
        told = instructed(messages, instruction)
        output = await super().run(sampling_params, priority=priority, raw_prompt=told, **kwargs)
        output.prompt_ids = list(await self.ct_build_initial_tokens(messages))
        output.routed_experts = None  # of the prompt with the instruction
        output.response_mask = [0, *output.response_mask[1:]]
        output.extra_fields[MODE] = float(long)
        return output

    def _token(self, opening: str) -> int:
        ids = self.tokenizer.encode(opening, add_special_tokens=False)
        if len(ids) != 1:
            raise ConfigError(
                f"mode_switch_reward: the opening {opening!r} is {len(ids)} tokens of this model; give one token"
            )
        return int(ids[0])
