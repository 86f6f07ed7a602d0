"""Which tokens end a response: the model's own files say so in three places."""

import json
import shutil

import pytest
from transformers import AutoConfig, GenerationConfig

from leanthink.testbed import policy_path
from leanthink.training.responses import end_ids


def model(folder, *, config=None, generation=None):
    """The testbed's policy with other end tokens; None for a file, or a key, that is not there."""
    shutil.copytree(policy_path(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    node = json.loads((folder / "config.json").read_text())
    del node["eos_token_id"]
    (folder / "config.json").write_text(json.dumps(node | (config or {})))
    (folder / "generation_config.json").unlink()
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return str(folder)


@pytest.mark.parametrize(
    ("config", "generation", "ends"),
    [
        ({"eos_token_id": 9}, {"eos_token_id": [1, 7]}, {1, 7}),  # generation settings come first
        ({"eos_token_id": 9}, {"eos_token_id": 7}, {1, 7}),
        ({"eos_token_id": 9}, {}, {1}),  # and are all, where they are there
        ({"eos_token_id": 9}, None, {1, 9}),
        ({"eos_token_id": [9, 11]}, None, {1, 9, 11}),
        ({"eos_token_id": None}, None, {1}),
    ],
)
def test_end_tokens_are_those_of_the_models_files(tmp_path, config, generation, ends):
    assert end_ids(model(tmp_path / "m", config=config, generation=generation), 1) == ends


def test_what_a_configuration_leaves_out_is_what_its_class_has(tmp_path):
    """transformers and vLLM read the file as the class, which fills in what is missing."""
    path = model(tmp_path / "m")
    theirs = GenerationConfig.from_model_config(AutoConfig.from_pretrained(path)).eos_token_id
    assert theirs is not None and end_ids(path, 1) == {1, theirs}


def test_a_model_of_several_has_them_with_its_text_model(tmp_path):
    text = {"model_type": "qwen2_5_vl_text", "eos_token_id": [4, 6]}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl", "text_config": text}))
    assert end_ids(str(tmp_path), 1) == {1, 4, 6}


def test_a_model_with_code_of_its_own_is_read_without_running_it(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nobody_knows", "eos_token_id": [4]}))
    assert end_ids(str(tmp_path), 1) == {1, 4}


def test_without_any_file_the_tokenizers_is_all(tmp_path):
    assert end_ids(str(tmp_path), 1) == {1}
