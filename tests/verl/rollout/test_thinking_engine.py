"""The budget of thinking on the CPU engine itself: real sampling, verl's own loop, counted to the token."""

import asyncio
import copy
import pickle

import pytest

from leanthink.testbed import policy_path
from leanthink.testbed.beds import TESTBEDS
from leanthink.testbed.tokenizer import build_tokenizer
from leanthink.verl.cpu.server import GenerationServer, ServerConfig
from leanthink.verl.rollout.thinking import THINKING_FIELD, ThinkingAgentLoop
from verl_loops import config_of, loop_of

CLOSING = r"</think> \boxed{"
ROOM, ANSWER = 96, 8


def responses(testbed, budgets):
    """What one loop and the engine make of one question for each budget."""
    task = TESTBEDS[testbed].task
    tokenizer, policy = build_tokenizer(task), str(policy_path(testbed))
    limit = f"limit={{thinking: {{at_most: 60, answer: {ANSWER - 2}, closing: '{CLOSING}'}}}}"
    config = config_of("grpo", testbed, (limit,))

    async def run():
        server = GenerationServer(ServerConfig(model_path=policy, prompt_length=16, response_length=ROOM))

        async def generate(**call):
            return pickle.loads(
                pickle.dumps(await server.generate(**call))
            )  # as it comes over from the server's process

        loop = loop_of(ThinkingAgentLoop, config, tokenizer, generate)
        questions = TESTBEDS[testbed].questions("test", len(budgets), 3, task)
        return await asyncio.gather(
            *(
                copy.copy(loop).run(
                    {"temperature": 1.0},
                    raw_prompt=[{"role": "user", "content": question.text}],
                    **{THINKING_FIELD: budget},
                )
                for question, budget in zip(questions, budgets, strict=True)
            )
        )

    return tokenizer, asyncio.run(run())


@pytest.mark.parametrize("testbed", ["chains", "search"])
def test_thinking_holds_its_budget_to_the_token(testbed):
    budgets = [3 + number % 45 for number in range(180)]
    tokenizer, outputs = responses(testbed, budgets)
    close, put_in = tokenizer.encode("</think>")[0], tokenizer.encode(CLOSING)
    forced = 0
    for budget, output in zip(budgets, outputs, strict=True):
        ids, mask = list(output.response_ids), list(output.response_mask)
        written = ids.index(close) if close in ids else len(ids)
        assert output.extra_fields["thinking_limit"] == budget
        if output.extra_fields["forced"]:
            forced += 1
            assert written == budget and mask[:budget] == [1] * budget
            assert ids[budget : budget + 2] == put_in and mask[budget : budget + 2] == [0, 0]
            assert all(mask[budget + 2 :]) and len(ids) <= budget + ANSWER
        else:
            assert all(mask) and (written < budget or (written == len(ids) <= budget))
            assert close in ids or ids[-1] == tokenizer.eos_token_id
    assert 40 < forced < 170  # both kinds are there
