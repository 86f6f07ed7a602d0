"""Our advantage estimator in verl's registry: reads the recipe's advantage from the configuration and calls it.

verl tells an estimator nothing about a response but its rewards, its mask and its prompt's id. What else it has to know
the sampler writes behind the id (:func:`tagged`).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from jaxtyping import Float
from torch import Tensor

from leanthink.recipe.nodes import build
from leanthink.training.advantage import Mark, token_advantages

COUNTED: Final = "/counted"
CORRECT: Final = "/correct"
LEFT_OUT: Final = "/left_out"


def tagged(uid: str, mark: Mark) -> str:
    """A prompt's id with what the estimator must know about one response.

    >>> tagged("a1b2", Mark(counted=True))
    'a1b2/counted'
    """
    return f"{uid}{COUNTED if mark.counted else ''}{CORRECT if mark.correct else ''}{LEFT_OUT if mark.left_out else ''}"


def untagged(tag: str) -> tuple[str, Mark]:
    """A prompt's id, and what stands behind it.

    >>> untagged("a1b2/counted/correct")
    ('a1b2', Mark(counted=True, correct=True, left_out=False))
    """
    whole = tag.removesuffix(LEFT_OUT)
    rest = whole.removesuffix(CORRECT)
    uid = rest.removesuffix(COUNTED)
    return uid, Mark(counted=uid != rest, correct=rest != whole, left_out=whole != tag)


def recipe_advantage(
    token_level_rewards: Float[Tensor, "N T"],
    response_mask: Float[Tensor, "N T"],
    index: np.ndarray[Any, Any],
    config: Any = None,
    **_: Any,
) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
    """The recipe's advantage by token (see :func:`token_advantages`), returned as advantages and returns.

    A KL penalty that verl has put into the token rewards counts with the response's reward.

    Args:
        token_level_rewards: rewards by token; a response's reward is their sum over its mask.
        response_mask: 1 for the tokens the policy wrote, 0 elsewhere.
        index: (N,) prompt ids, tagged where needed.
        config: verl's ``algorithm`` node, which carries ours under ``leanthink``.
    """
    estimator = build(_node(config), "advantage", "algorithm.leanthink")
    known = [untagged(str(tag)) for tag in index.tolist()]
    uids, marks = [uid for uid, _ in known], [mark for _, mark in known]
    advantage_NT = token_advantages(estimator, token_level_rewards, response_mask, uids, marks)
    advantage_NT = advantage_NT.to(token_level_rewards.dtype)
    return advantage_NT, advantage_NT.clone()


def _node(config: Any) -> Any:
    from omegaconf import OmegaConf

    node = config["leanthink"]
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
