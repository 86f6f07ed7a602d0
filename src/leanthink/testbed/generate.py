"""A small batched sampler for Hugging Face causal language models on a CPU.

Every row has its own limits and its own stream of random numbers, drawn before the first token: what a row samples does
not depend on when its neighbours finish. Rows that are done are dropped from the batch as they end.

Legend: ``B`` rows, ``V`` vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.errors import ConfigError
from leanthink.testbed.decoding import Decoder, HFDecoder, LlamaDecoder

COMPACT_BELOW = 0.8  # drop the rows that are done once at most this share of the batch is left


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How one row is sampled.

    Attributes:
        max_new_tokens: longest response, end token included.
        temperature: 0 takes the most likely token.
        top_p: keep the most likely tokens whose probabilities just reach this sum; 1 keeps all.
        top_k: keep this many of the most likely tokens; 0 or -1 keeps all.
    """

    max_new_tokens: int = 96
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0

    def __post_init__(self) -> None:
        for name, fine, allowed in (
            ("max_new_tokens", self.max_new_tokens >= 1, "at least 1"),
            ("temperature", self.temperature >= 0, "0 (greedy) or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0, at most 1 (keep all)"),
            ("top_k", self.top_k >= -1, "at least 1, or 0 or -1 (keep all)"),
        ):
            if not fine:
                raise ConfigError(f"sampling: {name}={getattr(self, name)!r}; use a number {allowed}")


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One sampled response.

    Attributes:
        token_ids: the response, with the end token if it was reached.
        log_probs: of each token under ``softmax(logits / temperature)`` over the whole vocabulary but banned tokens,
            before ``top_p`` and ``top_k``; a greedy row's are at temperature 1.
        stop_reason: ``stop`` at an end token, ``length`` at ``max_new_tokens``.
    """

    token_ids: list[int]
    log_probs: list[float]
    stop_reason: Literal["stop", "length"]


def kept_tokens(
    probs_BV: Float[Tensor, "B V"], top_p_B: Float[Tensor, " B"], top_k_B: Int[Tensor, " B"]
) -> Bool[Tensor, "B V"]:
    """The tokens that ``top_k`` and then ``top_p`` (of what ``top_k`` left) keep; the most likely one always is.

    >>> kept_tokens(torch.tensor([[0.5, 0.1, 0.4]]), torch.tensor([0.6]), torch.tensor([0])).tolist()
    [[True, False, True]]
    """
    sorted_BV, order_BV = probs_BV.sort(dim=-1, descending=True, stable=True)
    ranks_V = torch.arange(probs_BV.shape[-1], device=probs_BV.device)
    limit_B = torch.where(top_k_B > 0, top_k_B, probs_BV.shape[-1])
    sorted_BV = sorted_BV * (ranks_V < limit_B[:, None])
    before_BV = sorted_BV.cumsum(-1) - sorted_BV
    total_B = sorted_BV.sum(-1)
    kept_BV = (ranks_V < limit_B[:, None]) & ((before_BV < (top_p_B * total_B)[:, None]) | (top_p_B >= 1)[:, None])
    kept_BV[:, 0] = True
    return torch.zeros_like(kept_BV).scatter(-1, order_BV, kept_BV)


def choose(
    logits_BV: Float[Tensor, "B V"],
    uniform_B: Float[Tensor, " B"],
    temperature_B: Float[Tensor, " B"],
    top_p_B: Float[Tensor, " B"] | None = None,
    top_k_B: Int[Tensor, " B"] | None = None,
) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """Choose a token a row by inverting the cumulative distribution at ``uniform`` in [0, 1); also its log-probability.

    Filtering is skipped when ``top_p_B`` and ``top_k_B`` are None.
    """
    greedy_B = temperature_B == 0
    log_probs_BV = torch.log_softmax(logits_BV / torch.where(greedy_B, 1.0, temperature_B)[:, None], dim=-1)
    probs_BV = log_probs_BV.exp()
    if top_p_B is not None and top_k_B is not None:
        probs_BV = probs_BV * kept_tokens(probs_BV, top_p_B, top_k_B)
    # float32 uniforms against float64 sums: the target stays below the total, so no token of probability 0 is chosen.
    cumulative_BV = probs_BV.double().cumsum(-1)
    target_B1 = uniform_B.double()[:, None] * cumulative_BV[:, -1:]
    chosen_B = torch.searchsorted(cumulative_BV, target_B1, right=True).squeeze(-1)
    chosen_B = torch.where(greedy_B, logits_BV.argmax(-1), chosen_B)
    return chosen_B, log_probs_BV.gather(-1, chosen_B[:, None]).squeeze(-1)


def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling | Sequence[Sampling],
    *,
    eos_token_ids: Sequence[int],
    generator: torch.Generator | None = None,
    banned_token_ids: Sequence[int] = (),
    decoder: type[Decoder] | None = None,
) -> list[Generation]:
    """Sample one response a prompt, in order.

    Args:
        model: a Hugging Face causal language model; it is read, not changed.
        prompts: token ids, without padding.
        sampling: one for all, or one a prompt.
        eos_token_ids: tokens that end a response.
        generator: where the randomness comes from; the same seed, prompts and limits give the same responses.
        banned_token_ids: tokens that are never sampled.
        decoder: the way to compute the model; by default the fastest that supports it.
    """
    settings = [sampling] * len(prompts) if isinstance(sampling, Sampling) else list(sampling)
    if len(settings) != len(prompts):
        raise ConfigError(f"generate: {len(settings)} samplings for {len(prompts)} prompts; give one each, or just one")
    for row, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ConfigError(f"generate: prompt {row} is empty; a prompt needs at least one token")
    if not prompts:
        return []
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return _generate(model, prompts, settings, eos_token_ids, generator, banned_token_ids, decoder)
    finally:
        model.train(training)


def _generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    settings: list[Sampling],
    eos_token_ids: Sequence[int],
    generator: torch.Generator | None,
    banned_token_ids: Sequence[int],
    decoder: type[Decoder] | None,
) -> list[Generation]:
    device = next(model.parameters()).device
    rows, width = len(prompts), max(map(len, prompts))
    longest = max(setting.max_new_tokens for setting in settings)
    uniform = torch.rand(rows, longest, generator=generator, device=generator.device if generator else None).to(device)
    limit = torch.tensor([setting.max_new_tokens for setting in settings], device=device)
    temperature = torch.tensor([setting.temperature for setting in settings], device=device)
    top_p = top_k = None
    if any(setting.top_p < 1 or setting.top_k > 0 for setting in settings):
        top_p = torch.tensor([setting.top_p for setting in settings], device=device)
        top_k = torch.tensor([setting.top_k for setting in settings], device=device)
    eos = torch.tensor(list(eos_token_ids), dtype=torch.long, device=device)
    banned = torch.tensor(list(banned_token_ids), dtype=torch.long, device=device)
    ids = torch.zeros(rows, width, dtype=torch.long)
    mask = torch.zeros(rows, width, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = True

    kind = decoder or (LlamaDecoder if LlamaDecoder.supports(model) else HFDecoder)
    decoding = kind(model, rows, width + longest)
    tokens = torch.zeros(rows, longest, dtype=torch.long, device=device)
    log_probs = torch.zeros(rows, longest, device=device)
    lengths = torch.zeros(rows, dtype=torch.long, device=device)
    stopped = torch.zeros(rows, dtype=torch.bool, device=device)
    live = torch.arange(rows, device=device)  # the rows still in the batch, of which some may be done
    going = torch.ones(rows, dtype=torch.bool, device=device)
    logits = decoding.prefill(ids.to(device), mask.to(device))
    for step in range(longest):
        if len(banned):
            logits[:, banned] = float("-inf")
        chosen, chosen_log_probs = choose(logits, uniform[live, step], temperature, top_p, top_k)
        tokens[live, step], log_probs[live, step] = chosen, chosen_log_probs
        ended = torch.isin(chosen, eos)
        lengths[live] += going
        stopped[live] |= going & ended
        going = going & ~ended & (limit > step + 1)
        left = int(going.sum())
        if left == 0:
            break
        if left <= COMPACT_BELOW * len(live):
            kept = going.nonzero().squeeze(-1)
            decoding.keep(kept)
            live, going, chosen, limit, temperature = (x[kept] for x in (live, going, chosen, limit, temperature))
            if top_p is not None and top_k is not None:
                top_p, top_k = top_p[kept], top_k[kept]
        logits = decoding.step(chosen)
    return [
        Generation(
            token_ids=tokens[row, :length].tolist(),
            log_probs=log_probs[row, :length].tolist(),
            stop_reason="stop" if ended_well else "length",
        )
        for row, (length, ended_well) in enumerate(zip(lengths.tolist(), stopped.tolist(), strict=True))
    ]
