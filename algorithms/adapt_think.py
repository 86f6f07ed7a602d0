"""AdaptThink's loss: one ratio per response, its given first token corrected. ``_N`` responses, ``_T`` tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.algorithms.losses import PpoClip, PpoVariant
from leanthink.core.errors import ConfigError

Ratio = Literal["mean", "product"]

CLIP: Final = PpoClip()


def response_ratio(
    log_prob_NT: Float[Tensor, "N T"],
    old_NT: Float[Tensor, "N T"],
    mask_NT: Float[Tensor, "N T"],
    ratio: Ratio = "mean",
) -> Float[Tensor, " N"]:
    """``exp`` of the mean, or of the sum (``product``), of ``log pi - log pi_old`` over a response's tokens.

    1 for a response without tokens.
    """
    log_N = ((log_prob_NT - old_NT) * mask_NT).sum(-1)
    return (log_N / mask_NT.sum(-1).clamp(min=1) if ratio == "mean" else log_N).clamp(max=20).exp()


def clipped_loss(
    ratio_N: Float[Tensor, " N"], advantage_N: Float[Tensor, " N"], low: float = 0.2, high: float = 0.2
) -> Float[Tensor, " N"]:
    """``max(-A rho, -A clip(rho, 1 - low, 1 + high))``, without a dual clip."""
    return torch.maximum(-advantage_N * ratio_N, -advantage_N * ratio_N.clamp(1 - low, 1 + high))


@final
@dataclass(frozen=True, kw_only=True)
class AdaptThink(PpoVariant):
    """The loss of AdaptThink (arXiv 2505.13417, Eq. 9), in place of PPO's by token.

    The first token of each response was given by a coin, and stays in the loss: its old log-probability is the coin's,
    ``log share`` for no thinking and ``log(1 - share)`` for thinking. Then there is one ratio per response, clipped as
    PPO's, and the mean over responses.

    The paper writes the ratio of whole responses. On policy that is the first token's probability over the coin's: 2e-6
    at the start, which teaches nothing, and beyond the clip once the mode is learnt. The released code (AdaptThink at
    84cf948) takes the geometric mean over tokens, which is the default here: each token then weighs ``A rho / |y|``, a
    short response's first token more than a long one's.

    A KL loss and an entropy bonus of verl's, which the paper has not, are added as ever. Needs the reward
    `adapt_think_reward`, which samples so.

    Args:
        ratio: "mean", or "product" as the paper writes it.
        of: PPO's clip, of which ``low`` and ``high`` count; there is no dual clip.

    >>> AdaptThink().ratio
    'mean'
    """

    of: PpoClip = CLIP
    ratio: Ratio = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ratio not in get_args(Ratio):
            raise ConfigError(f"adapt_think: ratio is {self.ratio!r}; give {' or '.join(get_args(Ratio))}")

    @property
    def why_recompute(self) -> str | None:
        """The first token was not sampled."""
        return "the first token of each response is given, not sampled"
