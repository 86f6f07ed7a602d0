"""Who judges responses on the CPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("verl", reason="the CPU profile's workers are verl's")

from leanthink.verl.cpu import agents


@pytest.mark.parametrize(
    ("model", "function", "here"), [(False, None, True), (True, None, False), (False, "mine.py", False)]
)
def test_what_a_reward_model_or_a_function_of_ones_own_judges_is_not_judged_here(
    monkeypatch: pytest.MonkeyPatch, model: bool, function: str | None, here: bool
) -> None:
    def begin(worker: Any, config: Any) -> None:
        worker.llm_client, worker.tokenizer = object(), "tokenizer"

    monkeypatch.setattr(agents._WORKER, "__init__", begin)
    monkeypatch.setattr(agents, "gather_puts", lambda kind: None)
    monkeypatch.setattr(agents, "fact_finder", lambda config, tokenizer: f"finder of {tokenizer}")
    reward = SimpleNamespace(
        reward_model=SimpleNamespace(enable=model), custom_reward_function=SimpleNamespace(path=function)
    )
    rollout = SimpleNamespace(name="another")
    config = SimpleNamespace(reward=reward, actor_rollout_ref=SimpleNamespace(rollout=rollout))
    worker = agents.CpuAgentLoopWorker(config)
    assert worker._finder == ("finder of tokenizer" if here else None)
