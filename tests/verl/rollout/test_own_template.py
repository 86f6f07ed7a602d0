"""A row's own arguments for the chat template, in verl's own agent loops."""

import asyncio
import copy

import pytest
from verl.workers.rollout.replica import TokenOutput

from leanthink.core.errors import ConfigError
from leanthink.testbed.effort import Effort
from leanthink.testbed.rows import rows
from leanthink.testbed.search import Search
from leanthink.testbed.tokenizer import build_tokenizer
from leanthink.training.names import key_of
from leanthink.verl.rollout.single_turn import FactsAgentLoop
from verl_loops import config_of, loop_of, talk

MESSAGES = [{"role": "user", "content": "21 42 times 91 is 139 ?"}]
LOW, HIGH = ({"chat_template_kwargs": {"reasoning_effort": level, "documents": None}} for level in ("low", "high"))


def prompts(tokenizer, *infos):
    """What the engine is asked, one response after the other by copies of one loop, as on the CPU."""
    calls = []

    async def generate(**call):
        calls.append(call["prompt_ids"])
        ids = [tokenizer.eos_token_id]
        return TokenOutput(token_ids=ids, log_probs=[0.0], stop_reason="stop", extra_fields={})

    async def run():
        made = loop_of(FactsAgentLoop, config_of("effort", "effort"), tokenizer, generate)
        for info in infos:
            await copy.copy(made).run({}, raw_prompt=MESSAGES, **({} if info is None else {"extra_info": info}))

    asyncio.run(run())
    return [tokenizer.decode(ids) for ids in calls]


def test_each_response_reads_its_own_rows_level_and_no_others():
    question = MESSAGES[0]["content"]
    told = prompts(build_tokenizer(Effort()), LOW, None, HIGH, {}, {"chat_template_kwargs": None})
    plain = f"<user> {question} <assistant>"
    assert told == [f"<user> low {question} <assistant>", plain, f"<user> high {question} <assistant>", plain, plain]


def test_a_template_that_does_not_read_it_is_told():
    with pytest.raises(ConfigError, match="the rows give the chat template 'reasoning_effort', which the model's does"):
        prompts(build_tokenizer(Search()), LOW)


def test_the_loop_of_tools_takes_them_too():
    with pytest.raises(ConfigError, match="which the model's does not read"):
        talk("21 42 times 91 is 139 ?", [], extra_info=LOW)


def test_levels_are_prompts_of_their_own():
    keys = {key_of(MESSAGES, info) for info in (LOW, HIGH, {}, {"chat_template_kwargs": {"reasoning_effort": None}})}
    assert len(keys) == 3
    assert key_of(MESSAGES, {"prompt_key": "own", **LOW}) == "own"


def test_the_testbeds_rows_come_at_every_level():
    first, second, third, fourth = rows("test", 4, 0, Effort())
    assert first["prompt"] == second["prompt"] == third["prompt"] != fourth["prompt"]
    levels = [
        (row["extra_info"]["effort"], row["extra_info"]["effort_name"], row["extra_info"]["chat_template_kwargs"])
        for row in (first, second, third)
    ]
    assert levels == [(n, name, {"reasoning_effort": name}) for n, name in enumerate(("low", "medium", "high"))]
