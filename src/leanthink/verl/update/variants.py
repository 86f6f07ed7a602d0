"""Changes of ours around verl's own PPO loss, in the training workers. ``_N`` responses, ``_T`` tokens.

Each has the signature of verl's ``ppo_loss``, changes what it is given, and calls it.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from verl.utils.metric import AggregationType, Metric
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import no_padding_2_padding

from leanthink.algorithms import MasteredTokenMask, ModeSwitch
from leanthink.algorithms.mastered_token_mask import mastered_tokens
from leanthink.algorithms.mode_switch import mode_loss
from leanthink.core.errors import BatchError
from leanthink.core.groups import group_mean
from leanthink.verl.update.losses import CORRECT, GROUP, MODE, PREFERRED, field_of, whole_group_codes

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


def mode_switch_loss(
    model_output: Any,
    data: Any,
    dp_group: Any = None,
    *,
    settings: ModeSwitch,
    config: Any,
    rollouts: int,
    temperature: float,
) -> tuple[Tensor, dict[str, Any]]:
    """verl's PPO loss, and the ranking of the two modes' first tokens.

    The driver has written each response's mode (1 long, -1 short, 0 for a row that fills up its group) and its prompt's
    preference: of the same sign, and as large as it takes for the mean over all prompts to be the mean over those with
    a preference.

    Args:
        model_output: with ``log_probs``, as verl's engines return them.
        data: the micro-batch, in whole groups, with verl's fields and ours.
        dp_group: the ranks that share the mini-batch.
        settings: of the loss.
        config: verl's configuration of the actor.
        rollouts: responses to a prompt.
        temperature: by which verl has divided logits.

    Raises:
        BatchError: a prompt's responses are not all in the micro-batch, or the driver has written nothing for it.
    """
    loss, metrics = ppo_loss(config, model_output, data, dp_group)
    group_N = whole_group_codes(field_of(data, GROUP, "mode_switch"), rollouts, "mode_switch")
    mode_N, preferred_N = field_of(data, MODE, "mode_switch"), field_of(data, PREFERRED, "mode_switch")
    first_N = no_padding_2_padding(model_output["log_probs"], data)[:, 0] * temperature
    long_G, short_G = (group_mean(first_N, group_N, mode_N == side) for side in (1, -1))
    preferred_G = group_mean(preferred_N, group_N, mode_N != 0).nan_to_num(nan=0.0)
    counts_G = (preferred_G != 0) & ~(long_G.isnan() | short_G.isnan())
    gap_M = ((long_G - short_G) * preferred_G.sign())[counts_G]
    loss_M = mode_loss(gap_M, settings.form, settings.margin) * preferred_G.abs()[counts_G]
    share = int(data["dp_size"]) * rollouts / int(data["global_batch_size"])
    ranking = loss_M.sum() * share
    metrics = {
        **metrics,
        "mode_loss": Metric(AggregationType.SUM, ranking),
        "mode_prompts": Metric(AggregationType.SUM, counts_G.double().sum()),
    }
    return loss + settings.weight * ranking.to(loss.dtype), metrics
