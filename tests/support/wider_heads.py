"""A Llama whose attention heads have twice as many numbers, and that says the same: half of them are zeros.

vLLM's kernels for CPUs begin at 32 numbers a head; most of the testbed's policies have 16.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import LlamaForCausalLM


def with_wider_heads(policy: Path, folder: Path) -> Path:
    """The policy in ``policy`` with heads twice as wide, written to ``folder`` with its tokenizer."""
    model = LlamaForCausalLM.from_pretrained(policy)
    config = model.config
    size = config.head_dim
    # RoPE turns number i together with i + size / 2, at a rate of theta^(-2 i / size): that of 2 i, twice as wide.
    half = torch.arange(size // 2)
    places = torch.cat([2 * half, size + 2 * half])
    weights = model.state_dict()
    for name, weight in weights.items():
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            heads = weight.view(-1, size, weight.shape[-1])
            wide = weight.new_zeros(heads.shape[0], 2 * size, weight.shape[-1])
            # Scores are divided by the root of the size, which is now twice as large.
            wide[:, places] = heads * 2**0.5 if "q_proj" in name else heads
            weights[name] = wide.flatten(0, 1)
        elif name.endswith("o_proj.weight"):
            heads = weight.view(weight.shape[0], -1, size)
            wide = weight.new_zeros(weight.shape[0], heads.shape[1], 2 * size)
            wide[:, :, places] = heads
            weights[name] = wide.flatten(1)
    config.head_dim = 2 * size
    wider = LlamaForCausalLM(config)
    wider.load_state_dict(weights)
    shutil.copytree(policy, folder)
    wider.save_pretrained(folder)
    return folder
