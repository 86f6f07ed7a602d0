from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from leanthink.testbed.tokenizer import build_tokenizer


def save_model(folder: Path, kind: str = "llama", **config: Any) -> str:
    """A model with random weights and the testbed's tokenizer, as a folder."""
    import transformers

    tokenizer = build_tokenizer()
    options = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **config,
    }
    names = {"llama": ("LlamaConfig", "LlamaForCausalLM"), "qwen2": ("Qwen2Config", "Qwen2ForCausalLM")}[kind]
    torch.manual_seed(0)
    model = getattr(transformers, names[1])(getattr(transformers, names[0])(**options))
    for parameter in model.parameters():
        parameter.data.mul_(4.0)  # far from uniform, so that a difference between two computations shows
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model(tmp_path_factory.mktemp("qwen"), "qwen2", tie_word_embeddings=False)
