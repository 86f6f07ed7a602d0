import asyncio
from types import SimpleNamespace

import pytest
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from leanthink.verl import rollout

END = frozenset({2})


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


def run_loop(monkeypatch, reply, *, response_length=4, max_model_len=None, prompt=(1, 1)):
    """Our loop around a stand-in for verl's, which asks the engine and cuts at the limit as verl's does."""

    async def verls_run(self, sampling_params, priority=0, **kwargs):
        output = await self.server_manager.generate(prompt_ids=list(prompt))
        ids = output.token_ids[: self.rollout_config.response_length]
        return SimpleNamespace(
            prompt_ids=list(prompt),
            response_ids=ids,
            response_mask=[1] * len(ids),
            response_logprobs=[0.0] * len(ids),
            extra_fields={},
        )

    async def generate(**_):
        return reply

    monkeypatch.setattr(SingleTurnAgentLoop, "run", verls_run)
    monkeypatch.setattr(rollout, "end_ids", lambda path, eos: END)
    loop = object.__new__(rollout.FactsAgentLoop)
    loop.server_manager = SimpleNamespace(generate=generate)
    loop.tokenizer = SimpleNamespace(eos_token_id=2)
    loop.config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(model=SimpleNamespace(path="")))
    loop.rollout_config = SimpleNamespace(response_length=response_length, prompt_length=8, max_model_len=max_model_len)
    return asyncio.run(loop.run({}))


def test_the_flag_travels_with_the_output(monkeypatch):
    reply = SimpleNamespace(token_ids=[5, 5, 5, 5], stop_reason="completed")
    assert run_loop(monkeypatch, reply).extra_fields["truncated"] is True


def test_the_models_context_counts_as_a_limit(monkeypatch):
    reply = SimpleNamespace(token_ids=[5, 5, 5], stop_reason="completed")
    assert run_loop(monkeypatch, reply, max_model_len=5).extra_fields["truncated"] is True
    assert run_loop(monkeypatch, reply, max_model_len=64).extra_fields["truncated"] is False


def test_what_verl_cuts_after_generation_is_truncated(monkeypatch):
    reply = SimpleNamespace(token_ids=[5, 5, 5, 5, 2], stop_reason="completed")
    assert run_loop(monkeypatch, reply).extra_fields["truncated"] is True


def test_an_empty_response_gets_one_masked_token(monkeypatch):
    output = run_loop(monkeypatch, SimpleNamespace(token_ids=[], stop_reason="completed"))
    assert (output.response_ids, output.response_mask, output.response_logprobs) == ([2], [0], [0.0])
