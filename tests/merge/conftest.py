from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model_folders import Model, Save, save_model


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Saves a model under ``tmp_path / name``."""
    return lambda name, tensors, shards=(), **config: save_model(tmp_path / name, tensors, shards, **config)


@pytest.fixture
def models() -> tuple[Model, Model]:
    """Two states of one model: weights with many equal changes, a vector, and numbers that are no weights."""
    generator = torch.Generator().manual_seed(11)
    base: Model = {
        "model.embed_tokens.weight": torch.randn(13, 4, generator=generator),
        "model.layers.0.mlp.weight": torch.randn(4, 9, generator=generator),
        "model.layers.1.mlp.weight": torch.randn(4, 9, generator=generator),
        "model.norm.weight": torch.ones(4),
        "lm_head.weight": torch.randn(13, 4, generator=generator),
    }
    base = {name: tensor.bfloat16() for name, tensor in base.items()}
    trained = {}
    for name, tensor in base.items():
        steps = torch.randint(-3, 4, tensor.shape, generator=generator) / 64
        trained[name] = (tensor.float() + steps).bfloat16()
    ids = torch.arange(6)
    return {**base, "model.position_ids": ids}, {**trained, "model.position_ids": ids.clone()}
