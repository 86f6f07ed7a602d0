"""UloRL: tokens that a policy has mastered are left out of the loss while its entropy is low.

``_N`` responses, ``_T`` tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leanthink.algorithms.losses import PpoClip, PpoVariant
from leanthink.core.errors import ConfigError

CLIP: Final = PpoClip()


def mastered_tokens(
    log_prob_NT: Float[Tensor, "N T"],
    entropy_NT: Float[Tensor, "N T"],
    mask_NT: Bool[Tensor, "N T"],
    correct_N: Bool[Tensor, " N"],
    probability: float,
    target_entropy: float,
) -> Bool[Tensor, "N T"]:
    """Tokens ``t`` of correct responses with ``p_t >= probability``, where the response's mean entropy is below target.

    The mean is over the response's tokens, those that are masked out left aside.
    """
    count_N = mask_NT.sum(-1)
    entropy_N = torch.where(mask_NT, entropy_NT.double(), 0.0).sum(-1) / count_N.clamp(min=1)
    confident_NT = log_prob_NT.double() >= math.log(probability) - 1e-9  # a probability of exactly tau counts
    low_N = correct_N & (count_N > 0) & (entropy_N < target_entropy)
    return confident_NT & low_N[:, None] & mask_NT


@final
@dataclass(frozen=True, kw_only=True)
class MasteredTokenMask(PpoVariant):
    """Dynamic masking of well-mastered positive tokens (UloRL, arXiv 2507.19766, Eqs. 9-10), around verl's PPO loss.

    ``(1 - I_it)`` stands before each token's term; ``I_it`` is 1 where response ``i`` is correct, the policy gives its
    token ``t`` a probability of at least ``probability``, and the mean entropy of the response's tokens is below
    ``target_entropy``. The tokens stay in the denominator. Correct is the verifier's word on a response that was not
    truncated, whatever the reward.

    Probability and entropy are those of the policy before the update, which verl computes with the old
    log-probabilities, at the rollout's temperature; so ``algorithm.rollout_correction.bypass_mode`` must be off. The
    paper does not say which policy's they are, nor whether the entropy is a response's, as its equation has it and as
    here, or the batch's.

    Args:
        probability: tau, in (0, 1]; a token at exactly tau is mastered.
        target_entropy: sigma_H, in nats (the paper states no unit); at exactly this nothing is masked.
        of: the clipped loss around it.

    >>> MasteredTokenMask()
    MasteredTokenMask(of=PpoClip(low=0.2, high=0.2, dual=3.0, aggregation='token-mean'), probability=0.99, \
target_entropy=0.2)
    """

    of: PpoClip = CLIP
    probability: float = 0.99
    target_entropy: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.probability <= 1 or self.target_entropy < 0:
            raise ConfigError(
                f"mastered_token_mask: probability is {self.probability} and target_entropy {self.target_entropy}; "
                "give a probability above 0 and up to 1, and an entropy of 0 nats or more"
            )

    @property
    def why_recompute(self) -> str | None:
        """It reads entropies."""
        return "the loss reads the entropy that verl computes together with old log-probabilities"
