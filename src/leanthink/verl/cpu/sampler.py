"""Sampling from a transformers causal language model, many prompts at once, each with its own limits and seed.

Axis letters: ``N`` rows of the batch, ``T`` positions so far, ``V`` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One response to be sampled."""

    prompt_ids: Sequence[int]
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1
    seed: int = 0
    stop_ids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The sampled tokens, the stop token included, and the log-probability of each under the distribution sampled from.

    ``finish_reason`` is ``"stop"`` (a stop token), ``"length"`` (the limit) or ``"aborted"``.
    """

    token_ids: list[int]
    log_probs: list[float]
    finish_reason: str


@torch.inference_mode()
def sample(
    model: Any, requests: Sequence[Request], *, pad_id: int = 0, aborted: Callable[[], bool] = lambda: False
) -> Iterator[tuple[int, Completion]]:
    """Sample every request and yield ``(its index, its completion)`` as each finishes.

    Randomness is one uniform number a token, drawn from the request's own seed, so that a response does not depend on
    the requests that happen to share its batch.
    """
    from transformers import DynamicCache

    rows = list(range(len(requests)))
    width = max(len(r.prompt_ids) for r in requests)
    ids = torch.tensor([[pad_id] * (width - len(r.prompt_ids)) + list(r.prompt_ids) for r in requests])
    mask = torch.tensor([[0] * (width - len(r.prompt_ids)) + [1] * len(r.prompt_ids) for r in requests])
    uniform = torch.stack([_uniform(r.seed, max(r.max_tokens for r in requests)) for r in requests])
    position = mask.sum(1, keepdim=True)
    cache = DynamicCache()
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    tokens: list[list[int]] = [[] for _ in requests]
    log_probs: list[list[float]] = [[] for _ in requests]
    step = 0
    while True:
        chosen, log_prob = pick(logits, [requests[i] for i in rows], uniform[:, step])
        keep = []
        stop = aborted()
        for place, (row, token, value) in enumerate(zip(rows, chosen.tolist(), log_prob.tolist(), strict=True)):
            tokens[row].append(token)
            log_probs[row].append(value)
            reason = (
                "stop"
                if token in requests[row].stop_ids
                else "length"
                if len(tokens[row]) >= requests[row].max_tokens
                else "aborted"
                if stop
                else None
            )
            if reason is None:
                keep.append(place)
            else:
                yield row, Completion(token_ids=tokens[row], log_probs=log_probs[row], finish_reason=reason)
        if not keep:
            return
        if len(keep) < len(rows):
            index = torch.tensor(keep)
            rows = [rows[place] for place in keep]
            mask, position, uniform, chosen = mask[index], position[index], uniform[index], chosen[index]
            cache.batch_select_indices(index)
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        logits = model(
            input_ids=chosen[:, None],
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
        position = position + 1
        step += 1


def _uniform(seed: int, count: int) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pick(logits_NV: Tensor, requests: Sequence[Request], uniform_N: Tensor) -> tuple[Tensor, Tensor]:
    """The next token of each row by inverse transform sampling, and its log-probability."""
    temperature_N = torch.tensor([r.temperature for r in requests])
    greedy_N = temperature_N <= 0
    scaled_NV = logits_NV.float() / torch.where(greedy_N, 1.0, temperature_N)[:, None]
    if any(0 < r.top_k < logits_NV.shape[1] or r.top_p < 1 for r in requests):
        scaled_NV = _filter(scaled_NV, requests)
    log_prob_NV = scaled_NV.log_softmax(-1)
    cumulative_NV = log_prob_NV.double().exp().cumsum(-1)
    # The last sum is 1 up to rounding; scaling by it keeps every draw inside the row.
    chosen_N = torch.searchsorted(cumulative_NV, (uniform_N[:, None] * cumulative_NV[:, -1:]), right=True).squeeze(1)
    chosen_N = torch.where(greedy_N, log_prob_NV.argmax(-1), chosen_N.clamp(max=logits_NV.shape[1] - 1))
    return chosen_N, log_prob_NV.gather(1, chosen_N[:, None]).squeeze(1)


def _filter(logits_NV: Tensor, requests: Sequence[Request]) -> Tensor:
    """Drop all but the ``top_k`` likeliest tokens, then all but the likeliest that together reach ``top_p``."""
    size = logits_NV.shape[1]
    top_k_N = torch.tensor([r.top_k if 0 < r.top_k < size else size for r in requests])
    top_p_N = torch.tensor([r.top_p for r in requests])
    sorted_NV, order_NV = logits_NV.sort(-1, descending=True)
    drop_NV = torch.arange(size) >= top_k_N[:, None]
    probability_NV = sorted_NV.masked_fill(drop_NV, -torch.inf).softmax(-1)
    drop_NV |= probability_NV.cumsum(-1) - probability_NV >= top_p_N[:, None]
    drop_NV[:, 0] = False
    return logits_NV.masked_fill(torch.zeros_like(drop_NV).scatter(1, order_NV, drop_NV), -torch.inf)
