"""The agent loop of two modes: what is asked of the engine, and what training sees."""

import asyncio
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.workers.rollout.replica import TokenOutput

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.testbed import policy_path
from leanthink.verl.rollout import modes
from leanthink.verl.rollout.loops import MODES, check_rollouts, loop_of
from leanthink.verl.settings import Settings
from verl_single_turn import MESSAGES, TOKENIZER, prompt_ids, single_turn

ANSWER = TOKENIZER.encode(r"\boxed{ 59 } <eos>")


def run_session(monkeypatch, session, n=4, overrides=(), answer=ANSWER, room=96, recipe="adaptive_deep"):
    calls = []

    async def generate(**call):
        calls.append(call)
        return TokenOutput(token_ids=answer, log_probs=[-0.5] * len(answer), stop_reason="completed")

    async def initial(self, messages, **_):
        return prompt_ids(messages)

    monkeypatch.setattr(SingleTurnAgentLoop, "run", single_turn)
    monkeypatch.setattr(modes.ModesAgentLoop, "ct_build_initial_tokens", initial, raising=False)
    monkeypatch.setattr(modes.ModesAgentLoop, "limit_after", lambda self, tokens: room)
    loop = object.__new__(modes.ModesAgentLoop)
    settings = Settings.of(load_recipe(recipe, overrides, profile="cpu"))
    model = {"model": {"path": str(policy_path())}}
    loop.config = OmegaConf.create({"leanthink": settings.node(), "actor_rollout_ref": model})
    loop.rollout_config = OmegaConf.create({"n": n})
    loop.tokenizer = TOKENIZER
    loop.server_manager = SimpleNamespace(generate=generate)
    output = asyncio.run(loop.run({"temperature": 1.0}, raw_prompt=MESSAGES, session_id=session))
    return output, calls[0]


@pytest.mark.parametrize(
    ("session", "opening", "mode"), [(0, "<think>", 1.0), (1, "<think>", 1.0), (2, "</think>", 0.0)]
)
def test_each_half_has_its_opening_given_and_masked(monkeypatch, session, opening, mode):
    output, call = run_session(monkeypatch, session)
    token = TOKENIZER.encode(opening)
    assert output.response_ids == [*token, *ANSWER]
    assert output.response_mask == [0] + [1] * len(ANSWER)
    assert output.response_logprobs == [0.0] + [-0.5] * len(ANSWER)
    assert output.extra_fields["mode"] == mode and output.extra_fields["truncated"] is False
    assert call["prompt_ids"] == [*prompt_ids(MESSAGES), *token]
    assert call["sampling_params"] == {"temperature": 1.0, "max_tokens": 95}


def test_of_an_odd_group_one_more_is_long(monkeypatch):
    assert [run_session(monkeypatch, session, n=3)[0].extra_fields["mode"] for session in range(3)] == [1, 1, 0]


def test_the_instruction_is_in_the_rollouts_prompt_and_not_in_trainings(monkeypatch):
    told = ["reward.mode_switch_reward.long_instruction='1 + 1'"]
    output, call = run_session(monkeypatch, 0, overrides=told)
    assert output.prompt_ids == prompt_ids(MESSAGES)
    assert TOKENIZER.decode(call["prompt_ids"]) == "<user> 1 + 1 47 + 12 = <assistant> <think>"


def test_a_response_that_fills_its_limit_is_cut(monkeypatch):
    output, _ = run_session(monkeypatch, 0, answer=TOKENIZER.encode("47 + 12 ="), room=5)
    assert output.extra_fields["truncated"] is True


def test_an_opening_of_several_tokens_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match="is 2 tokens of this model"):
        run_session(monkeypatch, 0, overrides=["reward.mode_switch_reward.long_opening='<think> 47'"])


def test_adaptthinks_first_tokens_are_trained_on_and_short_responses_have_a_limit_of_their_own(monkeypatch):
    for session, opening, limit in ((1, "</think>", 24), (2, "<think>", 96)):
        output, call = run_session(monkeypatch, session, recipe="adaptthink")
        assert output.response_ids == [*TOKENIZER.encode(opening), *ANSWER]
        assert output.response_mask == [1] * (len(ANSWER) + 1)
        assert output.extra_fields["mode"] == float(session == 2) and output.extra_fields["limit"] == limit
        assert call["sampling_params"]["max_tokens"] == limit - 1


@pytest.mark.parametrize(("session", "budget"), [(0, 12), (3, 24), (5, 48), (7, 60)])
def test_hbpos_responses_begin_by_naming_their_budget(monkeypatch, session, budget):
    output, call = run_session(monkeypatch, session, n=8, recipe="hbpo")
    given = TOKENIZER.encode(f"{budget} <think>")
    assert output.response_ids == [*given, *ANSWER] and len(given) == 2
    assert output.response_mask == [1] * (len(ANSWER) + 2)
    assert output.response_logprobs == [0.0, 0.0] + [-0.5] * len(ANSWER)
    assert output.extra_fields["budget"] == budget
    assert call["sampling_params"]["max_tokens"] == 94


def test_an_opening_that_is_not_trained_on_is_masked_whole(monkeypatch):
    part = "reward.sum.{}.of.hierarchical_budget.trained=false"
    off = [part.format(place) for place in ("across.group_normalize", "within.budget_gap")]
    output, _ = run_session(monkeypatch, 0, recipe="hbpo", overrides=off)
    assert output.response_mask == [0, 0] + [1] * len(ANSWER)


def test_the_recipes_send_their_prompts_there():
    assert all(loop_of(load_recipe(name)) == MODES for name in ("adaptive_deep", "adaptthink", "hbpo"))


def test_rollouts_that_cannot_be_shared_out_are_refused_before_anything_starts():
    with pytest.raises(ConfigError, match="6 rollouts do not divide over 4 budgets"):
        check_rollouts(load_recipe("hbpo"), 6)
    check_rollouts(load_recipe("grpo"), 1)


@pytest.mark.parametrize("answer", [[TOKENIZER.eos_token_id], TOKENIZER.encode("47")])
def test_a_limit_of_one_is_filled_by_the_opening(monkeypatch, answer):
    """An engine writes one token at least; it is not the response's."""
    output, _ = run_session(monkeypatch, 0, answer=answer, room=1)
    assert output.response_ids == TOKENIZER.encode("<think>") and output.response_mask == [0]
    assert output.response_logprobs == [0.0] and output.extra_fields["truncated"] is True
