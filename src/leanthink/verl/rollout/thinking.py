"""An agent loop under a budget of thinking: after so many tokens its end is put in, and the answer has its own room.

One response is up to two generations over the same prefix, which an engine with a prefix cache reads once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

from leanthink.core.errors import ConfigError
from leanthink.core.limits import FORCED, THINKING_LIMIT
from leanthink.training.responses import CUT
from leanthink.verl import LAST_FIELD
from leanthink.verl.rollout.loops import thinking_of
from leanthink.verl.rollout.single_turn import FactsAgentLoop
from leanthink.verl.rollout.stopping import OLDEST

THINKING_FIELD: Final = "leanthink_thinking_limit"
"""The field in which a prompt brings the budget of its responses' thinking."""


class ThinkingAgentLoop(FactsAgentLoop):
    """The default loop, with the recipe's budget of thinking between it and the engine."""

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any) -> AgentLoopOutput:
        """One response; what was put in is masked."""
        part, budget = thinking_of(self.config), kwargs.get(THINKING_FIELD)
        if budget is None:
            raise ConfigError(
                f"limit.thinking: the prompt brings no {THINKING_FIELD}, so leanthink did not hand it out; set "
                "actor_rollout_ref.rollout.agent.agent_loop_manager_class as `leanthink show RECIPE --verl` prints it"
            )
        marker, closing = (
            self.tokenizer.encode(text, add_special_tokens=False) for text in (part.marker, part.closing)
        )
        if len(marker) != 1 or marker[0] not in closing:
            raise ConfigError(
                f"limit.thinking: marker {part.marker!r} is {len(marker)} tokens of this model, and closing "
                f"{part.closing!r} has to hold it as one; give what your model ends its thinking with"
            )
        stages = Stages(
            self.server_manager, int(budget), part.answer, marker[0], closing, self.ends(), self.limit_after
        )
        self.server_manager = stages
        output = await super().run(sampling_params, priority=priority, **kwargs)
        begin, end = stages.forced
        for place in range(begin, min(end, len(output.response_mask))):
            output.response_mask[place] = 0
        if output.response_mask[-1:] == [0] and any(output.response_mask):
            output.extra_fields[LAST_FIELD] = begin
        output.extra_fields[FORCED] = float(end > begin)
        output.extra_fields[THINKING_LIMIT] = stages.budget
        return output


class Stages:
    """Answers one ``generate`` by asking for the thinking, ending it if need be, and asking for the answer.

    ``forced`` are the first and the past-the-last token that was put in; ``budget`` is what the thinking had.
    """

    def __init__(
        self,
        inner: Any,
        budget: int,
        answer: int,
        marker: int,
        closing: Sequence[int],
        ends: frozenset[int],
        limit_after: Callable[[int], int],
    ) -> None:
        self._inner, self._answer, self._marker = inner, answer, marker
        self._closing, self._ends, self._limit_after = list(closing), ends, limit_after
        self.budget = budget
        self.forced = (0, 0)

    async def generate(self, *, prompt_ids: list[int], sampling_params: Mapping[str, Any], **kwargs: Any) -> Any:
        """One response, as the engine would give it in one piece."""
        limit = int(sampling_params.get("max_tokens") or self._limit_after(len(prompt_ids)))
        self.budget = min(self.budget, limit - len(self._closing) - self._answer)
        if self.budget < 1:
            raise ConfigError(
                f"limit.thinking: a response may have {limit} tokens, which leaves none for thinking beside "
                f"{len(self._closing)} that end it and {self._answer} for the answer; raise data.max_response_length, "
                "or lower limit.thinking.answer"
            )
        ends = [*(sampling_params.get("stop_token_ids") or ()), self._marker]
        thinking = {**sampling_params, "stop_token_ids": ends, "max_tokens": self.budget}
        first = await self._inner.generate(prompt_ids=prompt_ids, sampling_params=thinking, **kwargs)
        ids, last = list(first.token_ids), ([*first.token_ids] or [None])[-1]
        if last == self._marker:
            room = limit - len(ids)
        elif last in self._ends or len(ids) < self.budget:
            return first  # the response is over, or the engine was interrupted
        else:
            self.forced = (len(ids), len(ids) + len(self._closing))
            ids += self._closing
            room = min(self._answer, limit - len(ids))
        answering = {**sampling_params, "max_tokens": room}
        second = await self._inner.generate(prompt_ids=[*prompt_ids, *ids], sampling_params=answering, **kwargs)
        return self._whole(first, second, room)

    def _whole(self, first: Any, second: Any, room: int) -> Any:
        """One reply of two, with what was put in between them."""
        put_in = self.forced[1] - self.forced[0]
        whole = list(second.token_ids)
        log_probs = None
        if first.log_probs and second.log_probs is not None:
            log_probs = [*first.log_probs, *[0.0] * put_in, *second.log_probs]
        fields = {**first.extra_fields, **second.extra_fields}
        if OLDEST in first.extra_fields:
            fields[OLDEST] = first.extra_fields[OLDEST]
        cut = len(whole) >= room and not (whole and whole[-1] in self._ends)
        reason = "length" if cut and second.stop_reason not in CUT else second.stop_reason
        ids = [*first.token_ids, *self._closing[:put_in], *whole]
        changes = {"token_ids": ids, "log_probs": log_probs, "extra_fields": fields, "stop_reason": reason}
        return second.model_copy(update=changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
