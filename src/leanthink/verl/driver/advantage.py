"""Our advantage estimator in verl's registry: reads the recipe's advantage from the configuration and calls it.

verl tells an estimator nothing about a response but its rewards, its mask and its prompt's id. What else it has to know
the sampler writes behind the id (:func:`tagged`).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.algorithms import TokenAdvantage
from leanthink.recipe.registry import build

COUNTED: Final = "/counted"
"""Behind the id of a response whose mask is empty, but whose reward belongs into its group's statistics."""

CORRECT: Final = "/correct"
"""Behind the id of a correct response, where the advantage reads raw correctness."""

LEFT_OUT: Final = "/left_out"
"""Behind the id of a response that the advantage did not choose: it has no advantage, and takes no part in any."""


class Tagged(NamedTuple):
    """A prompt's id, and what the estimator must know about one response."""

    uid: str
    counted: bool = False
    correct: bool = False
    left_out: bool = False


def tagged(uid: str, *, counted: bool = False, correct: bool = False, left_out: bool = False) -> str:
    """A prompt's id with what the estimator must know about one response.

    >>> tagged("a1b2", counted=True)
    'a1b2/counted'
    """
    return f"{uid}{COUNTED if counted else ''}{CORRECT if correct else ''}{LEFT_OUT if left_out else ''}"


def untagged(tag: str) -> Tagged:
    """What stands behind a prompt's id.

    >>> untagged("a1b2/counted/correct")
    Tagged(uid='a1b2', counted=True, correct=True, left_out=False)
    """
    whole = tag.removesuffix(LEFT_OUT)
    rest = whole.removesuffix(CORRECT)
    uid = rest.removesuffix(COUNTED)
    return Tagged(uid, counted=uid != rest, correct=rest != whole, left_out=whole != tag)


def recipe_advantage(
    token_level_rewards: Float[Tensor, "N T"],
    response_mask: Float[Tensor, "N T"],
    index: np.ndarray[Any, Any],
    config: Any = None,
    **_: Any,
) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
    """The recipe's advantage by token; one per response stands on all its tokens. Returned as advantages and returns.

    A response whose mask is empty (verdict unknown, or filtered) gets 0 and takes no part in any statistics, unless it
    is tagged as counted: then its reward stays in those of its group. So does one that is tagged as left out, whatever
    its mask: its tokens stay in the loss's denominator. A KL penalty that verl has put into the token
    rewards counts with the response's reward.

    Args:
        token_level_rewards: rewards by token; a response's reward is their sum over its mask.
        response_mask: 1 for the tokens the policy wrote, 0 elsewhere.
        index: (N,) prompt ids, tagged where needed.
        config: verl's ``algorithm`` node, which carries ours under ``leanthink``.
    """
    estimator = build(_node(config), "advantage", "algorithm.leanthink")
    mask_NT = response_mask.double()
    tags = [untagged(str(tag)) for tag in index.tolist()]
    counted_N = torch.tensor([tag.counted for tag in tags], dtype=torch.bool, device=mask_NT.device)
    chosen_N = torch.tensor([not tag.left_out for tag in tags], dtype=torch.bool, device=mask_NT.device)
    if isinstance(estimator, TokenAdvantage):
        counted_N = torch.zeros_like(counted_N)  # statistics are over tokens, and a masked response has none
    rows = (chosen_N & ((mask_NT.sum(-1) > 0) | counted_N)).nonzero().squeeze(-1)
    advantage_NT = torch.zeros_like(mask_NT)
    if len(rows):
        chosen = [tags[row] for row in rows.tolist()]
        uids, correct = [tag.uid for tag in chosen], [tag.correct for tag in chosen]
        codes = {uid: code for code, uid in enumerate(dict.fromkeys(uids))}
        group_M = torch.tensor([codes[uid] for uid in uids], device=mask_NT.device)
        if isinstance(estimator, TokenAdvantage):
            reward_MT = (token_level_rewards.double() * mask_NT)[rows]
            advantage_NT[rows] = estimator(reward_MT, mask_NT[rows].bool(), group_M)
        else:
            paid_NT = torch.where(counted_N[:, None], torch.ones_like(mask_NT), mask_NT)
            reward_N = (token_level_rewards.double() * paid_NT).sum(-1)
            value_M = estimator(reward_N[rows], group_M, mask_NT.sum(-1)[rows])
            value_M = estimator.lifted(value_M, torch.tensor(correct, device=mask_NT.device), group_M)
            advantage_NT[rows] = value_M[:, None] * mask_NT[rows]
    advantage_NT = advantage_NT.to(token_level_rewards.dtype)
    return advantage_NT, advantage_NT.clone()


def _node(config: Any) -> Any:
    from omegaconf import OmegaConf

    node = config["leanthink"]
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
