"""Sampling a batch of requests, each with its own limits, stop tokens and seed, and handing out each as it ends.

The arithmetic is the testbed's: `Decoder` computes the model, `choose` picks a token.

Legend: ``N`` rows still in the batch, ``V`` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from leanthink.testbed.decoding import HFDecoder, LlamaDecoder
from leanthink.testbed.generate import COMPACT_BELOW, Sampling, choose

READ_PROMPTS = 32
"""Distinct prompts of a batch that reads more than it writes: more of them leave the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One response to be sampled; ``logit_bias`` is added to these tokens' logits, before the temperature."""

    prompt_ids: Sequence[int]
    sampling: Sampling
    seed: int = 0
    stop_ids: frozenset[int] = frozenset()
    logit_bias: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The tokens, a stop token included, and the log-probability of each at the request's temperature and bias.

    ``finish_reason`` is ``"stop"`` (a stop token), ``"length"`` (the limit) or ``"aborted"``.
    """

    token_ids: list[int]
    log_probs: list[float]
    finish_reason: str


def never() -> bool:
    """Nobody wants to abort."""
    return False


def sample(
    model: Any, requests: Sequence[Request], *, aborted: Callable[[], bool] = never
) -> Iterator[tuple[int, Completion]]:
    """Sample every request and yield ``(its index, its completion)`` as each ends.

    A prompt that several requests share is read once. Requests that read more than they write come in batches of
    prompts of like length, one after another; all others, whose time goes into writing, in one batch.

    Randomness is one uniform number a token, drawn from the request's own seed, so that a response does not depend on
    the requests that happen to share its batch. Once ``aborted()`` is true, all that are left end after the next token.
    """
    with torch.inference_mode():
        for batch in _batches(requests):
            for place, completion in _sample(model, [requests[index] for index in batch], aborted):
                yield batch[place], completion


def _batches(requests: Sequence[Request]) -> Iterator[list[int]]:
    """Indices of the requests that are sampled together."""
    reading: dict[tuple[int, ...], list[int]] = {}
    writing = []
    for index, request in enumerate(requests):
        if len(request.prompt_ids) > request.sampling.max_new_tokens:
            reading.setdefault(tuple(request.prompt_ids), []).append(index)
        else:
            writing.append(index)
    if writing:
        yield writing
    by_length = sorted(reading, key=len)
    for start in range(0, len(by_length), READ_PROMPTS):
        yield [index for prompt in by_length[start : start + READ_PROMPTS] for index in reading[prompt]]


def _sample(model: Any, requests: Sequence[Request], aborted: Callable[[], bool]) -> Iterator[tuple[int, Completion]]:
    prompts: dict[tuple[int, ...], int] = {}
    read = [prompts.setdefault(tuple(request.prompt_ids), len(prompts)) for request in requests]
    width, longest = max(map(len, prompts)), max(r.sampling.max_new_tokens for r in requests)
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros(len(prompts), width, dtype=torch.bool)
    for prompt, row in prompts.items():
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = True
    uniform = torch.stack([torch.rand(longest, generator=torch.Generator().manual_seed(r.seed)) for r in requests])
    kind = LlamaDecoder if LlamaDecoder.supports(model) else HFDecoder
    decoder = kind(model, len(prompts), width + longest)
    tokens: list[list[int]] = [[] for _ in requests]
    log_probs: list[list[float]] = [[] for _ in requests]
    rows, live = list(range(len(requests))), len(requests)  # `rows` are computed; one that has ended is -1
    logits = decoder.prefill(ids, mask)
    if len(prompts) < len(requests):
        decoder.keep(torch.tensor(read))
        logits = logits[read]
    settings = _Settings.of(requests, logits.shape[-1])
    for step in range(longest):
        stop = aborted()
        chosen, values = settings.choose(logits, uniform[:, step])
        going = []
        for place, (row, token, value) in enumerate(zip(rows, chosen.tolist(), values.tolist(), strict=True)):
            if row < 0:
                continue
            tokens[row].append(token)
            log_probs[row].append(value)
            if reason := _end(requests[row], token, step + 1, stop):
                rows[place] = -1
                yield row, Completion(token_ids=tokens[row], log_probs=log_probs[row], finish_reason=reason)
            else:
                going.append(place)
        if not going:
            return
        if len(going) <= COMPACT_BELOW * live:
            kept = torch.tensor(going)
            decoder.keep(kept)
            rows, live = [rows[place] for place in going], len(going)
            chosen, uniform, settings = chosen[kept], uniform[kept], settings.keep(kept)
        logits = decoder.step(chosen)


def _end(request: Request, token: int, length: int, aborted: bool) -> str | None:
    if token in request.stop_ids:
        return "stop"
    if length >= request.sampling.max_new_tokens:
        return "length"
    return "aborted" if aborted else None


@dataclass(frozen=True, slots=True)
class _Settings:
    """The sampling settings of the rows as tensors; filters and bias are None when no row has one."""

    temperature_N: Tensor
    top_p_N: Tensor | None
    top_k_N: Tensor | None
    bias_NV: Tensor | None

    @classmethod
    def of(cls, requests: Sequence[Request], vocabulary: int) -> _Settings:
        samplings = [request.sampling for request in requests]
        temperature_N = torch.tensor([s.temperature for s in samplings])
        top_p_N = top_k_N = bias_NV = None
        if any(s.top_p < 1 or s.top_k > 0 for s in samplings):
            top_p_N, top_k_N = torch.tensor([s.top_p for s in samplings]), torch.tensor([s.top_k for s in samplings])
        if any(request.logit_bias for request in requests):
            bias_NV = torch.zeros(len(requests), vocabulary)
            for row, request in enumerate(requests):
                for token, value in request.logit_bias.items():
                    bias_NV[row, token] = value
        return cls(temperature_N, top_p_N, top_k_N, bias_NV)

    def choose(self, logits_NV: Tensor, uniform_N: Tensor) -> tuple[Tensor, Tensor]:
        if self.bias_NV is not None:
            logits_NV = logits_NV + self.bias_NV
        return choose(logits_NV, uniform_N, self.temperature_N, self.top_p_N, self.top_k_N)

    def keep(self, kept: Tensor) -> _Settings:
        more = (None if x is None else x[kept] for x in (self.top_p_N, self.top_k_N, self.bias_NV))
        return _Settings(self.temperature_N[kept], *more)
