"""An agent loop that knows what verl's own does not: a limit for each response, and whether it ended the response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from leanthink.core.batch import PROMPT_KEY
from leanthink.core.limits import LIMIT

LIMIT_FIELD: Final = "leanthink_limit"
"""The field in which a prompt brings the limit of its responses."""

CUT = frozenset({"length", "abort", "aborted"})
ENDED = frozenset({"stop"})


def was_truncated(stop_reason: str | None, token_ids: list[int], limit: int, end_ids: frozenset[int]) -> bool:
    """Whether a response was cut off rather than ended by the model.

    What ends in an end token is complete, also when it fills its limit: verl's async client then says "length". SGLang
    says "stop" or "length"; verl's vLLM server says "completed" for both, so there the response is cut when it fills
    its limit.

    >>> was_truncated("length", [5, 6], 9, frozenset({2})), was_truncated("length", [5, 2], 2, frozenset({2}))
    (True, False)
    >>> was_truncated("completed", [5, 2], 2, frozenset({2})), was_truncated("completed", [5, 6], 2, frozenset({2}))
    (False, True)
    """
    if token_ids and token_ids[-1] in end_ids:
        return False
    if stop_reason in CUT or stop_reason in ENDED:
        return stop_reason in CUT
    return len(token_ids) >= limit


class _Listener:
    """Passes calls on to the server manager, with a limit where the recipe has one.

    It remembers the last answer, the limit it was asked with, and the first request's id.
    """

    def __init__(self, inner: Any, room: Callable[[int], int], asked: int | None) -> None:
        self._inner = inner
        self._room = room
        self._asked = asked
        self.output: Any = None
        self.limit = 0
        self.request_id: str | None = None

    async def generate(self, *, prompt_ids: list[int], sampling_params: dict[str, Any], **kwargs: Any) -> Any:
        """One generation."""
        self.request_id = self.request_id or kwargs.get("request_id")
        self.limit = self._room(len(prompt_ids))
        if self._asked is not None:  # verl shares the parameters among the prompt's responses: a copy
            self.limit = max(1, min(self.limit, self._asked))
            sampling_params = {**sampling_params, "max_tokens": self.limit}
        self.output = await self._inner.generate(prompt_ids=prompt_ids, sampling_params=sampling_params, **kwargs)
        return self.output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class FactsAgentLoop(SingleTurnAgentLoop):  # type: ignore[misc]  # verl is untyped
    """verl's single-turn loop, with ``truncated`` and ``limit`` in the output's extra fields.

    The limit is the smallest of verl's response limit, what the model's context leaves, and what the prompt brings as
    ``leanthink_limit`` (see `leanthink.verl.driver.dispatch`), which validation prompts do not. The engine gets the
    latter as ``max_tokens``, and a response that an engine does not explain is cut when it fills this very limit.

    An empty response gets one end token that is masked out of the loss: verl writes rewards at a response's last
    token and has none to write at.
    """

    server_manager: Any

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any) -> AgentLoopOutput:
        """One response."""
        asked = kwargs.get(LIMIT_FIELD)
        listener = _Listener(self.server_manager, self.room, None if asked is None else int(asked))
        self.server_manager = listener
        output = await super().run(sampling_params, priority=priority, **kwargs)
        ends = end_ids(self.model_path(), self.tokenizer.eos_token_id)
        reply = listener.output
        # A reply longer than what verl's own loop keeps was cut after generation.
        cut_after = len(reply.token_ids) > len(output.response_ids)
        output.extra_fields["truncated"] = cut_after or was_truncated(
            reply.stop_reason, reply.token_ids, listener.limit, ends
        )
        output.extra_fields[LIMIT] = listener.limit
        if PROMPT_KEY in kwargs:
            output.extra_fields[PROMPT_KEY] = kwargs[PROMPT_KEY]
        if not output.response_ids:
            output.response_ids, output.response_mask = [self.tokenizer.eos_token_id], [0]
            if output.response_logprobs is not None:
                output.response_logprobs = [0.0]
        return output

    def room(self, prompt_tokens: int) -> int:
        """How many tokens verl and the model's context leave for a response."""
        config = self.rollout_config
        limit = min(config.response_length, config.prompt_length + config.response_length - prompt_tokens)
        if config.max_model_len:
            limit = min(limit, config.max_model_len - prompt_tokens)
        return int(limit)

    def model_path(self) -> str:
        """Where the model's generation settings lie."""
        return str(self.config.actor_rollout_ref.model.path)


@lru_cache(maxsize=8)
def end_ids(model_path: str, eos_token_id: int) -> frozenset[int]:
    """The tokens that end a response: the tokenizer's and those of the model's generation settings."""
    from transformers import GenerationConfig

    try:
        more = GenerationConfig.from_pretrained(model_path).eos_token_id
    except OSError:  # a model without generation settings ends with its tokenizer's token
        more = None
    extra = [] if more is None else [more] if isinstance(more, int) else list(more)
    return frozenset({eos_token_id, *extra})


def without_end(token_ids: Sequence[int], ends: frozenset[int]) -> list[int]:
    """A response's tokens without those that end it.

    >>> without_end([5, 7, 2, 2], frozenset({2}))
    [5, 7]
    """
    count = len(token_ids)
    while count and token_ids[count - 1] in ends:
        count -= 1
    return list(token_ids[:count])
