from __future__ import annotations

from typing import Any

import pytest
import torch

from leanthink.testbed import policy_path
from leanthink.testbed.tokenizer import build_tokenizer, vocabulary


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return build_tokenizer()


@pytest.fixture(scope="session")
def policy() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(policy_path())


def small_model(kind: str) -> Any:
    """A random model of two layers with 4 query heads; its logits are spread enough for greedy choices to be clear."""
    import transformers

    words = vocabulary()
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=128,
        initializer_range=0.3,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    return getattr(transformers, f"{kind}ForCausalLM")(config).eval()


@pytest.fixture(scope="session")
def llama() -> Any:
    return small_model("Llama")


@pytest.fixture(scope="session")
def qwen() -> Any:
    return small_model("Qwen2")
