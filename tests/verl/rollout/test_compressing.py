"""The agent loop that cuts a thinking: what is left of a response for the trainer."""

import asyncio
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from leanthink.core.errors import BatchError
from leanthink.recipe.definition import load_recipe
from leanthink.testbed import policy_path
from leanthink.testbed.tokenizer import build_tokenizer
from leanthink.verl.rollout import compressing
from leanthink.verl.rollout.single_turn import FactsAgentLoop
from leanthink.verl.settings import Settings

TOKENIZER = build_tokenizer()
RESPONSE = TOKENIZER.encode(r"<think> 47 + 12 = 59 wait + 12 = 59 </think> \boxed{ 59 } <eos>")
MESSAGES = [{"role": "user", "content": "47 + 12 ="}]


def run_loop(monkeypatch, overrides=()):
    async def sampled(self, sampling_params, priority=0, **kwargs):
        count = len(RESPONSE)
        return SimpleNamespace(
            response_ids=RESPONSE,
            response_mask=[1] * count,
            response_logprobs=[-float(token) for token in range(count)],
            routed_experts=None,
            extra_fields={"truncated": False},
        )

    monkeypatch.setattr(FactsAgentLoop, "run", sampled)
    loop = object.__new__(compressing.CompressingAgentLoop)
    settings = Settings.of(load_recipe("lc_r1", overrides, profile="cpu"))
    model = {"model": {"path": str(policy_path())}}
    loop.config = OmegaConf.create({"leanthink": settings.node(), "actor_rollout_ref": model})
    loop.tokenizer = TOKENIZER
    return asyncio.run(loop.run({"temperature": 1.0}, raw_prompt=MESSAGES))


def test_what_is_left_keeps_its_tokens_mask_and_log_probabilities(monkeypatch):
    output = run_loop(monkeypatch)
    assert TOKENIZER.decode(output.response_ids) == r"<think> 47 + 12 = 59 </think> \boxed{ 59 } <eos>"
    kept = [*range(6), *range(11, 16)]
    assert output.response_logprobs == [-float(token) for token in kept]
    assert output.response_mask == [1] * len(kept)
    columns = {"thinking_tokens": 10.0, "kept_thinking_tokens": 5.0, "answer_kept": 1.0, "thinking_end_token": 6.0}
    assert output.extra_fields == {"truncated": False, **columns}


def asks_for_the_question(question: str, thinking: str, answer: str) -> str:
    assert question == "47 + 12 ="
    return ""


def invents(question: str, thinking: str, answer: str) -> str:
    return "something else"


def test_an_extractor_of_ones_own_gets_question_thinking_and_answer(monkeypatch):
    own = "reward.sum.compress.thinking_compression.extractor"
    output = run_loop(monkeypatch, [f"{own}='{__name__}:asks_for_the_question'"])
    assert TOKENIZER.decode(output.response_ids) == r"<think> </think> \boxed{ 59 } <eos>"
    with pytest.raises(BatchError, match="no beginning of"):
        run_loop(monkeypatch, [f"{own}='{__name__}:invents'"])
