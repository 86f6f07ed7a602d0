"""Our advantage estimator in verl's registry: reads the recipe's advantage from the configuration and calls it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.algorithms import TokenAdvantage
from leanthink.config import build


def recipe_advantage(
    token_level_rewards: Float[Tensor, "N T"],
    response_mask: Float[Tensor, "N T"],
    index: np.ndarray[Any, Any],
    config: Any = None,
    **_: Any,
) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
    """The recipe's advantage by token; one per response stands on all its tokens. Returned as advantages and returns.

    A response whose mask is empty (verdict unknown, or filtered) takes no part in any statistics and gets 0.
    A KL penalty that verl has put into the token rewards counts with the response's reward.

    Args:
        token_level_rewards: rewards by token; a response's reward is their sum over its mask.
        response_mask: 1 for the tokens the policy wrote, 0 elsewhere.
        index: (N,) prompt ids.
        config: verl's ``algorithm`` node, which carries ours under ``leanthink``.
    """
    estimator = build(_node(config), "advantage", "algorithm.leanthink")
    mask_NT = response_mask.double()
    rows = (mask_NT.sum(-1) > 0).nonzero().squeeze(-1)
    advantage_NT = torch.zeros_like(mask_NT)
    if len(rows):
        uids = index[rows.cpu().numpy()].tolist()
        codes = {uid: code for code, uid in enumerate(dict.fromkeys(uids))}
        group_M = torch.tensor([codes[uid] for uid in uids], device=mask_NT.device)
        reward_MT, mask_MT = (token_level_rewards.double() * mask_NT)[rows], mask_NT[rows]
        if isinstance(estimator, TokenAdvantage):
            advantage_NT[rows] = estimator(reward_MT, mask_MT.bool(), group_M)
        else:
            advantage_NT[rows] = estimator(reward_MT.sum(-1), group_M)[:, None] * mask_MT
    advantage_NT = advantage_NT.to(token_level_rewards.dtype)
    return advantage_NT, advantage_NT.clone()


def _node(config: Any) -> Any:
    from omegaconf import OmegaConf

    node = config["leanthink"]
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
