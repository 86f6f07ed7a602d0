"""When thinking ends: a shift of the end-of-thinking token's logit, for inference and for training rollouts.

Legend: ``N`` rows, ``V`` vocabulary, ``T`` tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final, get_args

from jaxtyping import Float, Int
from torch import Tensor

from leanthink.core.errors import ConfigError

Shift = Literal["bias", "scale", "raw_scale"]


def shifted(logits_NV: Float[Tensor, "N V"], stop_id: int, by: float, shift: Shift = "bias") -> Float[Tensor, "N V"]:
    """The logits with that of the stop token shifted, as stop-token temperature scaling has it (arXiv 2505.07961).

    Which form the paper uses is unconfirmed. All other tokens keep their ratios.

    Args:
        logits_NV: before temperature and filters; not changed.
        stop_id: the end-of-thinking token.
        by: what is added, or what is divided by.
        shift: "bias" adds ``by``, so that a greater one ends thinking sooner. "scale" divides the stop token's distance
            to the likeliest token: above 1 ends sooner, and a token that is the likeliest stays as it is. "raw_scale"
            divides the logit itself, whose offset is arbitrary: with a negative logit it acts the other way round.

    >>> import torch
    >>> shifted(torch.tensor([[2.0, 1.5, 0.5]]), 1, 1.0).softmax(-1)
    tensor([[0.3482, 0.5741, 0.0777]])
    """
    stop_N = logits_NV[:, stop_id]
    if shift == "bias":
        stop_N = stop_N + by
    elif shift == "scale":
        likeliest_N = logits_NV.amax(-1)
        stop_N = likeliest_N + (stop_N - likeliest_N) / by
    else:
        stop_N = stop_N / by
    out_NV = logits_NV.clone()
    out_NV[:, stop_id] = stop_N
    return out_NV


@dataclass(frozen=True, kw_only=True)
class StopShift:
    """A logits processor for transformers' ``generate``: shifts the stop token's logit while a row is thinking.

    It acts before temperature and filters, until a row's first stop token. Thinking is taken to begin at
    the end of the prompt.

    Args:
        stop_id: the end-of-thinking token.
        prompt_length: tokens of the (left-padded) prompts.
        by: as for `shifted`.
        shift: as for `shifted`.
        at_least: response tokens before it acts; a large shift would else leave no thinking.

    ``model.generate(**inputs, logits_processor=[StopShift(stop_id=..., prompt_length=inputs["input_ids"].shape[1],
    by=2.0, at_least=64)])``
    """

    stop_id: int
    prompt_length: int
    by: float
    shift: Shift = "bias"
    at_least: int = 0

    def __post_init__(self) -> None:
        _check("StopShift", self.by, self.at_least)
        if self.shift not in get_args(Shift):
            raise ConfigError(f"StopShift: shift is {self.shift!r}; give {', '.join(get_args(Shift))}")
        if self.shift != "bias" and not self.by > 0:
            raise ConfigError(f"StopShift: by is {self.by}; {self.shift} divides by it: give a number above 0")

    def __call__(self, input_ids: Int[Tensor, "N T"], scores: Float[Tensor, "N V"]) -> Float[Tensor, "N V"]:
        """The logits of the next token."""
        written_NT = input_ids[:, self.prompt_length :]
        if written_NT.shape[1] < self.at_least:
            return scores
        thinking_N1 = (written_NT != self.stop_id).all(dim=1, keepdim=True)
        return shifted(scores, self.stop_id, self.by, self.shift).where(thinking_N1, scores)


@final
@dataclass(frozen=True, kw_only=True)
class StopBias:
    """Training rollouts whose stop token's logit is raised while they think, after TLDR (arXiv 2505.07961).

    A recipe's ``stop``. The engine adds ``bias`` to the logit of ``marker`` until thinking has ended, and samples the
    answer from the policy itself. The shift is no part of the policy: log-probabilities are computed anew
    without it, so the responses are treated as the policy's own, though they end sooner than it would.

    Validation samples without it. For inference, use `StopShift`, or your engine's ``logit_bias``.

    Args:
        bias: what is added to the logit, above 0 to end thinking sooner; the paper's is unconfirmed.
        marker: what ends thinking, one token of the model's vocabulary.
        at_least: tokens that a response thinks before the bias acts.
    """

    bias: float
    marker: str = "</think>"
    at_least: int = 0

    def __post_init__(self) -> None:
        _check("stop_bias", self.bias, self.at_least)
        if not -100 <= self.bias <= 100:
            raise ConfigError(f"stop_bias: bias is {self.bias}; engines take -100 to 100")
        if not self.marker:
            raise ConfigError("stop_bias: marker is empty; give what ends thinking, as '</think>'")


def _check(name: str, by: float, at_least: int) -> None:
    if not math.isfinite(by):
        raise ConfigError(f"{name}: the shift is {by}; give a finite number")
    if at_least < 0:
        raise ConfigError(f"{name}: at_least is {at_least}; give tokens, 0 or more")
