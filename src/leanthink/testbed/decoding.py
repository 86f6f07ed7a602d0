"""Decoders: a language model that is fed one token a row at a time, and forgets rows that are done.

``HFDecoder`` drives any Hugging Face causal language model; ``LlamaDecoder`` computes a plain Llama model by hand,
which is faster for a small model on a CPU, where much of the time goes into the framework's overhead.

Legend: ``B`` rows, ``T`` prompt tokens, ``V`` vocabulary, ``H`` heads, ``K`` key-value heads, ``D`` head size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


class Decoder(ABC):
    """One pass over one batch: ``prefill`` once, then ``step`` and ``keep`` as often as wanted."""

    @abstractmethod
    def __init__(self, model: Any, rows: int, capacity: int) -> None:
        """Prepare for ``rows`` sequences of at most ``capacity`` tokens, padding included."""

    @abstractmethod
    def prefill(self, ids_BT: Int[Tensor, "B T"], mask_BT: Bool[Tensor, "B T"]) -> Float[Tensor, "B V"]:
        """Read left-padded prompts; return the logits of the next token."""

    @abstractmethod
    def step(self, ids_B: Int[Tensor, " B"]) -> Float[Tensor, "B V"]:
        """Read one more token a row; return the logits of the next."""

    @abstractmethod
    def keep(self, rows_B: Int[Tensor, " B"]) -> None:
        """Forget every row but these, in this order; a row named again is copied."""


@final
class HFDecoder(Decoder):
    """Any Hugging Face causal language model, with the cache it makes for itself."""

    def __init__(self, model: Any, rows: int, capacity: int) -> None:
        """Hold the model; its cache grows by itself."""
        self._model = model

    def prefill(self, ids_BT: Int[Tensor, "B T"], mask_BT: Bool[Tensor, "B T"]) -> Float[Tensor, "B V"]:
        """Read left-padded prompts."""
        self._mask = mask_BT.long()
        positions = (self._mask.cumsum(1) - 1).clamp(min=0)
        self._next = positions[:, -1:] + 1
        output = self._model(
            input_ids=ids_BT, attention_mask=self._mask, position_ids=positions, use_cache=True, logits_to_keep=1
        )
        self._cache = output.past_key_values
        logits: Tensor = output.logits
        return logits[:, -1].float()

    def step(self, ids_B: Int[Tensor, " B"]) -> Float[Tensor, "B V"]:
        """Read one more token a row."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(ids_B), 1)], dim=1)
        output = self._model(
            input_ids=ids_B[:, None],
            attention_mask=self._mask,
            position_ids=self._next,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._next = self._next + 1
        logits: Tensor = output.logits
        return logits[:, -1].float()

    def keep(self, rows_B: Int[Tensor, " B"]) -> None:
        """Forget every row but these."""
        self._mask, self._next = self._mask[rows_B], self._next[rows_B]
        self._cache.batch_select_indices(rows_B)


@final
class LlamaDecoder(Decoder):
    """A plain Llama model with fused projections and a preallocated cache.

    Rotary embedding is linear in the projections: with ``R`` the half-turn, ``rope(Wx) = Wx·cos + (RW)x·sin``. So ``W``
    and ``RW`` stand in one matrix and rotating costs two element-wise operations.
    """

    def __init__(self, model: Any, rows: int, capacity: int) -> None:
        """Fuse the weights and allocate the cache."""
        config, core = model.config, model.model
        self._eps: float = config.rms_norm_eps
        self._heads: int = config.num_attention_heads
        self._kv_heads: int = config.num_key_value_heads
        self._dim: int = getattr(config, "head_dim", None) or config.hidden_size // self._heads
        self._embedding: Tensor = core.embed_tokens.weight
        self._norm: Tensor = core.norm.weight
        self._head: Tensor = model.lm_head.weight.t()
        self._layers = [self._fuse(layer) for layer in core.layers]
        weight = self._embedding
        shape = (len(self._layers), rows, self._kv_heads, capacity, self._dim)
        self._keys, self._values = weight.new_zeros(shape), weight.new_zeros(shape)
        angles = torch.outer(torch.arange(capacity, device=weight.device).float(), core.rotary_emb.inv_freq.float())
        angles = torch.cat([angles, angles], dim=-1)
        self._cos, self._sin = angles.cos(), angles.sin()
        self._used = 0

    @staticmethod
    def supports(model: Any) -> bool:
        """Whether the model is a Llama model with none of the options this class leaves out."""
        config = model.config
        return (
            type(model).__name__ == "LlamaForCausalLM"
            and config.hidden_act == "silu"
            and not config.attention_bias
            and not config.mlp_bias
            and config.rope_parameters["rope_type"] == "default"
            and config.rope_parameters.get("partial_rotary_factor", 1.0) == 1.0
            and all(type(module) is torch.nn.Linear for layer in model.model.layers for module in _linears(layer))
            and model.lm_head.weight.dtype == torch.float32
        )

    def _fuse(self, layer: Any) -> tuple[Tensor, ...]:
        attention, mlp = layer.self_attn, layer.mlp
        heads = torch.cat([attention.q_proj.weight, attention.k_proj.weight])
        halves = heads.view(-1, 2, self._dim // 2, heads.shape[1])
        turned = torch.stack([-halves[:, 1], halves[:, 0]], dim=1).view_as(heads)
        return (
            layer.input_layernorm.weight,
            torch.cat([heads, turned, attention.v_proj.weight]).t().contiguous(),
            attention.o_proj.weight.t().contiguous(),
            layer.post_attention_layernorm.weight,
            mlp.gate_proj.weight.t().contiguous(),
            mlp.up_proj.weight.t().contiguous(),
            mlp.down_proj.weight.t().contiguous(),
        )

    def prefill(self, ids_BT: Int[Tensor, "B T"], mask_BT: Bool[Tensor, "B T"]) -> Float[Tensor, "B V"]:
        """Read left-padded prompts."""
        rows, width = ids_BT.shape
        positions = (mask_BT.long().cumsum(1) - 1).clamp(min=0)
        self._next = positions[:, -1] + 1
        capacity = self._cos.shape[0]
        self._bias = torch.zeros(rows, 1, 1, capacity, device=ids_BT.device)
        self._bias[:, 0, 0, :width].masked_fill_(~mask_BT, float("-inf"))
        self._padded = not bool(mask_BT.all())
        # A padding query sees only itself; its output is never read.
        allowed = torch.ones(width, width, dtype=torch.bool, device=ids_BT.device).tril() & mask_BT[:, None, :]
        allowed |= torch.eye(width, dtype=torch.bool, device=ids_BT.device)
        mask = allowed[:, None].repeat(1, 1, self._heads // self._kv_heads, 1)
        return self._forward(ids_BT, positions, mask)

    def step(self, ids_B: Int[Tensor, " B"]) -> Float[Tensor, "B V"]:
        """Read one more token a row."""
        mask = self._bias[..., : self._used + 1] if self._padded else None
        logits = self._forward(ids_B[:, None], self._next[:, None], mask)
        self._next += 1
        return logits

    def keep(self, rows_B: Int[Tensor, " B"]) -> None:
        """Forget every row but these."""
        kept = self._keys.new_empty(self._keys.shape[0], len(rows_B), *self._keys.shape[2:])
        used, values = self._used, torch.empty_like(kept)
        kept[:, :, :, :used] = self._keys[:, rows_B, :, :used]
        values[:, :, :, :used] = self._values[:, rows_B, :, :used]
        self._keys, self._values = kept, values
        self._bias, self._next = self._bias[rows_B], self._next[rows_B]

    def _forward(self, ids_BT: Tensor, positions_BT: Tensor, mask: Tensor | None) -> Tensor:
        (rows, width), heads, kv, dim = ids_BT.shape, self._heads, self._kv_heads, self._dim
        start, end = self._used, self._used + ids_BT.shape[1]
        turning = (heads + kv) * dim
        cos, sin = self._cos[positions_BT].unsqueeze(2), self._sin[positions_BT].unsqueeze(2)
        hidden = self._embedding[ids_BT].flatten(0, 1)
        for i, (norm, projections, output, after, gate, up, down) in enumerate(self._layers):
            joined = functional.rms_norm(hidden, (hidden.shape[-1],), norm, self._eps) @ projections
            straight, turned, values = torch.split(joined, [turning, turning, kv * dim], dim=-1)
            straight, turned = (x.reshape(rows, width, heads + kv, dim) for x in (straight, turned))
            rotated = torch.addcmul(straight * cos, turned, sin).transpose(1, 2)
            self._keys[i, :, :, start:end] = rotated[:, heads:]
            self._values[i, :, :, start:end] = values.reshape(rows, width, kv, dim).transpose(1, 2)
            # The query heads that share a key-value head count as further queries of that head.
            queries = rotated[:, :heads].reshape(rows, kv, heads // kv * width, dim)
            mixed = functional.scaled_dot_product_attention(
                queries, self._keys[i, :, :, :end], self._values[i, :, :, :end], attn_mask=mask
            )
            mixed = mixed.view(rows, heads, width, dim).transpose(1, 2).reshape(rows * width, heads * dim)
            hidden = torch.addmm(hidden, mixed, output)
            normed = functional.rms_norm(hidden, (hidden.shape[-1],), after, self._eps)
            hidden = torch.addmm(hidden, functional.silu(normed @ gate).mul_(normed @ up), down)
        self._used = end
        last = hidden.view(rows, width, -1)[:, -1]
        return functional.rms_norm(last, (last.shape[-1],), self._norm, self._eps) @ self._head


def _linears(layer: Any) -> list[Any]:
    attention, mlp = layer.self_attn, layer.mlp
    return [
        *(attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj),
        *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),
    ]
