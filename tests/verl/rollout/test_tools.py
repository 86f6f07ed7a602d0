"""The agent loop of several turns with tools: what is asked of the engine, and what is known of a response."""

import asyncio
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop
from verl.tools.schemas import ToolResponse
from verl.workers.rollout.replica import TokenOutput

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.testbed import policy_path
from leanthink.training.responses import end_ids
from leanthink.verl import TOOLS, TURNS_FIELD
from leanthink.verl.rollout.loops import loop_of
from leanthink.verl.rollout.tools import Recorder, ToolsAgentLoop
from leanthink.verl.start.launch import Job
from verl_single_turn import TOKENIZER

EOS = TOKENIZER.eos_token_id
CALL, ANSWER = TOKENIZER.encode("47 + 12 ="), [*TOKENIZER.encode(r"<think> </think> \boxed{ 59"), EOS]
TOOL = TOKENIZER.encode("59 59 59")


def conversation(turns, answers=("59",)):
    """verl's loop as far as ours sees it: each turn is generated, a call is answered by the tool."""

    async def run(self, sampling_params, priority=0, **kwargs):
        ids, mask, log_probs = [], [], []
        for number in range(turns):
            reply = await self.server_manager.generate(
                request_id="r", prompt_ids=[1, 2, 3, *ids], sampling_params=sampling_params
            )
            ids, mask = [*ids, *reply.token_ids], [*mask, *[1] * len(reply.token_ids)]
            log_probs += reply.log_probs
            if number < turns - 1:
                await self._call_tool(answers[number], {}, None)
                ids, mask, log_probs = [*ids, *TOOL], [*mask, *[0] * len(TOOL)], [*log_probs, *[0.0] * len(TOOL)]
        kept = self.response_length
        return SimpleNamespace(
            prompt_ids=[1, 2, 3],
            response_ids=ids[:kept],
            response_mask=mask[:kept],
            response_logprobs=log_probs[:kept],
            extra_fields={},
        )

    return run


def respond(monkeypatch, replies, *, answers=("59",), reason="completed", room=60, context=None, **given):
    calls, left = [], list(replies)

    async def generate(**call):
        calls.append(call)
        ids = left.pop(0)
        return TokenOutput(token_ids=ids, log_probs=[-0.5] * len(ids), stop_reason=reason)

    async def call_tool(self, text, *_):
        return ToolResponse(text=text), 0.0, {}

    async def extract(ids, tools):
        return "", ["call"] if ids == CALL else []

    monkeypatch.setattr(ToolAgentLoop, "run", conversation(len(replies), answers))
    monkeypatch.setattr(ToolAgentLoop, "_call_tool", call_tool)
    loop = object.__new__(ToolsAgentLoop)
    rollout = {"name": "vllm", "max_model_len": context}
    loop.config = OmegaConf.create({"actor_rollout_ref": {"model": {"path": str(policy_path())}, "rollout": rollout}})
    loop.prompt_length, loop.response_length, loop.tools = 16, room, {}
    loop.tool_parser = SimpleNamespace(extract_tool_calls=extract)
    loop.tokenizer = TOKENIZER
    loop.server_manager = SimpleNamespace(generate=generate)
    output = asyncio.run(loop.run({"temperature": 1.0}, **given))
    return output, calls


def test_what_the_policy_wrote_and_what_it_read_are_counted_apart(monkeypatch):
    output, calls = respond(monkeypatch, [CALL, ANSWER], prompt_key="sum")
    fields = output.extra_fields
    written, row = len(CALL) + len(ANSWER), len(CALL) + len(TOOL) + len(ANSWER)
    assert fields[TURNS_FIELD] == [(0, len(CALL)), (len(CALL) + len(TOOL), row)]
    assert (fields["tool_tokens"], fields["context_tokens"]) == (row - written, 3 + row)
    assert (fields["assistant_turns"], fields["tool_calls"], fields["failed_calls"]) == (2, 1, 0)
    assert fields["truncated"] is False and fields["prompt_key"] == "sum" and fields["wall_seconds"] >= 0
    assert [call["sampling_params"]["max_tokens"] for call in calls] == [60, 60 - len(CALL)]


