"""Thinkless's DeGRPO: the loss of a response's first token is averaged apart. ``_N`` responses, ``_T`` tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.algorithms.losses import PpoClip, PpoVariant
from leanthink.core.errors import ConfigError

Response = Literal["token-mean", "seq-mean"]

CLIP: Final = PpoClip()


def decoupled_weights(
    mask_NT: Float[Tensor, "N T"], alpha: float, responses: float, tokens: float, response: Response = "token-mean"
) -> Float[Tensor, "N T"]:
    """By what each token's loss counts: the control token's by ``alpha / responses``, a later one's by ``1 / later``.

    The control token is the first with mask 1. ``later`` is the number of all later tokens, or, for "seq-mean", the
    number of later tokens of the response times ``responses``. Summed over all micro-batches of a mini-batch they are
    the two averages.

    Args:
        mask_NT: 1 for tokens that are trained on.
        alpha: weight of the control tokens' mean.
        responses: of the mini-batch.
        tokens: of the mini-batch, control tokens included.
        response: how later tokens are averaged.
    """
    mask_NT = mask_NT.double()
    first_NT = ((mask_NT.cumsum(-1) == 1) & (mask_NT == 1)).double()
    later_NT = mask_NT - first_NT
    if response == "token-mean":
        share_NT = later_NT / max(tokens - responses, 1)
    else:
        share_NT = later_NT / (later_NT.sum(-1, keepdim=True).clamp(min=1) * responses)
    return alpha / responses * first_NT + share_NT


@final
@dataclass(frozen=True, kw_only=True)
class Degrpo(PpoVariant):
    """The loss of Thinkless (DeGRPO, arXiv 2505.13379): ``alpha mean L_control + mean L_later``, each averaged apart.

    The control token, a response's first, chooses the mode. Averaged with thousands of others, that of a long response
    would move far less than that of a short one, and one mode collapses. With ``response: token-mean``, the released
    code's, later tokens are averaged over all of the mini-batch; the paper writes the mean over responses of each one's
    mean (``seq-mean``). The token losses are PPO's, clipped; a KL loss and an entropy bonus of verl's run over all
    tokens undivided. Means are over the mini-batch; the released code's are over a micro-batch. A response that is left
    out, its verdict unknown, counts among the responses.

    Args:
        alpha: weight of the control token; 0.001 in the paper. Higher fixes the mode sooner.
        response: how later tokens are averaged.
        of: PPO's clip; the released code has no dual clip, which a large ``dual`` comes to.

    >>> Degrpo().alpha
    0.001
    """

    of: PpoClip = CLIP
    alpha: float = 0.001
    response: Response = "token-mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha < 0 or self.response not in get_args(Response):
            raise ConfigError(
                f"degrpo: alpha is {self.alpha} and response {self.response!r}; give alpha 0 or more, and response "
                f"{' or '.join(get_args(Response))}"
            )
        if self.of.aggregation != "token-mean":
            raise ConfigError(
                f"degrpo: of aggregates by {self.of.aggregation}, but this loss averages by itself; leave token-mean"
            )


def decoupled_loss(
    loss_NT: Float[Tensor, "N T"], mask_NT: Float[Tensor, "N T"], alpha: float, response: Response = "token-mean"
) -> Float[Tensor, ""]:
    """Both averages of the token losses of one batch, added up.

    >>> decoupled_loss(torch.tensor([[2.0, 1.0, 3.0]]), torch.ones(1, 3), alpha=0.5)
    tensor(3., dtype=torch.float64)
    """
    responses, tokens = float((mask_NT.sum(-1) > 0).sum()), float(mask_NT.sum())
    if not responses:
        return torch.zeros((), dtype=torch.float64)
    return (decoupled_weights(mask_NT, alpha, responses, tokens, response) * loss_NT.double()).sum()
