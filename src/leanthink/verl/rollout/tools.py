"""An agent loop of several turns with tools: verl's own, with what it does not say of a response.

What the policy wrote, what it read, how often it called and whether that failed, whether it was cut; and a limit of the
tokens that it writes in all.
"""

from __future__ import annotations

import time
from itertools import groupby
from typing import Any, Final

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop

from leanthink.rewards.counted import CALLS, CONTEXT_TOKENS, FAILED_CALLS, SECONDS, TOOL_TOKENS, TURNS
from leanthink.training.responses import was_truncated
from leanthink.verl import LAST_FIELD, TURNS_FIELD
from leanthink.verl.rollout.room import context_of
from leanthink.verl.rollout.single_turn import LIMIT_FIELD, SaysFacts

FAILED: Final = ("Unknown function '", "Invalid JSON in arguments for '", "Error executing tool '")
"""How verl's tool loop begins the message of a call that no tool could answer."""


class Recorder:
    """Passes calls on to the server manager and remembers the replies; no turn gets more than what is left of a limit.

    ``limits`` are the most tokens that each turn was asked for.
    """

    def __init__(self, inner: Any, limit: int, room: int) -> None:
        self._inner, self.limit, self._room = inner, limit, room
        self.replies: list[Any] = []
        self.limits: list[int] = []

    @property
    def written(self) -> int:
        """The tokens of all replies."""
        return sum(len(reply.token_ids) for reply in self.replies)

    async def generate(self, *, prompt_ids: list[int], sampling_params: dict[str, Any], **kwargs: Any) -> Any:
        """One turn."""
        left = max(1, min(self.limit - self.written, self._room - len(prompt_ids)))
        params = {**sampling_params, "max_tokens": min(left, int(sampling_params.get("max_tokens") or left))}
        reply = await self._inner.generate(prompt_ids=prompt_ids, sampling_params=params, **kwargs)
        self.replies.append(reply)
        self.limits.append(params["max_tokens"])
        return reply

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class ToolsAgentLoop(SaysFacts, ToolAgentLoop):  # type: ignore[misc]  # verl is untyped
    """verl's tool agent loop, with the columns of a response with tools in the output's extra fields.

    The limit (``leanthink_limit``) is of all that the policy writes; verl's response length, which counts what tools
    return as well, stays the outer one. A response is truncated where its last turn was cut, where it ended in a call
    that was not answered, and where verl cut it.

    An empty response gets one end token that is masked out of the loss, as with one turn.
    """

    server_manager: Any

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any) -> AgentLoopOutput:
        """One conversation."""
        started = time.monotonic()
        self._calls, self._failed = 0, 0
        self.take_arguments(kwargs.get("extra_info"))
        longest = int(self.response_length)
        asked = kwargs.get(LIMIT_FIELD)
        limit = longest if asked is None else min(int(asked), longest)
        room = min(int(self.prompt_length) + longest, context_of(self.config))
        recorder = Recorder(self.server_manager, limit, room)
        self.server_manager = recorder
        output = await super().run(sampling_params, priority=priority, **kwargs)
        fields = output.extra_fields
        truncated = await self._truncated(output, recorder)
        mask = output.response_mask
        spans = written_spans(mask)
        if spans:
            fields[LAST_FIELD] = spans[-1][1]
        fields |= {
            TURNS_FIELD: spans,
            TOOL_TOKENS: float(len(mask) - sum(mask)),
            CONTEXT_TOKENS: float(len(output.prompt_ids) + len(mask)),
            TURNS: float(len(recorder.replies)),
            CALLS: float(self._calls),
            FAILED_CALLS: float(self._failed),
            SECONDS: time.monotonic() - started,
        }
        self.say(output, kwargs, truncated, limit)
        return output

    async def _call_tool(self, *given: Any, **named: Any) -> Any:
        """verl's own; calls and failures are counted."""
        self._calls += 1
        response, reward, result = await super()._call_tool(*given, **named)
        self._failed += str(response.text or "").startswith(FAILED)
        return response, reward, result

    async def _truncated(self, output: AgentLoopOutput, recorder: Recorder) -> bool:
        """Whether the conversation was cut off rather than ended by the policy."""
        if not recorder.replies:
            return False
        last = recorder.replies[-1]
        in_row = len(output.response_mask)
        written = sum(output.response_mask)
        if written < recorder.written or in_row > int(self.response_length):
            return True  # verl keeps no more than its response length
        if was_truncated(last.stop_reason, list(last.token_ids), recorder.limits[-1], self.ends()):
            return True
        tools = [tool.tool_schema for tool in self.tools.values()]
        _, calls = await self.tool_parser.extract_tool_calls(list(last.token_ids), tools)
        return bool(calls)  # it was to go on: out of turns, or no room for what the tool returned


def written_spans(mask: list[int]) -> list[tuple[int, int]]:
    """The first and the past-the-last token of each stretch with mask 1.

    >>> written_spans([1, 1, 0, 0, 1])
    [(0, 2), (4, 5)]
    """
    spans, place = [], 0
    for one, run in groupby(mask):
        end = place + len(list(run))
        if one:
            spans.append((place, end))
        place = end
    return spans
