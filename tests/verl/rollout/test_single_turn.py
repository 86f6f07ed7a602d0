import asyncio
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from leanthink.testbed import policy_path
from leanthink.verl.rollout import single_turn as rollout

END = frozenset({2})
SHARED = {"temperature": 1.0}


@pytest.mark.parametrize(
    ("reason", "tokens", "limit", "truncated"),
    [
        ("length", [5, 5], 9, True),
        ("length", [5, 2], 2, False),  # the async client's word for any response that fills its limit
        ("stop", [5, 5], 2, False),
        ("aborted", [5], 9, True),
        ("completed", [5, 2], 9, False),
        ("completed", [5, 2], 2, False),  # ends exactly at the limit
        ("completed", [5, 5], 2, True),
        ("completed", [5, 5], 9, False),  # a stop string
        (None, [5, 5], 2, True),
        ("completed", [], 2, False),
    ],
)
def test_truncation(reason, tokens, limit, truncated):
    assert rollout.was_truncated(reason, tokens, limit, END) is truncated


def run_loop(monkeypatch, reply, *, response_length=4, max_model_len=None, prompt=(1, 1), asked=None, **fields):
    """Our loop around a stand-in for verl's, which asks the engine and cuts at the limit as verl's does.

    ``asked`` collects the sampling parameters that reach the engine.
    """

    async def verls_run(self, sampling_params, priority=0, **kwargs):
        ids = self._cap_text_prompt_length(list(prompt))
        output = await self.server_manager.generate(
            request_id="r", prompt_ids=ids, sampling_params=sampling_params, image_data=None
        )
        prompt_ids, ids = ids, output.token_ids[: self.rollout_config.response_length]
        return SimpleNamespace(
            prompt_ids=prompt_ids,
            response_ids=ids,
            response_mask=[1] * len(ids),
            response_logprobs=[0.0] * len(ids),
            extra_fields={},
        )

    async def generate(*, sampling_params, **_):
        if asked is not None:
            asked.append(sampling_params)
        return reply

    monkeypatch.setattr(SingleTurnAgentLoop, "run", verls_run)
    monkeypatch.setattr(rollout, "end_ids", lambda path, eos: END)
    loop = object.__new__(rollout.FactsAgentLoop)
    loop.server_manager = SimpleNamespace(generate=generate)
    loop.tokenizer = SimpleNamespace(eos_token_id=2)
    lengths = {"response_length": response_length, "prompt_length": 8, "max_model_len": max_model_len}
    model = {"path": str(policy_path())}
    loop.config = OmegaConf.create({"actor_rollout_ref": {"model": model, "rollout": {"name": "vllm", **lengths}}})
    loop.rollout_config = loop.config.actor_rollout_ref.rollout
    return asyncio.run(loop.run(SHARED, **fields))


def test_the_flag_travels_with_the_output(monkeypatch):
    reply = SimpleNamespace(token_ids=[5, 5, 5, 5], stop_reason="completed")
    assert run_loop(monkeypatch, reply).extra_fields["truncated"] is True


def test_the_models_context_counts_as_a_limit(monkeypatch):
    reply = SimpleNamespace(token_ids=[5, 5, 5], stop_reason="completed")
    assert run_loop(monkeypatch, reply, max_model_len=5).extra_fields["truncated"] is True
    assert run_loop(monkeypatch, reply, max_model_len=64).extra_fields["truncated"] is False


def test_a_response_that_the_models_own_context_cuts_is_truncated(monkeypatch):
    """verl's server puts the model's context in the place of a max_model_len that is null; nobody tells the loop."""
    cut = SimpleNamespace(token_ids=[5] * 254, stop_reason="completed")
    output = run_loop(monkeypatch, cut, response_length=400)
    assert output.extra_fields["truncated"] is True and output.extra_fields["limit"] == 254


@pytest.mark.parametrize(("tokens", "cut"), [(8, 0), (9, 1), (11, 3)])
def test_what_verl_cuts_from_a_prompt_is_counted(monkeypatch, tokens, cut):
    output = run_loop(monkeypatch, SimpleNamespace(token_ids=[2], stop_reason="stop"), prompt=(1,) * tokens)
    assert len(output.prompt_ids) == min(tokens, 8) and output.extra_fields["prompt_cut"] == cut


def test_what_verl_cuts_after_generation_is_truncated(monkeypatch):
    reply = SimpleNamespace(token_ids=[5, 5, 5, 5, 2], stop_reason="completed")
    assert run_loop(monkeypatch, reply).extra_fields["truncated"] is True


def test_an_empty_response_gets_one_masked_token(monkeypatch):
    output = run_loop(monkeypatch, SimpleNamespace(token_ids=[], stop_reason="completed"))
    assert (output.response_ids, output.response_mask, output.response_logprobs) == ([2], [0], [0.0])


def test_a_prompts_limit_reaches_the_engine_and_the_flag(monkeypatch):
    asked = []
    reply = SimpleNamespace(token_ids=[5, 5, 5], stop_reason="completed")
    output = run_loop(monkeypatch, reply, asked=asked, leanthink_limit=3, prompt_key="abc")
    assert asked == [{"temperature": 1.0, "max_tokens": 3}]
    assert output.extra_fields == {"truncated": True, "limit": 3, "prompt_cut": 0, "prompt_key": "abc"}
    assert SHARED == {"temperature": 1.0}  # verl hands the same dict to every response of the prompt


def test_what_ends_at_its_limit_is_complete(monkeypatch):
    reply = SimpleNamespace(token_ids=[5, 5, 2], stop_reason="length")
    assert run_loop(monkeypatch, reply, leanthink_limit=3).extra_fields["truncated"] is False


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"leanthink_limit": 9}, 4),  # never above the response limit
        ({"leanthink_limit": 9, "max_model_len": 5}, 3),
        ({"leanthink_limit": 0}, 1),
        ({"leanthink_limit": 300, "response_length": 400}, 254),  # the model's own context is 256
    ],
)
def test_the_smallest_limit_binds(monkeypatch, limits, expected):
    asked = []
    reply = SimpleNamespace(token_ids=[5], stop_reason="stop")
    assert run_loop(monkeypatch, reply, asked=asked, **limits).extra_fields["limit"] == expected
    assert asked[0]["max_tokens"] == expected


def test_without_a_limit_the_engine_is_asked_as_verl_asks(monkeypatch):
    asked = []
    output = run_loop(monkeypatch, SimpleNamespace(token_ids=[2], stop_reason="stop"), asked=asked)
    assert asked == [SHARED]
    assert output.extra_fields == {"truncated": False, "limit": 4, "prompt_cut": 0}


def test_the_cut_of_a_prompt_is_the_longest_of_its_turns():
    class Verls:
        def _cap_text_prompt_length(self, prompt_ids):
            return prompt_ids[-8:]

    class Loop(rollout.SaysFacts, Verls):
        pass

    loop = Loop()
    assert loop._cap_text_prompt_length(list(range(11))) == list(range(3, 11))
    loop._cap_text_prompt_length(list(range(5)))
    assert loop.prompt_cut == 3
