import asyncio
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.workers.rollout.replica import TokenOutput

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.testbed import policy_path
from leanthink.testbed.tokenizer import build_tokenizer
from leanthink.verl.rollout import probing
from leanthink.verl.rollout.probes import PROBED
from leanthink.verl.rollout.single_turn import FactsAgentLoop
from leanthink.verl.settings import Settings
from verl_single_turn import MESSAGES, single_turn

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
        self.request_id = "abc"
        return SimpleNamespace(prompt_ids=PROMPT, response_ids=RESPONSE, extra_fields={"truncated": False})

    monkeypatch.setattr(FactsAgentLoop, "run", sampled)
    settings = Settings.of(load_recipe(recipe, profile="cpu"))
    model = {"model": {"path": str(policy_path())}}
    loop = object.__new__(probing.ProbingAgentLoop)
    rollout = {"rollout": {"name": "vllm", "prompt_length": 16, "response_length": 96, "max_model_len": context}}
    loop.config = OmegaConf.create({"leanthink": settings.node(), "actor_rollout_ref": {**model, **rollout}})
    loop.rollout_config = OmegaConf.create({"full_determinism": full_determinism, "seed": 7})
    loop.tokenizer = TOKENIZER
    loop.server_manager = SimpleNamespace(generate=generate)
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


def test_a_responses_limit_is_not_that_of_its_probes(monkeypatch):
    """They are asked by the client itself, with all that comes between it and a response gone."""
    asked = []

    async def generate(*, prompt_ids, sampling_params, **_):
        asked.append(sampling_params["max_tokens"])
        ids = RESPONSE if len(asked) == 1 else ANSWER
        return TokenOutput(token_ids=ids, log_probs=[-1.0] * len(ids), stop_reason="completed")

    monkeypatch.setattr(SingleTurnAgentLoop, "run", single_turn)
    loop = object.__new__(probing.ProbingAgentLoop)
    node = Settings.of(load_recipe("vsrm_rpp", profile="cpu")).node()
    rollout = {"name": "vllm", "prompt_length": 16, "response_length": 96, "max_model_len": None}
    model = {"path": str(policy_path())}
    loop.config = OmegaConf.create({"leanthink": node, "actor_rollout_ref": {"rollout": rollout, "model": model}})
    loop.rollout_config = loop.config.actor_rollout_ref.rollout
    loop.tokenizer = TOKENIZER
    loop.server_manager = SimpleNamespace(generate=generate)
    fields = {"leanthink_limit": 40, "reward_model": {"ground_truth": "59"}}
    output = asyncio.run(loop.run({"temperature": 1.0}, raw_prompt=MESSAGES, **fields))
    assert output.extra_fields["limit"] == 40 and output.extra_fields[PROBED]["asked"] == 2 * PROBES
    assert asked == [40] + [6] * 2 * PROBES


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
