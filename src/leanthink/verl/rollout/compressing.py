"""An agent loop that compresses: once a response is sampled, all but the valid part of its thinking is cut out.

The trainer sees what is left. What was sampled is gone, but for the columns about it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

from leanthink.rewards import ThinkingCompression
from leanthink.training.facts import prompt_text
from leanthink.training.responses import without_end
from leanthink.verl.rollout.loops import sampling_part
from leanthink.verl.rollout.single_turn import FactsAgentLoop


class CompressingAgentLoop(FactsAgentLoop):
    """The default loop, then LC-R1's cut; its columns travel in the output's extra fields."""

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any) -> AgentLoopOutput:
        """One response, compressed."""
        output = await super().run(sampling_params, priority=priority, **kwargs)
        part = sampling_part(self.config, ThinkingCompression)
        ids = list(output.response_ids)
        sampled = len(without_end(ids, self.ends()))
        decode = partial(self.tokenizer.decode, skip_special_tokens=False)
        question = prompt_text(kwargs["raw_prompt"])
        compressed = await asyncio.to_thread(part.compress, ids[:sampled], decode, question, part.find_extractor())
        left = [*compressed.left, *range(sampled, len(ids))]
        for name in ("response_ids", "response_mask", "response_logprobs"):
            if (values := getattr(output, name)) is not None:
                setattr(output, name, [values[token] for token in left])
        output.routed_experts = None  # of the response as it was sampled
        output.extra_fields |= compressed.columns
        return output
