"""verl's single-turn loop, less what needs a running verl, for tests of the loops that are built on it."""

from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

from leanthink.testbed.tokenizer import build_tokenizer

TOKENIZER = build_tokenizer()
MESSAGES = [{"role": "user", "content": "47 + 12 ="}]


def prompt_ids(messages):
    return TOKENIZER.encode(f"<user> {messages[-1]['content']} <assistant>")


async def single_turn(self, sampling_params, priority=0, **kwargs):
    """In the place of ``SingleTurnAgentLoop.run``."""
    ids = prompt_ids(kwargs["raw_prompt"])
    reply = await self.server_manager.generate(request_id="r", prompt_ids=ids, sampling_params=sampling_params)
    return AgentLoopOutput(
        prompt_ids=ids,
        response_ids=reply.token_ids,
        response_mask=[1] * len(reply.token_ids),
        response_logprobs=reply.log_probs,
        metrics=AgentLoopMetrics(),
        extra_fields=reply.extra_fields,
    )
