"""When the engine ends a response: against verl's own configuration of its servers, and a twin in plain words."""

import json
import random
import shutil

import pytest
from omegaconf import OmegaConf
from verl.workers.rollout.utils import get_max_position_embeddings

from leanthink.testbed import policy_path
from leanthink.verl.rollout.room import UNBOUNDED, context_of, limit_of, model_context


def config_of(*, path=None, name="vllm", prompt=16, response=96, max_model_len=None, **model):
    rollout = {"name": name, "prompt_length": prompt, "response_length": response, "max_model_len": max_model_len}
    return OmegaConf.create(
        {"actor_rollout_ref": {"rollout": rollout, "model": {"path": str(path or policy_path()), **model}}}
    )


def twin(context, prompt_length, response_length, prompt, asked):
    """How verl's vLLM server counts: it tries every length from 1 on until one is too long."""
    tokens = 1
    while True:
        more = tokens + 1
        by_request = more <= asked if asked is not None else more <= response_length
        by_prompt = asked is not None or prompt + more <= prompt_length + response_length
        if not (by_request and by_prompt and prompt + more <= context):
            return tokens
        tokens = more


def test_the_limit_is_the_servers():
    draw = random.Random(5)
    for _ in range(500):
        context, prompt_length, response_length = draw.randint(2, 256), draw.randint(1, 40), draw.randint(1, 60)
        prompt, asked = draw.randint(1, context - 1), draw.choice([None, draw.randint(1, 80)])
        config = config_of(prompt=prompt_length, response=response_length, max_model_len=context)
        expected = twin(context, prompt_length, response_length, prompt, asked)
        assert limit_of(config, prompt, asked) == expected, (context, prompt_length, response_length, prompt, asked)


def test_a_length_that_is_not_set_is_the_models():
    from verl.utils.config import omega_conf_to_dataclass
    from verl.workers.config import HFModelConfig

    model = {"_target_": "verl.workers.config.HFModelConfig", "path": str(policy_path())}
    model["override_config"] = {"attn_implementation": "sdpa"}
    verls = omega_conf_to_dataclass(OmegaConf.create(model), dataclass_type=HFModelConfig)
    assert context_of(config_of()) == get_max_position_embeddings(verls.hf_config) == 256
    assert context_of(config_of(max_model_len=100)) == 100
    assert context_of(config_of(name="leanthink_cpu", max_model_len=1000)) == 256  # the tiny engine takes the smaller
    assert limit_of(config_of(response=400), 6) == 250


def test_sglang_keeps_a_place_free():
    assert limit_of(config_of(name="sglang", response=400), 6) == 249


@pytest.mark.parametrize(
    "changed", [{"max_position_embeddings": 64}, {"model_config": {"max_position_embeddings": 64}}]
)
def test_a_context_changed_in_verls_configuration_counts(changed):
    assert context_of(config_of(override_config=changed)) == 64
    assert context_of(config_of(override_config={"attn_implementation": "sdpa"})) == 256


def test_the_context_of_a_model_of_several(tmp_path):
    """A model that sees and reads has its context with its text model."""
    node = {"model_type": "qwen2_5_vl", "text_config": {"model_type": "qwen2_5_vl_text", "max_position_embeddings": 77}}
    (tmp_path / "config.json").write_text(json.dumps(node))
    assert model_context(str(tmp_path)) == 77


def test_a_model_without_a_context_has_no_bound(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bloom"}))
    assert model_context(str(tmp_path)) == UNBOUNDED


def test_a_configuration_of_its_own_is_read(tmp_path):
    shutil.copytree(policy_path(), tmp_path / "other")
    node = json.loads((tmp_path / "other/config.json").read_text())
    (tmp_path / "other/config.json").write_text(json.dumps({**node, "max_position_embeddings": 50}))
    assert context_of(config_of(hf_config_path=str(tmp_path / "other"))) == 50
