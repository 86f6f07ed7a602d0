"""Prompts go out with their limit; the agent loops are left to the runs with real verl."""

import numpy as np
import pytest
from omegaconf import OmegaConf
from verl.trainer.ppo.v1 import AgentLoopManagerTQ
from verl.utils import tensordict_utils as tu

from leanthink.core.errors import ConfigError
from leanthink.core.limits import PerStep, Thinking
from leanthink.recipe.definition import load_recipe
from leanthink.testbed import policy_path
from leanthink.training import prompt_key
from leanthink.verl import PROBING, THINKING
from leanthink.verl.driver import dispatch
from leanthink.verl.rollout.loops import COMPRESSING
from leanthink.verl.rollout.thinking import THINKING_FIELD
from leanthink.verl.settings import Settings


class Source:
    """Longer by a token for each prompt, and by ten for each step."""

    def __init__(self):
        self.asked = []

    def limits(self, prompts, step):
        self.asked.append((list(prompts), step))
        return [30 + 10 * step + place for place in range(len(prompts))]


def batch_of(*texts, extra_info=None, **data):
    messages = np.empty(len(texts), dtype=object)
    messages[:] = [[{"role": "user", "content": text}] for text in texts]
    infos = np.array(extra_info or [{}] * len(texts), dtype=object)
    batch = tu.get_tensordict({"raw_prompt": messages, "extra_info": infos})
    for name, value in {"global_steps": 1, **data}.items():
        tu.assign_non_tensor_data(batch, name, value)
    return batch


@pytest.fixture
def handed_out(monkeypatch):
    """What verl's own manager is given."""
    batches = []
    monkeypatch.setattr(AgentLoopManagerTQ, "generate_sequences", lambda self, prompts: batches.append(prompts))
    monkeypatch.setattr(dispatch, "_sources", [])
    return batches


def send(batch, response_length=96):
    manager = object.__new__(dispatch.DispatchingManager)
    manager._limit_of, manager._loop = PerStep(at_most=30), None
    rollout = {"name": "vllm", "prompt_length": 16, "response_length": response_length}
    model = {"path": str(policy_path())}
    manager.config = OmegaConf.create({"actor_rollout_ref": {"rollout": rollout, "model": model}})
    manager.generate_sequences(batch)


def test_each_training_prompt_brings_its_key_and_limit(handed_out):
    source = Source()
    dispatch.use(source)
    send(batch_of("1 + 1 =", "1 + 2 =", global_steps=3))
    (sent,) = handed_out
    keys = [prompt_key([{"role": "user", "content": text}]) for text in ("1 + 1 =", "1 + 2 =")]
    assert source.asked == [(keys, 3)]
    assert tu.get(sent, "leanthink_limit") == [60, 61]
    assert tu.get(sent, "prompt_key") == keys
    # The workers get a share each.
    assert [tu.get(part, "leanthink_limit") for part in sent.chunk(2)] == [[60], [61]]


def test_a_limit_is_never_above_verls_own(handed_out):
    dispatch.use(Source())
    send(batch_of("a", "b"), response_length=40)
    assert tu.get(handed_out[0], "leanthink_limit") == [40, 40]


def test_validation_gets_no_limit(handed_out):
    source = Source()
    dispatch.use(source)
    send(batch_of("at most {token_limit}", validate=True))
    assert "leanthink_limit" not in handed_out[0]
    assert source.asked == []
    assert tu.get(handed_out[0], "raw_prompt") == [[{"role": "user", "content": "at most 96"}]]


def test_a_prompt_states_its_limit_and_keeps_its_key(handed_out):
    source = Source()
    dispatch.use(source)
    for step in (1, 2):
        send(batch_of("within {token_limit} tokens", global_steps=step))
    texts = [tu.get(sent, "raw_prompt")[0][0]["content"] for sent in handed_out]
    assert texts == ["within 40 tokens", "within 50 tokens"]
    assert source.asked[0][0] == source.asked[1][0]


def test_the_data_may_bring_the_key(handed_out):
    source = Source()
    dispatch.use(source)
    send(batch_of("a", "b", extra_info=[{"prompt_key": 17}, {}]))
    assert source.asked[0][0] == ["17", prompt_key([{"role": "user", "content": "b"}])]


def test_a_limit_without_our_sampler_is_refused(handed_out):
    with pytest.raises(ConfigError, match="custom_sampler"):
        send(batch_of("a"))
    assert handed_out == []


def probed(handed_out, **fields):
    manager = object.__new__(dispatch.DispatchingManager)
    manager._limit_of, manager._loop = None, PROBING
    batch = batch_of("a", "b")
    for name, value in fields.items():
        tu.assign_non_tensor_data(batch, name, value)
    manager.generate_sequences(batch)
    return handed_out.pop()


def test_training_prompts_are_probed_and_validation_prompts_are_not(handed_out):
    assert probed(handed_out)["agent_name"] == PROBING
    assert probed(handed_out, validate=False)["agent_name"] == PROBING
    assert "agent_name" not in probed(handed_out, validate=True)
    assert probed(handed_out, agent_name="mine")["agent_name"] == "mine"


def test_the_manager_reads_off_the_recipe_what_to_do(monkeypatch):
    monkeypatch.setattr(AgentLoopManagerTQ, "__init__", lambda self, config: None)
    for name, expected in (
        ("grpo", (False, None)),
        ("dler", (True, None)),
        ("vsrm_rpp", (False, PROBING)),
        ("lc_r1", (False, COMPRESSING)),
    ):
        manager = dispatch.DispatchingManager({"leanthink": Settings.of(load_recipe(name)).node()})
        assert (manager._limit_of is not None, manager._loop) == expected


def test_a_budget_of_thinking_travels_in_a_field_of_its_own(handed_out):
    dispatch.use(Source())
    for validate, in_validation, sent in ((False, False, True), (True, False, False), (True, True, True)):
        manager = object.__new__(dispatch.DispatchingManager)
        manager._limit_of, manager._loop = Thinking(at_most=30, in_validation=in_validation), THINKING
        rollout = {"name": "vllm", "prompt_length": 16, "response_length": 96}
        model = {"path": str(policy_path())}
        manager.config = OmegaConf.create({"actor_rollout_ref": {"rollout": rollout, "model": model}})
        manager.generate_sequences(batch_of("1 + 1 =", "1 + 2 =", validate=validate))
        keys = set(handed_out[-1].keys())
        assert (THINKING_FIELD in keys) is sent and dispatch.LIMIT_FIELD not in keys
        assert (tu.get(handed_out[-1], "agent_name", None) == THINKING) is sent
        if sent:
            assert list(tu.get(handed_out[-1], THINKING_FIELD)) == [40, 41]
