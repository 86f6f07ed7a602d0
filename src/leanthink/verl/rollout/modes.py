"""An agent loop whose responses begin as the reward says: in one of two modes, or by naming a budget.

Training sees the prompt without what they were told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

from leanthink.core.errors import ConfigError
from leanthink.recipe.registry import name_of
from leanthink.rewards.opened import OpenedReward
from leanthink.training.told import instructed
from leanthink.verl.rollout.loops import sampling_part
from leanthink.verl.rollout.single_turn import LIMIT_FIELD, FactsAgentLoop


class _Given:
    """Passes calls on to the server manager with the response's first tokens given, as if they had been sampled."""

    def __init__(self, inner: Any, tokens: list[int], limit_after: Callable[[int], int]) -> None:
        self._inner = inner
        self._tokens = tokens
        self._limit_after = limit_after

    async def generate(self, *, prompt_ids: list[int], sampling_params: dict[str, Any], **kwargs: Any) -> Any:
        """One generation."""
        given = self._tokens
        limit = int(sampling_params.get("max_tokens") or self._limit_after(len(prompt_ids)))
        params = {**sampling_params, "max_tokens": max(limit - len(given), 1)}
        reply = await self._inner.generate(prompt_ids=[*prompt_ids, *given], sampling_params=params, **kwargs)
        changes: dict[str, Any] = {"token_ids": [*given, *reply.token_ids][:limit]}
        if reply.log_probs:
            changes["log_probs"] = [*[0.0] * len(given), *reply.log_probs][:limit]
        if limit <= len(given):  # the opening fills it; an engine writes one token at least, which is dropped
            changes["stop_reason"] = "length"
        return reply.model_copy(update=changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class ModesAgentLoop(FactsAgentLoop):
    """The default loop under an instruction and an opening; the output has the plain prompt."""

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any) -> AgentLoopOutput:
        """One response, opened as its session is."""
        part = sampling_part(self.config, OpenedReward)  # type: ignore[type-abstract]  # of any such class
        opening = part.opening(int(kwargs["session_id"]), int(self.rollout_config.n))
        given = self._tokens(part, opening.text, opening.one_token)
        if opening.limit is not None:
            kwargs[LIMIT_FIELD] = min(int(kwargs.get(LIMIT_FIELD, opening.limit)), opening.limit)
        messages = list(kwargs.pop("raw_prompt"))
        self.server_manager = _Given(self.server_manager, given, self.limit_after)
        told = instructed(messages, opening.instruction)
        output = await super().run(sampling_params, priority=priority, raw_prompt=told, **kwargs)
        output.prompt_ids = list(await self.ct_build_initial_tokens(messages))
        output.routed_experts = None  # of the prompt with the instruction
        if not opening.is_trained:
            masked = min(len(given), len(output.response_mask))
            output.response_mask = [0] * masked + list(output.response_mask[masked:])
        output.extra_fields |= opening.columns
        return output

    def _tokens(self, part: OpenedReward, text: str, one: bool) -> list[int]:
        ids = [int(token) for token in self.tokenizer.encode(text, add_special_tokens=False)]
        if not ids or (one and len(ids) != 1):
            wanted = "one token" if one else "a text that has tokens"
            raise ConfigError(
                f"{name_of(type(part))}: the opening {text!r} is {len(ids)} tokens of this model; give {wanted}"
            )
        return ids
