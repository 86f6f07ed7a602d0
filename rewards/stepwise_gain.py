"""VSRM: each step of the thinking earns what it changes in the accuracy of an answer given right there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.placement import Placement
from leanthink.core.reward import RewardN
from leanthink.rewards.probed import CUT_TOKENS, PROBE_ACCURACIES, ProbedReward


def step_gains(accuracy_NK: Float[Tensor, "N K+1"]) -> Float[Tensor, "N K"]:
    """``d_j = A_{j+1} - A_j``; 0 where either is NaN, that is not known or not there."""
    return accuracy_NK.diff(dim=-1).nan_to_num(nan=0.0)


def look_ahead(gain_NK: Float[Tensor, "N K"], window: int, decay: float, tolerance: float) -> Float[Tensor, "N K"]:
    """A step without a gain of its own gets the nearest later one, ``decay^q`` of it at ``q`` steps, ``q <= window``.

    Only original gains are looked at, sign kept; a gain below ``tolerance`` is none. VSRM's code gives the sum of gains
    below the tolerance to the last steps; with accuracies that are multiples of 1/N it is 0, as it is here.
    """
    real_NK = gain_NK.abs() >= tolerance
    reward_NK, done_NK = torch.where(real_NK, gain_NK, 0.0), real_NK.clone()
    for q in range(1, min(window, gain_NK.shape[1] - 1) + 1):
        taken_NK = real_NK[:, q:] & ~done_NK[:, :-q]
        reward_NK[:, :-q] += torch.where(taken_NK, decay**q * gain_NK[:, q:], 0.0)
        done_NK[:, :-q] |= taken_NK
    return reward_NK


def step_tokens(cut_NK: Int[Tensor, "N K+1"], placement: Literal["step_start", "step_end"]) -> Int[Tensor, "N K"]:
    """The token that carries each step's reward: its first, or the last before the next cut."""
    start_NK, next_NK = cut_NK[:, :-1], cut_NK[:, 1:]
    return start_NK if placement == "step_start" else torch.maximum(next_NK - 1, start_NK)


@final
@dataclass(frozen=True, kw_only=True)
class StepwiseGain(ProbedReward):
    """Verifiable stepwise reward (VSRM, arXiv 2508.10293); a term, beside which the outcome falls on the last token.

    ``A_1..A_{K+1}``: the share of right answers when the thinking is closed at each of K cuts, and after all of it.
    Step ``j`` earns ``r_j = d_j = A_{j+1} - A_j``, or, where that is 0, ``decay^q d_{j+q}`` of the nearest later change
    within ``window`` steps. What stands before the first cut earns nothing, unless ``probe_empty``. For an advantage by
    token; summed over a response the steps cancel to ``A_{K+1} - A_1``, but for the borrowed shares.

    It reads two columns of lists, one entry each per cut and one for the end of the thinking: ``cut_tokens`` (indices,
    from 0) and ``probe_accuracies`` (None or NaN where a probe failed: the two gains that touch it count as 0, and
    borrow). A response without cuts has empty lists and earns 0. A token behind the response's last is dropped. Lists
    that do not fit are refused, where the authors' code drops the row's step rewards in silence.

    Defaults are those of the authors' code; the paper's own constants are not confirmed, nor is its placement. Beside
    those of :class:`ProbedReward`,

    Args:
        tolerance: a smaller change in accuracy is none.
        window: how many steps ahead a flat step looks.
        decay: what is left of a later change, by step, in (0, 1].
        placement: "step_start" pays the first token of a step, as the code does; "step_end" its last.
        combine: "add" pays the outcome beside a step that falls on the response's last token; "overwrite", the code's
            way, drops that step. They differ only where the thinking was cut off.

    >>> batch = RolloutBatch.of(
    ...     group=[0], length=[40], correct=[1], cut_tokens=[[5, 12, 20, 30]], probe_accuracies=[[0.2, 0.2, 0.8, 0.8]]
    ... )
    >>> total_N, placement = StepwiseGain().place(batch)
    >>> total_N, placement.token, placement.amount
    (tensor([1.0200], dtype=torch.float64), tensor([ 5, 12]), tensor([0.4200, 0.6000], dtype=torch.float64))
    """

    tolerance: float = 1e-5
    window: int = 4
    decay: float = 0.7
    placement: Literal["step_start", "step_end"] = "step_start"
    combine: Literal["add", "overwrite"] = "add"
    is_term = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tolerance <= 0 or self.window < 0 or not 0 < self.decay <= 1:
            raise ConfigError(
                f"stepwise_gain: tolerance is {self.tolerance}, window {self.window} and decay {self.decay}; give a "
                "tolerance above 0, such as 1e-5, a window of 0 steps or more, and a decay above 0 and up to 1"
            )

    def place(self, batch: RolloutBatch) -> tuple[RewardN, Placement]:
        """The sum of each response's step rewards, and the steps' tokens."""
        cut_NK, accuracy_NK = _padded(batch)
        reward_NK = look_ahead(step_gains(accuracy_NK), self.window, self.decay, self.tolerance)
        token_NK = step_tokens(cut_NK, self.placement)
        last_N1 = batch.length.long()[:, None] - 1
        paid_NK = (reward_NK != 0) & (token_NK >= 0) & (token_NK <= last_N1)
        if self.combine == "overwrite":
            paid_NK &= token_NK != last_N1
        row_K, step_K = paid_NK.nonzero(as_tuple=True)
        placement = Placement(row=row_K, token=token_NK[row_K, step_K], amount=reward_NK[row_K, step_K])
        return torch.where(paid_NK, reward_NK, 0.0).sum(-1), placement


def _padded(batch: RolloutBatch) -> tuple[Int[Tensor, "N K+1"], Float[Tensor, "N K+1"]]:
    """Both columns as matrices, padded with -1 and NaN."""
    cuts, accuracies = _lists(batch, CUT_TOKENS), _lists(batch, PROBE_ACCURACIES)
    for row, (tokens, shares) in enumerate(zip(cuts, accuracies, strict=True)):
        if len(tokens) != len(shares):
            raise BatchError(
                f"row {row}: {len(tokens)} {CUT_TOKENS} and {len(shares)} {PROBE_ACCURACIES}; give one of each per cut "
                "and one for the end of the thinking, or none where there is no cut"
            )
    device = batch.group.device
    counts_N = torch.tensor([len(tokens) for tokens in cuts], device=device, dtype=torch.int64)
    width = int(counts_N.max()) if len(cuts) else 0
    filled_NK = torch.arange(width, device=device) < counts_N[:, None]
    cut_NK = torch.full(filled_NK.shape, -1, device=device)
    cut_NK[filled_NK] = torch.tensor(list(chain.from_iterable(cuts)), device=device, dtype=torch.int64)
    accuracy_NK = torch.full(filled_NK.shape, torch.nan, device=device, dtype=torch.float64)
    known = [math.nan if share is None else share for share in chain.from_iterable(accuracies)]
    accuracy_NK[filled_NK] = torch.tensor(known, device=device, dtype=torch.float64)
    return cut_NK, accuracy_NK


def _lists(batch: RolloutBatch, name: str) -> Sequence[Sequence[Any]]:
    values = batch.values(name)
    for row, value in enumerate(values):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise BatchError(f"column {name!r}, row {row}: {value!r:.80} is no list; give one list per response")
    return list(values)
