"""The agent loop that ends thinking sooner: what is asked of the engine, and what training sees."""

import asyncio
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.workers.rollout.replica import TokenOutput

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.testbed import policy_path
from leanthink.verl.rollout.loops import STOPPING, loop_of
from leanthink.verl.rollout.stopping import StoppingAgentLoop
from leanthink.verl.settings import Settings
from leanthink.verl.start.launch import Job
from verl_single_turn import MESSAGES, TOKENIZER, prompt_ids, single_turn

PROMPT = prompt_ids(MESSAGES)
CLOSE, EOS = TOKENIZER.encode("</think>")[0], TOKENIZER.eos_token_id
THINK = TOKENIZER.encode("<think> 47 + 12 = 59")
ANSWER = TOKENIZER.encode(r"\boxed{ 59 } <eos>")
STOP = "stop={stop_bias: {bias: 2.0, at_least: 4}}"


def respond(monkeypatch, replies, *, stop=STOP, room=96, reason="completed", engine=None):
    """A response, and the requests it took; the engine gives one of ``replies`` after the other."""
    calls, left = [], list(replies)

    async def generate(**call):
        calls.append(call)
        ids = left.pop(0)
        fields = {"min_global_steps": len(calls), "max_global_steps": len(calls)}
        return TokenOutput(
            token_ids=ids, log_probs=[-float(len(calls))] * len(ids), stop_reason=reason, extra_fields=fields
        )

    monkeypatch.setattr(SingleTurnAgentLoop, "run", single_turn)
    monkeypatch.setattr(StoppingAgentLoop, "limit_after", lambda self, tokens: room)
    loop = object.__new__(StoppingAgentLoop)
    settings = Settings.of(load_recipe("grpo", [stop], profile="cpu"))
    model = {"model": {"path": str(policy_path())}}
    loop.config = OmegaConf.create({"leanthink": settings.node(), "actor_rollout_ref": model})
    loop.tokenizer = TOKENIZER
    loop.server_manager = SimpleNamespace(generate=engine or generate)
    output = asyncio.run(loop.run({"temperature": 1.0}, raw_prompt=MESSAGES))
    assert not left
    return output, calls


def test_the_beginning_and_the_answer_are_sampled_without_the_shift(monkeypatch):
    output, calls = respond(monkeypatch, [THINK[:4], [*THINK[4:], CLOSE], ANSWER])
    assert output.response_ids == [*THINK, CLOSE, *ANSWER]
    assert output.response_logprobs == [-1.0] * 4 + [-2.0] * (len(THINK) - 3) + [-3.0] * len(ANSWER)
    first, second, third = (call["sampling_params"] for call in calls)
    assert first == {"temperature": 1.0, "stop_token_ids": [CLOSE], "max_tokens": 4}
    assert second == {"temperature": 1.0, "stop_token_ids": [CLOSE], "logit_bias": {CLOSE: 2.0}, "max_tokens": 92}
    assert third == {"temperature": 1.0, "max_tokens": 96 - len(THINK) - 1}
    assert [call["prompt_ids"] for call in calls] == [
        PROMPT,
        [*PROMPT, *THINK[:4]],
        [*PROMPT, *THINK, CLOSE],
    ]
    assert output.extra_fields["truncated"] is False and output.extra_fields["limit"] == 96
    assert (output.extra_fields["min_global_steps"], output.extra_fields["max_global_steps"]) == (1, 3)


@pytest.mark.parametrize(
    ("replies", "requests"),
    [
        ([[THINK[0], CLOSE], ANSWER], 2),  # thinking ends by itself before the bias may act
        ([[*THINK[:3], CLOSE], ANSWER], 2),  # just there
        ([[THINK[0], EOS]], 1),  # the response ends while it thinks
        ([[*THINK[:3], EOS]], 1),
        ([THINK[:4], [EOS]], 2),
        ([[]], 1),  # an interrupted engine
    ],
)
def test_no_request_is_made_for_what_has_ended(monkeypatch, replies, requests):
    output, calls = respond(monkeypatch, replies)
    assert len(calls) == requests
    assert output.response_ids == ([token for reply in replies for token in reply] or [EOS])


def test_without_a_least_the_bias_acts_from_the_first_token(monkeypatch):
    _, calls = respond(monkeypatch, [[CLOSE], ANSWER], stop="stop={stop_bias: {bias: 2.0}}")
    assert calls[0]["sampling_params"]["logit_bias"] == {CLOSE: 2.0} and calls[0]["prompt_ids"] == PROMPT


@pytest.mark.parametrize("reason", ["completed", "stop"])
def test_thinking_that_ends_just_at_the_limit_has_no_answer_and_is_cut(monkeypatch, reason):
    output, _ = respond(monkeypatch, [THINK[:4], [*THINK[4:5], CLOSE]], room=6, reason=reason)
    assert output.extra_fields["truncated"] is True


@pytest.mark.parametrize("least", [0, 1, 4])
@pytest.mark.parametrize("room", range(1, 7))
def test_no_response_is_longer_than_its_limit(monkeypatch, room, least):
    """With an engine that keeps to its own limit, as verl's do, and never writes less than one token."""
    said = [*THINK[:2], CLOSE, *ANSWER]
    place = []

    async def generate(*, prompt_ids, sampling_params, **_):
        start = len(prompt_ids) - len(PROMPT)
        ids = []
        for token in said[start : start + max(1, sampling_params["max_tokens"])]:
            ids.append(token)
            if token in (EOS, *sampling_params.get("stop_token_ids", ())):
                break
        place.append(len(ids))
        return TokenOutput(token_ids=ids, log_probs=[-1.0] * len(ids), stop_reason="completed")

    output, _ = respond(
        monkeypatch, [], stop=f"stop={{stop_bias: {{bias: 2.0, at_least: {least}}}}}", room=room, engine=generate
    )
    assert output.response_ids == said[:room] and sum(place) == room
    assert output.extra_fields["truncated"] is True


def test_a_marker_of_several_tokens_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match="marker '</think> 4' is 2 tokens of this model"):
        respond(monkeypatch, [], stop="stop={stop_bias: {bias: 2.0, marker: '</think> 4'}}")


def job(recipe, *overrides):
    return Job(
        recipe=load_recipe(recipe, overrides, profile="cpu"),
        profile="cpu",
        model="m",
        train_files=("t",),
        val_files=("v",),
        folder="c",
        gpus=1,
        extra={key: value == "true" for key, value in (text.split("=") for text in overrides if "bypass" in text)},
    )


def test_a_recipe_with_a_stop_goes_there_and_computes_log_probabilities_anew():
    assert loop_of(load_recipe("tldr", [STOP])) == STOPPING and loop_of(load_recipe("tldr")) is None
    assert job("tldr", STOP).keys()["algorithm.rollout_correction.bypass_mode"] is False
    with pytest.raises(ConfigError, match="do not sample a token as the policy does"):
        job("tldr", STOP, "algorithm.rollout_correction.bypass_mode=true").keys()


def test_two_ways_of_sampling_are_refused():
    with pytest.raises(ConfigError, match="EarlyExit and StopBias each sample responses in a way of their own"):
        loop_of(load_recipe("s_grpo", [STOP]))
