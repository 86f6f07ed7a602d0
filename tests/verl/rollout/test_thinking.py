"""The agent loop with a budget of thinking: what is asked of the engine, and what training sees."""

import asyncio
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.workers.rollout.replica import TokenOutput

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.testbed import policy_path
from leanthink.verl.rollout.loops import THINKING, loop_of
from leanthink.verl.rollout.thinking import THINKING_FIELD, ThinkingAgentLoop
from leanthink.verl.settings import Settings
from leanthink.verl.start.launch import Job
from verl_single_turn import MESSAGES, TOKENIZER, prompt_ids, single_turn

PROMPT = prompt_ids(MESSAGES)
CLOSE, EOS = TOKENIZER.encode("</think>")[0], TOKENIZER.eos_token_id
SIX = TOKENIZER.encode("<think> 47 + 12 = 59")
ANSWER = TOKENIZER.encode(r"\boxed{ 59 <eos>")  # three tokens
LIMIT = "limit={thinking: {at_most: 6, answer: 4, closing: '= </think>'}}"
CLOSING = TOKENIZER.encode("= </think>")


def respond(monkeypatch, replies, *, limit=LIMIT, room=96, budget=6, reason="completed"):
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
    monkeypatch.setattr(ThinkingAgentLoop, "limit_after", lambda self, tokens: room)
    loop = object.__new__(ThinkingAgentLoop)
    settings = Settings.of(load_recipe("grpo", [limit], profile="cpu"))
    model = {"model": {"path": str(policy_path())}}
    loop.config = OmegaConf.create({"leanthink": settings.node(), "actor_rollout_ref": model})
    loop.tokenizer = TOKENIZER
    loop.server_manager = SimpleNamespace(generate=generate)
    given = {} if budget is None else {THINKING_FIELD: budget}
    output = asyncio.run(loop.run({"temperature": 1.0}, raw_prompt=MESSAGES, **given))
    assert not left
    return output, calls


def test_thinking_that_ends_within_its_budget_goes_on_untouched(monkeypatch):
    thinking = [*SIX[:4], CLOSE]
    output, calls = respond(monkeypatch, [thinking, ANSWER])
    assert output.response_ids == [*thinking, *ANSWER] and output.response_mask == [1] * 8
    assert output.extra_fields["forced"] == 0.0 and output.extra_fields["thinking_limit"] == 6
    assert output.extra_fields["truncated"] is False
    first, second = (call["sampling_params"] for call in calls)
    assert first == {"temperature": 1.0, "stop_token_ids": [CLOSE], "max_tokens": 6}
    assert second == {"temperature": 1.0, "max_tokens": 96 - 5}


def test_thinking_beyond_its_budget_is_ended_and_what_was_put_in_is_masked(monkeypatch):
    output, calls = respond(monkeypatch, [SIX, ANSWER])
    assert output.response_ids == [*SIX, *CLOSING, *ANSWER] and len(output.response_ids) == 11
    assert output.response_mask == [1] * 6 + [0] * 2 + [1] * 3
    assert output.response_logprobs == [-1.0] * 6 + [0.0] * 2 + [-2.0] * 3
    assert (output.extra_fields["forced"], output.extra_fields["truncated"]) == (1.0, False)
    assert output.extra_fields["min_global_steps"] == 1
    assert calls[1]["prompt_ids"] == [*PROMPT, *SIX, *CLOSING] and calls[1]["sampling_params"]["max_tokens"] == 4


def test_where_no_answer_follows_the_reward_has_a_token_of_the_policys(monkeypatch):
    output, _ = respond(monkeypatch, [SIX, []])
    assert output.response_mask == [1] * 6 + [0] * 2 and output.extra_fields["leanthink_last"] == 6
    assert "leanthink_last" not in respond(monkeypatch, [SIX, ANSWER])[0].extra_fields


@pytest.mark.parametrize("reason", ["completed", "stop", "length"])
def test_an_answer_that_fills_its_room_is_cut(monkeypatch, reason):
    cut = TOKENIZER.encode(r"\boxed{ 5 9 5")
    output, _ = respond(monkeypatch, [SIX, cut], reason=reason)
    assert (output.extra_fields["forced"], output.extra_fields["truncated"]) == (1.0, True)


def test_a_response_that_ends_while_it_thinks_has_no_answer_and_is_not_cut(monkeypatch):
    output, calls = respond(monkeypatch, [[*SIX[:4], EOS]])
    assert output.response_mask == [1] * 5 and len(calls) == 1
    assert (output.extra_fields["forced"], output.extra_fields["truncated"]) == (0.0, False)


def test_thinking_that_the_engine_interrupts_is_cut_and_gets_no_answer(monkeypatch):
    output, calls = respond(monkeypatch, [SIX[:4]], reason="aborted")
    assert len(calls) == 1 and output.response_ids == SIX[:4] and 0 not in output.response_mask
    assert (output.extra_fields["forced"], output.extra_fields["truncated"]) == (0.0, True)


def test_an_end_tag_as_the_last_token_of_the_budget_is_the_policys_own(monkeypatch):
    output, _ = respond(monkeypatch, [[*SIX[:5], CLOSE], ANSWER])
    assert output.extra_fields["forced"] == 0.0 and 0 not in output.response_mask


def test_a_budget_beyond_the_room_is_what_the_room_leaves(monkeypatch):
    output, calls = respond(monkeypatch, [SIX, ANSWER], budget=90, room=12)
    assert calls[0]["sampling_params"]["max_tokens"] == 6 and output.extra_fields["thinking_limit"] == 6
    with pytest.raises(ConfigError, match=r"a response may have 6 tokens, which leaves none for thinking beside 2"):
        respond(monkeypatch, [], room=6)


def test_what_cannot_be_is_told(monkeypatch):
    with pytest.raises(ConfigError, match="brings no leanthink_thinking_limit, so leanthink did not hand it out"):
        respond(monkeypatch, [], budget=None)
    with pytest.raises(ConfigError, match=r"marker '= </think>' is 2 tokens of this model"):
        respond(monkeypatch, [], limit="limit={thinking: {at_most: 6, marker: '= </think>', closing: '= </think>'}}")


def test_the_recipes_prompts_go_there_and_sizes_have_to_fit():
    recipe = load_recipe("grpo", [LIMIT])
    assert loop_of(recipe) == THINKING
    made = {"profile": "gpu", "model": "m", "train_files": ("a",), "val_files": ("b",), "folder": "c"}
    keys = Job(recipe=recipe, **made).keys()
    assert keys["+actor_rollout_ref.rollout.agent.agent_loop_manager_class"].endswith("DispatchingManager")
    long = load_recipe("grpo", ["limit={thinking: {at_most: 1000}}"])
    with pytest.raises(ConfigError, match=r"1000 tokens of thinking and 1024 for the answer.*max_response_length 1024"):
        Job(recipe=long, **made).keys()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("stop={stop_bias: {bias: 2.0}}", "StopBias"),
        ("reward={sum: {a: correct, b: stepwise_gain}}", "StepwiseGain"),
        ("reward={sum: {a: correct, b: thinking_compression}}", "ThinkingCompression"),
        ("reward=early_exit", "EarlyExit"),
        ("reward=mode_switch_reward", "ModeSwitchReward"),
    ],
)
def test_what_samples_in_a_way_of_its_own_is_refused_beside_a_budget(change, named):
    with pytest.raises(ConfigError, match=f"{named} and limit Thinking each sample"):
        loop_of(load_recipe("grpo", [LIMIT, change]))
