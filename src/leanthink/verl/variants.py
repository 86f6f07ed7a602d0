"""Changes of ours around verl's own PPO loss, in the training workers. ``_N`` responses, ``_T`` tokens.

Each has the signature of verl's ``ppo_loss``, changes what it is given, and calls it.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from verl.utils.metric import AggregationType, Metric
from verl.workers.utils.losses import ppo_loss

from leanthink.algorithms import MasteredTokenMask
from leanthink.algorithms.mastered_token_mask import mastered_tokens
from leanthink.errors import BatchError
from leanthink.verl.losses import CORRECT

ENTROPY: Final = "entropy"
"""verl's field of token entropies, computed together with the old log-probabilities."""


def mastered_token_loss(
    model_output: Any, data: Any, dp_group: Any = None, *, settings: MasteredTokenMask, config: Any
) -> tuple[Tensor, dict[str, Any]]:
    """verl's PPO loss without the terms of mastered tokens, which stay in its denominator.

    Args:
        model_output: as verl's engines return it.
        data: the micro-batch, with verl's fields and the verdicts of the driver.
        dp_group: the ranks that share the mini-batch.
        settings: of the mask.
        config: verl's configuration of the actor.

    Raises:
        BatchError: the micro-batch has no entropies or no verdicts.
    """
    for name in (ENTROPY, CORRECT):
        if name not in data:
            raise BatchError(
                f"loss mastered_token_mask: the micro-batch has no field {name!r}; set "
                "algorithm.rollout_correction.bypass_mode=false, and trainer.v1.sampler.custom_sampler as "
                "`leanthink show RECIPE --verl` prints it"
            )
    padded = data.select("response_mask", "old_log_probs", "advantages", ENTROPY).to_padded_tensor()
    mask_NT = padded["response_mask"].bool()
    mastered_NT = mastered_tokens(
        padded["old_log_probs"],
        padded[ENTROPY],
        mask_NT,
        data[CORRECT] == 1,
        settings.probability,
        settings.target_entropy,
    )
    changed = data.clone(recurse=False)
    changed["advantages"] = torch.where(mastered_NT, 0.0, padded["advantages"])
    loss, metrics = ppo_loss(config, model_output, changed, dp_group)
    share = mastered_NT.sum() / mask_NT.sum().clamp(min=1)
    return loss, {**metrics, "mastered_share": Metric(AggregationType.MEAN, share)}
