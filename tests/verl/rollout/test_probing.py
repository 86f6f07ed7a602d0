import asyncio
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.testbed import policy_path
from leanthink.testbed.tokenizer import build_tokenizer
from leanthink.verl.rollout import probing
from leanthink.verl.rollout.probes import PROBED
from leanthink.verl.rollout.single_turn import FactsAgentLoop
from leanthink.verl.settings import Settings

TOKENIZER = build_tokenizer()
RESPONSE = TOKENIZER.encode(r"<think> 47 + 12 = 58 wait + 12 = 59 </think> \boxed{ 59 } <eos>")
ANSWER = TOKENIZER.encode(r"\boxed{ 59 } <eos>")
PROBES = 2  # from each prefix, on the CPU profile
PROMPT = TOKENIZER.encode("<user> 47 + 12 = <assistant>")


def run_loop(
    monkeypatch, *, recipe="vsrm_rpp", full_determinism=False, fail=False, gold="59", answer=ANSWER, context=None
):
    """Our loop after a stand-in for the one that samples; the engine always gives the same answer."""
    calls = []

    async def generate(**call):
        calls.append(call)
        if fail:
            raise RuntimeError("engine is gone")
        return SimpleNamespace(token_ids=answer, stop_reason="completed")

    async def sampled(self, sampling_params, priority=0, **kwargs):
        return SimpleNamespace(prompt_ids=PROMPT, response_ids=RESPONSE, extra_fields={"truncated": False})

    monkeypatch.setattr(FactsAgentLoop, "run", sampled)
    settings = Settings.of(load_recipe(recipe, profile="cpu"))
    model = {"model": {"path": str(policy_path())}}
    loop = object.__new__(probing.ProbingAgentLoop)
    rollout = {"rollout": {"name": "vllm", "prompt_length": 16, "response_length": 96, "max_model_len": context}}
    loop.config = OmegaConf.create({"leanthink": settings.node(), "actor_rollout_ref": {**model, **rollout}})
    loop.rollout_config = OmegaConf.create({"full_determinism": full_determinism, "seed": 7})
    loop.tokenizer = TOKENIZER
    loop.server_manager = SimpleNamespace(generate=generate, request_id="abc")
    params = {"temperature": 1.0, "top_p": 0.9, "logprobs": True}
    output = asyncio.run(loop.run(params, priority=5, reward_model={"ground_truth": gold}))
    return output, calls


def test_probes_travel_beside_the_response_and_nothing_else_changes(monkeypatch):
    output, calls = run_loop(monkeypatch)
    probed = output.extra_fields.pop(PROBED)
    assert (output.prompt_ids, output.response_ids, output.extra_fields) == (PROMPT, RESPONSE, {"truncated": False})
    assert probed["cut_tokens"] == [6, 11] and probed["probe_accuracies"] == [1.0, 1.0]
    assert probed["asked"] == len(calls) == 2 * PROBES
    texts = [TOKENIZER.decode(call["prompt_ids"]) for call in calls[::PROBES]]
    assert texts == [
        "<user> 47 + 12 = <assistant> <think> 47 + 12 = 58 </think>",
        "<user> 47 + 12 = <assistant> <think> 47 + 12 = 58 wait + 12 = 59 </think>",
    ]
    for call in calls:
        assert call["request_id"] == "abc" and call["priority"] == 5
        assert call["sampling_params"] == {"temperature": 1.0, "top_p": 0.9, "logprobs": False, "max_tokens": 6}


def test_a_probe_that_the_context_ends_is_truncated(monkeypatch):
    """There are 6 and 11 tokens of thinking and one that closes it; 20 less those and the prompt leaves 7 and 2."""
    output, _ = run_loop(monkeypatch, answer=ANSWER[:2], context=20)
    assert output.extra_fields[PROBED]["truncated"] == PROBES


def test_a_deterministic_engine_gets_ids_and_seeds_that_differ(monkeypatch):
    _, calls = run_loop(monkeypatch, full_determinism=True)
    assert len({call["request_id"] for call in calls}) == len(calls)
    assert [call["sampling_params"]["seed"] for call in calls] == [7, 8] * 2


def test_a_dead_engine_makes_probes_unknown_and_keeps_the_response(monkeypatch):
    output, _ = run_loop(monkeypatch, fail=True)
    assert output.response_ids == RESPONSE
    assert output.extra_fields[PROBED]["probe_accuracies"] == [None, None]
    assert output.extra_fields[PROBED]["unknown"] == 2 * PROBES


def test_without_a_gold_answer_nothing_is_asked(monkeypatch):
    output, calls = run_loop(monkeypatch, gold=None)
    assert calls == [] and output.extra_fields[PROBED]["cut_tokens"] == []


def test_a_recipe_without_probes_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match="recipe grpo has no reward that reads probes"):
        run_loop(monkeypatch, recipe="grpo")
