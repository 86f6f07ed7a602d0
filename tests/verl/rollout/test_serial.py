"""Serial groups: what siblings make of one path, in the layout verl trains on."""

import asyncio
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

from leanthink.recipe.definition import load_recipe
from leanthink.testbed import policy_path
from leanthink.testbed.tokenizer import build_tokenizer
from leanthink.verl.rollout import serial
from leanthink.verl.rollout.single_turn import FactsAgentLoop
from leanthink.verl.settings import Settings

TOKENIZER = build_tokenizer()
PATH = TOKENIZER.encode(r"<think> 47 + 12 = 59 wait = 59 </think> \boxed{ 59 } <eos>")
PROMPT = TOKENIZER.encode("<user> 47 + 12 = <assistant>")
ANSWER = TOKENIZER.encode(r"\boxed{ 59 } <eos>")
CLOSE = TOKENIZER.encode("</think>")


def run_group(
    monkeypatch, *, sessions=4, response_length=96, fail=False, overrides=(), answer=ANSWER, reason="stop", **fields
):
    """All sessions of a prompt at once, after a stand-in for the engine."""
    calls = []

    async def generate(**call):
        calls.append(call)
        return SimpleNamespace(
            token_ids=answer, log_probs=[-0.5] * len(answer), stop_reason=reason, extra_fields={"max_global_steps": 3}
        )

    async def sampled(self, sampling_params, priority=0, **kwargs):
        await asyncio.sleep(0)
        if fail:
            raise RuntimeError("engine is gone")
        return AgentLoopOutput(
            prompt_ids=PROMPT,
            response_ids=PATH,
            response_mask=[1] * len(PATH),
            response_logprobs=[-0.1] * len(PATH),
            metrics=AgentLoopMetrics(),
            num_turns=2,
            extra_fields={"truncated": False, "limit": 96},
        )

    monkeypatch.setattr(FactsAgentLoop, "run", sampled)
    monkeypatch.setattr(FactsAgentLoop, "limit_after", lambda self, prompt_tokens: response_length)
    settings = Settings.of(load_recipe("s_grpo", overrides, profile="cpu"))

    async def everything():
        loops = []
        for session in range(sessions):
            loop = object.__new__(serial.SerialAgentLoop)
            model = {"model": {"path": str(policy_path())}}
            loop.config = OmegaConf.create({"leanthink": settings.node(), "actor_rollout_ref": model})
            loop.rollout_config = OmegaConf.create({"n": sessions, "response_length": response_length})
            loop.tokenizer = TOKENIZER
            loop.server_manager = SimpleNamespace(generate=generate)
            loops.append(loop.run({"temperature": 1.0}, uid="u", session_id=session, **fields))
        return await asyncio.gather(*loops, return_exceptions=True)

    outputs = asyncio.run(everything())
    assert serial._paths == {}, "a path is forgotten once all have come for it"
    return outputs, calls


def test_exits_share_the_path_up_to_their_cut_and_the_inducer_is_masked(monkeypatch):
    (full, *exits), calls = run_group(monkeypatch)
    assert full.response_ids == PATH and full.extra_fields["exit_order"] == 3.0
    cuts = [one.response_ids.index(CLOSE[0]) for one in exits]
    assert cuts == sorted(set(cuts)) and all(2 <= cut <= 9 for cut in cuts)
    for order, (one, cut) in enumerate(zip(exits, cuts, strict=True)):
        assert one.prompt_ids == PROMPT
        assert one.response_ids == [*PATH[:cut], *CLOSE, *ANSWER]
        assert one.response_mask == [1] * cut + [0] + [1] * len(ANSWER)
        assert one.response_logprobs == [-0.1] * cut + [0.0] + [-0.5] * len(ANSWER)
        assert one.extra_fields["exit_order"] == order and one.extra_fields["truncated"] is False
        assert one.extra_fields["max_global_steps"] == 3
    assert [call["prompt_ids"] for call in calls] == [[*PROMPT, *PATH[:cut], *CLOSE] for cut in cuts]
    assert [call["sampling_params"]["max_tokens"] for call in calls] == [96 - cut - 1 for cut in cuts]


def test_a_session_without_a_place_has_no_response(monkeypatch):
    outputs, calls = run_group(monkeypatch, sessions=12)
    assert outputs[9:] == [[], [], []] and len(calls) == 8


def test_the_full_path_may_be_left_out(monkeypatch):
    outputs, _ = run_group(monkeypatch, overrides=["reward.early_exit.include_full_path=false"])
    assert outputs[0] == [] and len(outputs[1].response_ids) > 0


def test_a_cut_that_fills_the_limit_leaves_a_truncated_exit(monkeypatch):
    outputs, calls = run_group(monkeypatch, sessions=9, response_length=9)
    assert outputs[8].extra_fields["truncated"] is True and len(outputs[8].response_ids) == 9
    assert len(calls) < 8


@pytest.mark.parametrize("asked", [1, 3, 9, 10, 12])
def test_no_exit_is_longer_than_its_limit(monkeypatch, asked):
    (_, *exits), calls = run_group(monkeypatch, sessions=9, leanthink_limit=asked)
    assert all(len(one.response_ids) == len(one.response_mask) <= asked for one in exits if one.response_mask[-1] == 0)
    assert [call["sampling_params"]["max_tokens"] for call in calls if "max_tokens" in call["sampling_params"]] == [
        asked - len(call["prompt_ids"]) + len(PROMPT) for call in calls
    ]


def test_a_path_that_fails_fails_its_siblings(monkeypatch):
    outputs, calls = run_group(monkeypatch, fail=True)
    assert all(isinstance(one, RuntimeError) for one in outputs) and calls == []


@pytest.mark.parametrize("name", ["s_grpo"])
def test_the_recipe_sends_its_prompts_there(name):
    from leanthink.verl.rollout.loops import SERIAL, loop_of

    assert loop_of(load_recipe(name)) == SERIAL


def test_an_exit_that_fills_what_is_left_of_its_limit_is_truncated(monkeypatch):
    """As verl's vLLM server, which says "completed" of all responses: what is left, not the limit, was filled."""
    (_, one), _ = run_group(monkeypatch, sessions=2)
    limit = one.response_ids.index(CLOSE[0]) + 1 + len(ANSWER) - 1
    for room, cut in ((limit, True), (limit + 1, False)):
        (_, one), _ = run_group(
            monkeypatch, sessions=2, response_length=room, answer=ANSWER[:-1], reason="completed"
        )  # fmt: skip
        assert one.extra_fields["truncated"] is cut and len(one.response_ids) == limit