@pytest.mark.parametrize(
    "text", ["Unknown function 'x'. Available", "Invalid JSON in arguments for 'x'", "Error executing tool 'x': no"]
)
def test_a_call_that_no_tool_could_answer_has_failed(monkeypatch, text):
    output, _ = respond(monkeypatch, [CALL, ANSWER], answers=(text,))
    assert (output.extra_fields["tool_calls"], output.extra_fields["failed_calls"]) == (1, 1)


def test_the_limit_is_of_all_that_the_policy_writes(monkeypatch):
    limit = len(CALL) + 3
    output, calls = respond(monkeypatch, [CALL, ANSWER[:3]], leanthink_limit=limit)
    assert [call["sampling_params"]["max_tokens"] for call in calls] == [limit, 3]
    assert (output.extra_fields["limit"], output.extra_fields["truncated"]) == (limit, True)


@pytest.mark.parametrize("reason", ["completed", "length"])
def test_a_conversation_that_ends_in_a_call_is_cut(monkeypatch, reason):
    output, _ = respond(monkeypatch, [CALL, CALL], reason=reason)
    assert output.extra_fields["truncated"] is True
    kept, _ = respond(monkeypatch, [CALL, ANSWER], reason="stop")
    assert kept.extra_fields["truncated"] is False


@pytest.mark.parametrize(("context", "truncated"), [(3 + len(CALL) + len(TOOL) + 3, True), (None, False)])
def test_a_turn_that_the_engines_context_ends_is_cut(monkeypatch, context, truncated):
    output, calls = respond(monkeypatch, [CALL, ANSWER[:3]], context=context)
    assert output.extra_fields["truncated"] is truncated
    assert calls[1]["sampling_params"]["max_tokens"] == (3 if context else 60 - len(CALL))


def test_what_verl_cuts_off_the_row_is_cut(monkeypatch):
    output, _ = respond(monkeypatch, [CALL, ANSWER], room=len(CALL) + len(TOOL) + 2, reason="stop")
    assert output.extra_fields["truncated"] is True


def test_an_empty_conversation_gets_a_masked_end(monkeypatch):
    output, _ = respond(monkeypatch, [[]], reason="stop")
    assert (output.response_ids, output.response_mask, output.response_logprobs) == ([EOS], [0], [0.0])
    assert output.extra_fields[TURNS_FIELD] == []


def test_no_turn_gets_less_than_a_token():
    async def generate(**call):
        return TokenOutput(token_ids=[1] * call["sampling_params"]["max_tokens"], log_probs=[])

    recorder = Recorder(SimpleNamespace(generate=generate), 2, 9)
    for prompt in ([1], [1] * 8):
        asyncio.run(recorder.generate(prompt_ids=prompt, sampling_params={}))
    assert recorder.limits == [2, 1] and recorder.written == 3


def test_the_recipe_goes_there_in_training_and_validation_and_refuses_what_knows_one_turn():
    recipe = load_recipe("tool_cost")
    assert loop_of(recipe) == TOOLS
    made = {"profile": "gpu", "model": "m", "train_files": ("a",), "val_files": ("b",), "folder": "c"}
    keys = Job(recipe=recipe, **made).keys()
    assert keys["actor_rollout_ref.rollout.agent.default_agent_loop"] == TOOLS
    for changes, told in (
        (["reward=early_exit"], "EarlyExit samples a response of one turn, and agent: tools has several"),
        (["limit={thinking: {at_most: 9}}"], "limit Thinking samples a response of one turn"),
        (["limit={thinking: {of: {per_pass_rate: {thresholds: [0.5], lengths: [9, 4]}}}}"], "limit Thinking samples"),
        (["reward={sum: {a: correct, b: stepwise_gain}}"], "StepwiseGain samples a response of one turn"),
        (["reward={sum: {a: correct, b: thinking_compression}}"], "ThinkingCompression samples a response of one turn"),
        (["reward=mode_switch_reward"], "ModeSwitchReward samples a response of one turn"),
        (["stop={stop_bias: {bias: 2.0}}"], "StopBias samples a response of one turn"),
        (["reward={sum: {a: correct, b: token_repetition}}"], "Sum pays single tokens, whose places are not known"),
    ):
        with pytest.raises(ConfigError, match=told):
            loop_of(load_recipe("grpo", ["agent=tools", *changes]))


def test_the_ends_are_the_models():
    assert EOS in end_ids(str(policy_path()), EOS)
