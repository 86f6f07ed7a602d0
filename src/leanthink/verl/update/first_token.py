"""Losses to which a response's first token, which chooses its mode, is another than the rest; in verl's workers.

Each has the signature of verl's ``ppo_loss``, and calls it. ``_N`` responses, ``_T`` tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from verl.utils.metric import AggregationType, Metric
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import no_padding_2_padding

from leanthink.algorithms import AdaptThink, Degrpo
from leanthink.algorithms.adapt_think import clipped_loss, response_ratio
from leanthink.algorithms.degrpo import decoupled_weights
from leanthink.verl.update.losses import FORCED, field_of


def adapt_think_loss(
    model_output: Any, data: Any, dp_group: Any = None, *, settings: AdaptThink, config: Any
) -> tuple[Tensor, dict[str, Any]]:
    """One clipped ratio per response; what verl adds to its own policy loss stays.

    Args:
        model_output: with ``log_probs``, as verl's engines return them.
        data: the micro-batch, with verl's fields and the log-probability by which each first token was given.
        dp_group: the ranks that share the mini-batch.
        settings: of the loss.
        config: verl's configuration of the actor.

    Raises:
        BatchError: the driver has written nothing for the micro-batch.
    """
    padded = data.select("response_mask", "old_log_probs", "advantages").to_padded_tensor()
    mask_NT, old_NT = padded["response_mask"].double(), padded["old_log_probs"].double()
    old_NT = torch.cat([field_of(data, FORCED, "adapt_think").to(old_NT)[:, None], old_NT[:, 1:]], dim=1)
    advantage_N = (padded["advantages"].double() * mask_NT).sum(-1) / mask_NT.sum(-1).clamp(min=1)
    log_prob_NT = no_padding_2_padding(model_output["log_probs"], data).double()
    ratio_N = response_ratio(log_prob_NT, old_NT, mask_NT, settings.ratio)
    loss_N = clipped_loss(ratio_N, advantage_N, settings.of.low, settings.of.high)
    own = loss_N.sum() * int(data["dp_size"]) / int(data["global_batch_size"])

    without = data.clone(recurse=False)
    without["advantages"] = torch.zeros_like(padded["advantages"])
    added, metrics = ppo_loss(config, model_output, without, dp_group)
    beyond_N = ((ratio_N < 1 - settings.of.low) | (ratio_N > 1 + settings.of.high)).double()
    metrics = {
        **metrics,
        "actor/pg_loss": Metric(AggregationType.SUM, own),
        "adapt_think/ratio": Metric(AggregationType.MEAN, ratio_N.mean()),
        "adapt_think/beyond_clip": Metric(AggregationType.MEAN, beyond_N.mean()),
    }
    return added + own.to(added.dtype), metrics


def degrpo_loss(
    model_output: Any, data: Any, dp_group: Any = None, *, settings: Degrpo, config: Any
) -> tuple[Tensor, dict[str, Any]]:
    """verl's PPO loss, its control tokens averaged apart.

    A token's clipped loss is proportional to its advantage. verl divides their sum by the mini-batch's tokens; so the
    advantages are multiplied by what makes two averages of it.

    Args:
        model_output: as verl's engines return it.
        data: the micro-batch, with verl's fields.
        dp_group: the ranks that share the mini-batch.
        settings: of the loss.
        config: verl's configuration of the actor.
    """
    padded = data.select("response_mask", "advantages").to_padded_tensor()
    tokens = int(data["batch_num_tokens"])
    weight_NT = decoupled_weights(
        padded["response_mask"], settings.alpha, int(data["global_batch_size"]), tokens, settings.response
    )
    changed = data.clone(recurse=False)
    changed["advantages"] = (padded["advantages"] * weight_NT * tokens).to(padded["advantages"].dtype)
    loss, metrics = ppo_loss(config, model_output, changed, dp_group)
    return loss, metrics
