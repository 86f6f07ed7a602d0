"""An agent loop that knows what verl's own does not: a limit for each response, and whether it ended the response."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from leanthink.core.batch import PROMPT_KEY
from leanthink.core.limits import LIMIT
from leanthink.training.facts import PROMPT_CUT
from leanthink.training.names import own_arguments
from leanthink.training.responses import end_ids, was_truncated
from leanthink.training.template import check_arguments
from leanthink.verl.rollout.room import limit_of, local_path

LIMIT_FIELD: Final = "leanthink_limit"
"""The field in which a prompt brings the limit of its responses."""


class _Listener:
    """Passes calls on to the server manager, with a limit where the recipe has one.

    It remembers the last answer, the limit it was asked with, and the first request's id.
    """

    def __init__(self, inner: Any, limit_after: Callable[[int], int], asked: int | None) -> None:
        self._inner = inner
        self._limit_after = limit_after
        self._asked = asked
        self.output: Any = None
        self.limit = 0
        self.request_id: str | None = None

    async def generate(self, *, prompt_ids: list[int], sampling_params: dict[str, Any], **kwargs: Any) -> Any:
        """One generation."""
        self.request_id = self.request_id or kwargs.get("request_id")
        self.limit = self._limit_after(len(prompt_ids))
        if self._asked is not None:  # verl shares the parameters among the prompt's responses: a copy
            self.limit = max(1, min(self.limit, self._asked))
            sampling_params = {**sampling_params, "max_tokens": self.limit}
        self.output = await self._inner.generate(prompt_ids=prompt_ids, sampling_params=sampling_params, **kwargs)
        return self.output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class SaysFacts:
    """What any of verl's agent loops needs to say what verl does not of a response, and what a prompt lost."""

    config: Any
    tokenizer: Any
    continuous_token_builder: Any
    prompt_cut = 0
    """By how many tokens verl cut the prompt, from the left."""

    def ends(self) -> frozenset[int]:
        """The tokens that end a response."""
        return end_ids(local_path(str(self.config.actor_rollout_ref.model.path)), self.tokenizer.eos_token_id)

    def say(self, output: AgentLoopOutput, given: Mapping[str, Any], truncated: bool, limit: int) -> None:
        """Write into a response's extra fields whether it was cut, its limit, and what it was given with its prompt.

        An empty response gets one end token that is masked out of the loss: verl writes rewards at a response's last
        token and has none to write at.
        """
        output.extra_fields |= {"truncated": truncated, LIMIT: limit, PROMPT_CUT: self.prompt_cut}
        if PROMPT_KEY in given:
            output.extra_fields[PROMPT_KEY] = given[PROMPT_KEY]
        if not output.response_ids:
            output.response_ids, output.response_mask = [self.tokenizer.eos_token_id], [0]
            if output.response_logprobs is not None:
                output.response_logprobs = [0.0]

    def take_arguments(self, info: Mapping[str, Any] | None) -> None:
        """Give the chat template what a row's ``extra_info`` says, in the turns of this response.

        Raises:
            ConfigError: the template does not read it.
        """
        arguments = own_arguments(info or {})
        if not arguments:
            return
        check_arguments(str(self.tokenizer.chat_template), arguments)
        builder = copy.copy(self.continuous_token_builder)  # one is shared by all responses where loops are copied
        builder.chat_template_kwargs = {**builder.chat_template_kwargs, **arguments}
        self.continuous_token_builder = builder

    def _cap_text_prompt_length(self, prompt_ids: list[int]) -> list[int]:
        kept: list[int] = super()._cap_text_prompt_length(prompt_ids)  # type: ignore[misc]  # verl's own
        self.prompt_cut = max(self.prompt_cut, len(prompt_ids) - len(kept))
        return kept


class FactsAgentLoop(SaysFacts, SingleTurnAgentLoop):  # type: ignore[misc]  # verl is untyped
    """verl's single-turn loop, with ``truncated`` and ``limit`` in the output's extra fields.

    The limit is the smaller of the engine's own (see `leanthink.verl.rollout.room`) and what the prompt brings as
    ``leanthink_limit`` (see `leanthink.verl.driver.dispatch`), which validation prompts do not. The engine gets the
    latter as ``max_tokens``, and a response that an engine does not explain is cut when it fills this very limit.

    ``prompt_cut`` says how many tokens verl cut from the left of a prompt longer than ``rollout.prompt_length``.
    """

    server_manager: Any
    request_id: str | None = None

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any) -> AgentLoopOutput:
        """One response."""
        self.take_arguments(kwargs.get("extra_info"))
        asked = kwargs.get(LIMIT_FIELD)
        listener = _Listener(self.server_manager, self.limit_after, None if asked is None else int(asked))
        client, self.server_manager = self.server_manager, listener
        try:
            output = await super().run(sampling_params, priority=priority, **kwargs)
        finally:  # what a loop asks besides, as probes, has limits of its own
            self.server_manager, self.request_id = client, listener.request_id
        reply = listener.output
        # A reply longer than what verl's own loop keeps was cut after generation.
        cut_after = len(reply.token_ids) > len(output.response_ids)
        cut = cut_after or was_truncated(reply.stop_reason, reply.token_ids, listener.limit, self.ends())
        self.say(output, kwargs, cut, listener.limit)
        return output

    def limit_after(self, prompt_tokens: int) -> int:
        """After how many tokens the engine ends a response to a prompt of so many."""
        return limit_of(self.config, prompt_tokens)
