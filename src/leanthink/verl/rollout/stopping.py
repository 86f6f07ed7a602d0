"""An agent loop whose responses end their thinking sooner: the stop token's logit is raised until thinking has ended.

One response is up to three generations over the same prefix, which an engine with a prefix cache reads once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

from leanthink.core.errors import ConfigError
from leanthink.core.stopping import StopBias
from leanthink.verl.rollout.loops import stop_of
from leanthink.verl.rollout.single_turn import FactsAgentLoop

OLDEST: Final = "min_global_steps"
"""verl's field for the oldest weights that a response was written with."""


class StoppingAgentLoop(FactsAgentLoop):
    """The default loop, with the recipe's ``stop`` between it and the engine."""

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any) -> AgentLoopOutput:
        """One response."""
        part = stop_of(self.config)
        tokens = self.tokenizer.encode(part.marker, add_special_tokens=False)
        if len(tokens) != 1:
            raise ConfigError(
                f"stop_bias: marker {part.marker!r} is {len(tokens)} tokens of this model; give what is a single one"
            )
        self.server_manager = _Stages(self.server_manager, part, tokens[0], self.ends(), self.limit_after)
        return await super().run(sampling_params, priority=priority, **kwargs)


class _Stages:
    """Answers one ``generate`` by asking for the beginning, the rest of the thinking, and the answer."""

    def __init__(
        self, inner: Any, part: StopBias, marker: int, ends: frozenset[int], limit_after: Callable[[int], int]
    ) -> None:
        self._inner, self._part, self._marker, self._ends = inner, part, marker, ends
        self._limit_after = limit_after

    async def generate(self, *, prompt_ids: list[int], sampling_params: Mapping[str, Any], **kwargs: Any) -> Any:
        """One response, as the engine would give it in one piece."""
        limit = int(sampling_params.get("max_tokens") or self._limit_after(len(prompt_ids)))
        thinking = {**sampling_params, "stop_token_ids": [*(sampling_params.get("stop_token_ids") or ()), self._marker]}
        biased = {**thinking, "logit_bias": {self._marker: self._part.bias}}
        replies: list[Any] = []
        ids: list[int] = []

        async def write(params: Mapping[str, Any], until: int) -> None:
            params = {**params, "max_tokens": until - len(ids)}
            reply = await self._inner.generate(prompt_ids=[*prompt_ids, *ids], sampling_params=params, **kwargs)
            replies.append(reply)
            ids.extend(reply.token_ids)

        for params, until in ((thinking, min(self._part.at_least, limit)), (biased, limit)):
            if until > len(ids):
                await write(params, until)
                if len(ids) < until or ids[-1] == self._marker or ids[-1] in self._ends:
                    break  # thinking has ended, or the response has, or the engine was interrupted
        if ids[-1:] == [self._marker] and len(ids) < limit:
            await write(sampling_params, limit)
        return self._whole(replies, limit)

    def _whole(self, replies: Sequence[Any], limit: int) -> Any:
        """One reply of several."""
        first, last = replies[0], replies[-1]
        ids = [token for reply in replies for token in reply.token_ids]
        changes: dict[str, Any] = {
            "token_ids": ids,
            "log_probs": [value for reply in replies for value in reply.log_probs or ()] or None,
            "extra_fields": {**first.extra_fields, **last.extra_fields},
        }
        if OLDEST in first.extra_fields:
            changes["extra_fields"][OLDEST] = first.extra_fields[OLDEST]
        if len(ids) >= limit and ids[-1] == self._marker:  # to the engine a stop, but the answer is missing
            changes["stop_reason"] = "length"
        return last.model_copy(update=changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
