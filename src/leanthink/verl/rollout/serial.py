"""An agent loop of serial groups: one session samples a full path, its siblings exit from it early.

verl runs all sessions of a prompt in one process, so that siblings find the path by the prompt's id.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

from leanthink.core.batch import PROMPT_KEY
from leanthink.core.limits import LIMIT
from leanthink.rewards import EarlyExit
from leanthink.rewards.early_exit import EXIT_ORDER
from leanthink.training.responses import was_truncated, without_end
from leanthink.verl.rollout.loops import sampling_part
from leanthink.verl.rollout.single_turn import LIMIT_FIELD, FactsAgentLoop


class _Path:
    """A full path that is awaited by its group's sessions, and forgotten once all have come for it."""

    def __init__(self, sessions: int) -> None:
        self.output: asyncio.Future[AgentLoopOutput] = asyncio.get_running_loop().create_future()
        self.sessions = sessions


_paths: Final[dict[str, _Path]] = {}


class SerialAgentLoop(FactsAgentLoop):
    """Session 0 is the default loop; session ``i`` cuts its thinking at the ``i``-th place and has an answer given.

    A session for which there is no place has no response: verl's list of outputs is then empty.
    """

    async def run(
        self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any
    ) -> AgentLoopOutput | list[AgentLoopOutput]:
        """One response of a serial group."""
        uid, session, sessions = str(kwargs["uid"]), int(kwargs["session_id"]), int(self.rollout_config.n)
        path = _paths.setdefault(uid, _Path(sessions))
        try:
            if session > 0:
                return await self._exit(await path.output, session, sessions - 1, sampling_params, priority, kwargs)
            try:
                output = await super().run(sampling_params, priority=priority, **kwargs)
            except BaseException as error:
                path.output.set_exception(error)
                raise
            output.extra_fields[EXIT_ORDER] = float(sessions - 1)
            path.output.set_result(output)
            return output if self._part().include_full_path else []
        finally:
            path.sessions -= 1
            if path.sessions == 0:
                _paths.pop(uid, None)

    async def _exit(
        self,
        path: AgentLoopOutput,
        number: int,
        exits: int,
        sampling_params: dict[str, Any],
        priority: int,
        kwargs: dict[str, Any],
    ) -> AgentLoopOutput | list[AgentLoopOutput]:
        part = self._part()
        ends = self.ends()
        ids = without_end(path.response_ids, ends)
        cuts = part.cuts(ids, partial(self.tokenizer.decode, skip_special_tokens=False), exits)
        if number > len(cuts):
            return []
        prefix = ids[: cuts[number - 1]]
        inducer = self.tokenizer.encode(part.inducer, add_special_tokens=False)
        limit = self.limit_after(len(path.prompt_ids))
        if (asked := kwargs.get(LIMIT_FIELD)) is not None:
            limit = max(1, min(limit, int(asked)))
        left = limit - len(prefix) - len(inducer)
        answer: list[int] = []
        log_probs: list[float] = []
        truncated, fields = True, dict(path.extra_fields)
        if left > 0:
            deterministic = bool(self.rollout_config.get("full_determinism", False))
            reply = await self.server_manager.generate(
                request_id=f"det-{priority}-{number}" if deterministic else uuid4().hex,
                prompt_ids=[*path.prompt_ids, *prefix, *inducer],
                sampling_params={**sampling_params, "max_tokens": left},
                priority=int(priority),
            )
            answer, log_probs = list(reply.token_ids), list(reply.log_probs or [])
            truncated = was_truncated(reply.stop_reason, answer, left, ends)
            fields |= reply.extra_fields
        fields |= {"truncated": truncated, LIMIT: limit, EXIT_ORDER: float(number - 1)}
        if PROMPT_KEY in kwargs:
            fields[PROMPT_KEY] = kwargs[PROMPT_KEY]
        known = path.response_logprobs
        changes = {
            "response_ids": [*prefix, *inducer, *answer],
            "response_mask": [*path.response_mask[: len(prefix)], *([0] * len(inducer)), *([1] * len(answer))],
            "response_logprobs": known and [*known[: len(prefix)], *([0.0] * len(inducer)), *log_probs],
            "extra_fields": fields,
            "routed_experts": None,
            "reward_score": None,
            "metrics": path.metrics.model_copy(),
        }
        cut = {name: value[:limit] if isinstance(value, list) else value for name, value in changes.items()}
        return path.model_copy(update=cut)

    def _part(self) -> EarlyExit:
        return sampling_part(self.config, EarlyExit)
