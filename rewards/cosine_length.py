"""Demystifying Long Chain-of-Thought: a reward whose size follows half a cosine in the response's length."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import AdviceWarning, ConfigError
from leanthink.core.reward import Reward, RewardN


def cosine_length(
    length_N: Float[Tensor, " N"],
    correct_N: Bool[Tensor, " N"],
    limit: float,
    correct_ends: tuple[float, float] = (2.0, 1.0),
    wrong_ends: tuple[float, float] = (-10.0, 0.0),
) -> Float[Tensor, " N"]:
    """``rL + (r0 - rL) (1 + cos(pi len / limit)) / 2``, which is ``r0`` at 0 tokens and ``rL`` at ``limit``.

    The ends ``(r0, rL)`` are those of the response's verdict. Beyond ``limit`` it stays at ``rL``: a cosine would climb
    back up.
    """
    (right_0, right_L), (wrong_0, wrong_L) = correct_ends, wrong_ends
    r0_N = torch.where(correct_N, torch.full_like(length_N, right_0), wrong_0)
    rL_N = torch.where(correct_N, torch.full_like(length_N, right_L), wrong_L)
    return rL_N + 0.5 * (r0_N - rL_N) * (1 + torch.cos(math.pi * (length_N / limit).clamp(max=1.0)))


@final
@dataclass(frozen=True, kw_only=True)
class CosineLength(Reward):
    """The cosine reward of Demystifying Long Chain-of-Thought Reasoning in LLMs (arXiv 2502.03373, Sec. 4.2).

    ``exceed`` for a truncated response, right or wrong; for any other, with the ends ``r0`` and ``rL`` of its verdict,
    ``rL + (r0 - rL) (1 + cos(pi len / limit)) / 2``: the shorter a correct answer and the longer a wrong one, the
    better. Eq. 1 of the appendix names the ends the other way round; prose, figure and code agree on this way.

    A correct response cut at the limit earns ``exceed`` and so less than a wrong one: recipes declare it, or set
    ``exceed`` to null. Ends the other way round (``correct_at_0`` below ``correct_at_limit``, the paper's ablation A,
    in which length explodes; ``wrong_at_0`` above ``wrong_at_limit``) are built with a warning.

    Args:
        limit: ``L_max``, the most tokens a response may have: the generation limit, not the context (the paper: 14336).
        correct_at_0: reward of a correct response of no length.
        correct_at_limit: of a correct one as long as ``limit``.
        wrong_at_0: of a wrong response of no length; 0 or less, as in the paper's code.
        wrong_at_limit: of a wrong one as long as ``limit``; 0 or less.
        exceed: of a truncated response; null (as TRL has it) leaves such a response to the cosine.
        margin: responses from ``limit - margin`` tokens on count as truncated, too; 16 in the paper's code, 0 (only the
            truncation flag counts) in the paper.

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[2000, 12000, 14336, 500], correct=[1, 1, 1, 0],
    ...                         truncated=[0, 0, 1, 0])
    >>> CosineLength(limit=14336)(batch)[0]
    tensor([  1.9527,   1.0641, -10.0000,  -9.9700], dtype=torch.float64)
    """

    limit: float
    correct_at_0: float = 2.0
    correct_at_limit: float = 1.0
    wrong_at_0: float = -10.0
    wrong_at_limit: float = 0.0
    exceed: float | None = -10.0
    margin: float = 0.0
    in_tokens = ("limit",)

    def __post_init__(self) -> None:
        if self.limit <= 0 or not 0 <= self.margin < self.limit:
            raise ConfigError(
                f"cosine_length: limit is {self.limit} and margin {self.margin}; give a limit above 0 tokens, and a "
                "margin of 0 or more tokens below it"
            )
        if max(self.wrong_at_0, self.wrong_at_limit, self.exceed or 0.0) > 0:
            raise ConfigError(
                f"cosine_length: wrong_at_0 is {self.wrong_at_0}, wrong_at_limit {self.wrong_at_limit} and exceed "
                f"{self.exceed}; what is wrong or truncated earns 0 or less"
            )
        if min(self.correct_at_0, self.correct_at_limit) < max(self.wrong_at_0, self.wrong_at_limit):
            raise ConfigError(
                f"cosine_length: correct_at_0 is {self.correct_at_0} and correct_at_limit {self.correct_at_limit}, "
                f"less than a wrong response may earn; give {max(self.wrong_at_0, self.wrong_at_limit)} or more"
            )
        if self.correct_at_0 < self.correct_at_limit:
            _advise(
                f"correct_at_0 {self.correct_at_0} is below correct_at_limit {self.correct_at_limit}: correct "
                "responses earn more the longer they are"
            )
        if self.wrong_at_0 > self.wrong_at_limit:
            _advise(
                f"wrong_at_0 {self.wrong_at_0} is above wrong_at_limit {self.wrong_at_limit}: wrong responses "
                "earn more the shorter they are"
            )

    def score(self, batch: RolloutBatch) -> RewardN:
        """The reward of each response."""
        reward_N = cosine_length(
            batch.length,
            batch.correct == 1,
            self.limit,
            (self.correct_at_0, self.correct_at_limit),
            (self.wrong_at_0, self.wrong_at_limit),
        )
        if self.exceed is None:
            return reward_N
        exceeded_N = batch.truncated
        if self.margin > 0:
            exceeded_N = exceeded_N | (batch.length + self.margin >= self.limit)
        return torch.where(exceeded_N, torch.full_like(reward_N, self.exceed), reward_N)


def _advise(fact: str) -> None:
    """``stacklevel``: where the reward is constructed."""
    warnings.warn(f"cosine_length: {fact}; swap the two if that is not meant", AdviceWarning, stacklevel=4)
