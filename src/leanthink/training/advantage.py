"""The recipe's advantage, token by token, for trainers that hold a step as padded rows.

``N`` responses, ``M`` of them that take part, ``T`` tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from leanthink.algorithms import Advantage, AnyAdvantage, TokenAdvantage
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_codes
from leanthink.recipe.registry import name_of


class Mark(NamedTuple):
    """What an advantage must know of one response beside its reward and its mask.

    Attributes:
        counted: its mask is empty, but its reward belongs into its group's statistics.
        correct: it is correct, where the advantage reads raw correctness.
        left_out: the advantage did not choose it: it has no advantage, and takes no part in any.
    """

    counted: bool = False
    correct: bool = False
    left_out: bool = False


def token_advantages(
    estimator: AnyAdvantage,
    reward_NT: Float[Tensor, "N T"],
    mask_NT: Int[Tensor, "N T"],
    uids: Sequence[str],
    marks: Sequence[Mark],
) -> Float[Tensor, "N T"]:
    """The advantage of each token, in float64; one per response stands on all its tokens.

    A response whose mask is empty (verdict unknown, or filtered) gets 0 and takes no part in any statistics, unless it
    is marked as counted: then its reward stays in those of its group. So does one that is marked as left out, whatever
    its mask: its tokens stay in the loss's denominator.

    Args:
        estimator: the recipe's.
        reward_NT: rewards by token; a response's reward is their sum over its mask.
        mask_NT: 1 for the tokens the policy wrote, 0 elsewhere.
        uids: (N,) the prompt of each response.
        marks: (N,) what else is known of it.

    Raises:
        ConfigError: an estimator of verl's own, which needs more than rewards.

    >>> from leanthink.algorithms import Grpo
    >>> reward_NT, mask_NT = torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.tensor([[1, 1], [1, 0]])
    >>> token_advantages(Grpo(scale="none"), reward_NT, mask_NT, ["a", "a"], [Mark(), Mark()])
    tensor([[ 0.5000,  0.5000],
            [-0.5000, -0.0000]], dtype=torch.float64)
    """
    if not isinstance(estimator, Advantage | TokenAdvantage):
        raise ConfigError(
            f"advantage {name_of(type(estimator))} is an estimator of verl's own, which reads more than rewards; train "
            "with verl, or choose one of leanthink's, such as grpo"
        )
    mask_NT = mask_NT.double()
    counted_N = torch.tensor([mark.counted for mark in marks], dtype=torch.bool, device=mask_NT.device)
    chosen_N = torch.tensor([not mark.left_out for mark in marks], dtype=torch.bool, device=mask_NT.device)
    if isinstance(estimator, TokenAdvantage):
        counted_N = torch.zeros_like(counted_N)  # statistics are over tokens, and a masked response has none
    rows = (chosen_N & ((mask_NT.sum(-1) > 0) | counted_N)).nonzero().squeeze(-1)
    advantage_NT = torch.zeros_like(mask_NT)
    if not len(rows):
        return advantage_NT
    taking_part = rows.tolist()
    group_M = group_codes([uids[row] for row in taking_part]).to(mask_NT.device)
    if isinstance(estimator, TokenAdvantage):
        reward_MT = (reward_NT.double() * mask_NT)[rows]
        advantage_NT[rows] = estimator(reward_MT, mask_NT[rows].bool(), group_M)
    else:
        paid_NT = torch.where(counted_N[:, None], torch.ones_like(mask_NT), mask_NT)
        reward_N = (reward_NT.double() * paid_NT).sum(-1)
        value_M = estimator(reward_N[rows], group_M, mask_NT.sum(-1)[rows])
        correct_M = torch.tensor([marks[row].correct for row in taking_part], device=mask_NT.device)
        advantage_NT[rows] = estimator.lifted(value_M, correct_M, group_M)[:, None] * mask_NT[rows]
    return advantage_NT
