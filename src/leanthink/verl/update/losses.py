"""Losses of our own in verl's training workers, each a function with the signature of verl's ``ppo_loss``.

verl calls it once per micro-batch on every data-parallel rank, adds up the gradients over micro-batches, averages them
over ranks, and rescales nothing. What it returns is therefore normalised by the whole mini-batch and multiplied by the
number of ranks. ``_N`` responses, ``_T`` tokens.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from verl.utils.metric import AggregationType, Metric
from verl.workers.utils.padding import no_padding_2_padding

from leanthink.algorithms import Drpo
from leanthink.algorithms.drpo import (
    classes,
    kept_prompts,
    kl_sum,
    preference_weights,
    prompt_objectives,
    response_scores,
)
from leanthink.core.errors import BatchError

MODE: Final = "leanthink_mode"
PREFERRED: Final = "leanthink_preferred"
GROUP: Final = "leanthink_group"
CORRECT: Final = "leanthink_correct"
PREFERENCE: Final = "leanthink_preference"
FORCED: Final = "leanthink_forced"
ADVANTAGE: Final = "leanthink_advantage"
"""Fields of a response that the driver writes for the loss; the last is all that DRPO's form "advantage" needs."""


def drpo_loss(
    model_output: Any, data: Any, dp_group: Any = None, *, settings: Drpo, rollouts: int
) -> tuple[Tensor, dict[str, Metric]]:
    """The share of one micro-batch on one rank in the loss of a mini-batch.

    The objective is the mean over the mini-batch's prompts. KL and penalty are those of a micro-step, which is the
    micro-batches of the same number on all ranks, and the penalty of a micro-step counts with its share of the
    mini-batch's responses: so the published code has it.

    Args:
        model_output: with ``log_probs``, as verl's engines return them.
        data: the micro-batch, with verl's fields and ours.
        dp_group: the ranks that share the mini-batch.
        settings: of the loss.
        rollouts: responses to a prompt.

    Raises:
        BatchError: a prompt's responses are not all in the micro-batch, or the driver has written nothing for it.
    """
    log_probs_NT = no_padding_2_padding(model_output["log_probs"], data)
    padded = data.select("response_mask", "old_log_probs").to_padded_tensor()
    mask_NT, old_NT = padded["response_mask"], padded["old_log_probs"]
    ranks, responses = int(data["dp_size"]), int(data["global_batch_size"])
    score_N = response_scores(log_probs_NT, old_NT, mask_NT, settings.score)
    if settings.form == "groups":
        objective, kept = _whole_groups(score_N, mask_NT, data, settings, rollouts)
    else:
        advantage_N = field_of(data, ADVANTAGE)
        objective, kept = (advantage_N * score_N).sum(), None
    objective = objective * ranks * rollouts / responses

    local_kl = kl_sum(log_probs_NT, old_NT, mask_NT, settings.kl_type)
    rows = local_kl.new_tensor(len(mask_NT))
    totals = torch.stack([local_kl.detach(), mask_NT.sum().to(rows), rows])
    if ranks > 1:
        torch.distributed.all_reduce(totals, group=dp_group)
    tokens, share = totals[1].clamp(min=1), totals[2] / responses
    kl = totals[0] / tokens
    excess = (kl - settings.delta).clamp(min=0)
    penalty = settings.beta / 2 * excess.square()
    shown = settings.beta * excess * kl if settings.report == "official" else penalty
    # Averaged over the ranks, the gradient of this is the penalty's, whose KL is that of all ranks.
    carrier = settings.beta * excess * ranks * local_kl / tokens
    loss = share * (carrier + (shown - carrier).detach()) - objective
    metrics = {
        "drpo/objective": Metric(AggregationType.SUM, objective),
        "drpo/kl": Metric(AggregationType.MEAN, kl),
        "drpo/penalty": Metric(AggregationType.MEAN, penalty),
        "drpo/kl_exceeded": Metric(AggregationType.MEAN, (excess > 0).double()),
    }
    if kept is not None:
        metrics["drpo/kept_groups"] = Metric(AggregationType.SUM, kept * ranks)
    return loss, metrics


def _whole_groups(
    score_N: Float[Tensor, " N"], mask_NT: Float[Tensor, "N T"], data: Any, settings: Drpo, rollouts: int
) -> tuple[Tensor, Tensor]:
    """The sum of the prompts' objectives, and the number of prompts that have one."""
    group_N = whole_group_codes(field_of(data, GROUP), rollouts)
    positive_N, negative_N = classes(field_of(data, CORRECT), mask_NT)
    weight_N = preference_weights(field_of(data, PREFERENCE), group_N, positive_N, settings.length_temperature)
    parts = (group_N, positive_N, negative_N)
    objective_G = prompt_objectives(score_N, weight_N, *parts, settings.tau, settings.keep_all_correct, settings.report)
    return objective_G.sum(), kept_prompts(*parts, settings.keep_all_correct).sum()


def whole_group_codes(group_N: Int[Tensor, " N"], rollouts: int, loss: str = "drpo") -> Int[Tensor, " N"]:
    """Codes 0..G-1, once each is there ``rollouts`` times.

    Raises:
        BatchError: a group is torn.
    """
    names_G, codes_N, counts_G = torch.unique(group_N, return_inverse=True, return_counts=True)
    torn_G = counts_G != rollouts
    if bool(torn_G.any()):
        raise BatchError(
            f"loss {loss}: {int(torn_G.sum())} of {len(names_G)} prompt groups are torn: one micro-batch holds "
            f"{int(counts_G[torn_G][0])} of a group's {rollouts} responses; keep micro-batches a multiple of "
            "actor_rollout_ref.rollout.n and shuffle and use_dynamic_bsz off, or take a loss that needs no whole "
            "groups (drpo: form=advantage)"
        )
    codes: Tensor = codes_N
    return codes


def field_of(data: Any, name: str, loss: str = "drpo") -> Tensor:
    """A field that the driver has written for a loss.

    Raises:
        BatchError: it is not there.
    """
    if name not in data:
        raise BatchError(
            f"loss {loss}: the micro-batch has no field {name!r}, so leanthink's sampler did not prepare it; set "
            "trainer.v1.sampler.custom_sampler as `leanthink show RECIPE --verl` prints it"
        )
    value: Tensor = data[name]
    return value
