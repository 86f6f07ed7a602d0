"""DLER: a response that is cut off loses its reward; for DA-DLER, at a length that depends on the prompt's difficulty.

``_N`` responses, ``_G`` groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.groups import group_mean
from leanthink.core.limits import Equality, check_difficulty, length_by_difficulty
from leanthink.core.reward import Composite, Part, Reward, RewardN, Scope
from leanthink.core.schedules import Number, at, bounds
from leanthink.rewards.correct import Correct

Rule = Literal["multiply", "add"]

OUTCOME: Final = Correct()


def truncated_reward(
    score_N: Float[Tensor, " N"], cut_N: Bool[Tensor, " N"], kappa: float = 0.0, rule: Rule = "multiply"
) -> Float[Tensor, " N"]:
    """``s`` of a finished response; of a cut one ``kappa s`` (multiply), or ``s - (1 - kappa)`` (add).

    Both leave a correct response, ``s = 1``, with ``kappa``; of a wrong one, ``s = 0``, only "add" takes anything.
    """
    cut_score_N = kappa * score_N if rule == "multiply" else score_N - (1 - kappa)
    return torch.where(cut_N, cut_score_N, score_N)


@final
@dataclass(frozen=True, kw_only=True)
class Truncation(Composite):
    """The truncation penalty of DLER (arXiv 2510.15110, Secs. 2 and 4.5): nothing for a response that was cut off.

    ``R' = s (stop + (1 - stop) kappa)``, where ``stop`` is 1 if the model ended the response itself and ``s`` is the
    reward ``of``. The limit is the engine's: set it as the recipe's ``limit`` or as verl's
    ``data.max_response_length``. A response that ends exactly at it is complete.

    A negative ``s`` of a cut response would be rewarded for the cut by "multiply": it is an error; use "add", which
    takes ``1 - kappa`` from any cut response.

    Args:
        kappa: what a cut response keeps, in [0, 1]; 0 in the paper, 0.1 in the released code.
        of: the reward of a finished response.
        rule: "multiply" (the paper) or "add".
        limit: tokens beyond which a response counts as cut whatever its end, for rollouts that were made with a larger
            limit; at the limit exactly it does not.

    >>> batch = RolloutBatch.of(group=[0] * 3, length=[900, 4000, 4000], correct=[1, 1, 0], truncated=[0, 1, 1])
    >>> Truncation()(batch)[0], Truncation(kappa=0.1)(batch)[0]
    (tensor([1., 0., 0.], dtype=torch.float64), tensor([1.0000, 0.1000, 0.0000], dtype=torch.float64))
    """

    kappa: Number = 0.0
    of: Reward = OUTCOME
    rule: Rule = "multiply"
    limit: Number | None = None
    in_tokens = ("limit",)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("truncation", self.kappa, self.rule, self.of)
        if self.limit is not None and bounds(self.limit)[0] < 1:
            raise ConfigError(f"truncation: limit is {self.limit}; give tokens, 1 or more")

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The part, less what cut responses lose."""
        cut_N = batch.truncated
        if self.limit is not None:
            cut_N = cut_N | (batch.length > at(self.limit, batch.step))
        score_N = part("of", batch)
        return _penalised("truncation", score_N, cut_N, at(self.kappa, batch.step), self.rule)


@final
@dataclass(frozen=True, kw_only=True)
class DifficultyTruncation(Composite):
    """The penalty of DA-DLER (arXiv 2510.15110, Secs. 3.5 and 4.1): the easier the prompt, the shorter its limit.

    With thresholds ``d_1 < ... < d_n`` on the share of correct responses in the group, ``n + 1`` lengths: a group
    between ``d_k`` and ``d_(k+1)`` has ``lengths[k]``, and what is longer, or was cut by the engine, loses its reward
    as in ``truncation``. The paper does not say on which rollouts the share is measured: here on the group itself,
    after a cut at the longest length, which needs no extra rollouts. An all-correct group in which some are too long
    has a signal that filtering on raw correctness would drop: filter with ``acc_then_reward``.

    Args:
        thresholds: on the share of correct responses, rising, within (0, 1]; the paper has one, 0.5.
        lengths: tokens, falling, one more than thresholds; the paper: 4000 and 2000.
        kappa: what a response that is too long keeps, in [0, 1]; 0 in the paper.
        of: the reward of a response that is not.
        rule: "multiply" or "add", as in ``truncation``.
        equality: on which side a share equal to a threshold falls, which the paper leaves open: "easy" or "hard".

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[900, 2500, 3900, 4000], correct=[1, 1, 1, 0])
    >>> DifficultyTruncation(thresholds=(0.5,), lengths=(4000, 2000))(batch)[0]
    tensor([1., 0., 0., 0.], dtype=torch.float64)
    """

    thresholds: tuple[float, ...]
    lengths: tuple[float, ...]
    kappa: Number = 0.0
    of: Reward = OUTCOME
    rule: Rule = "multiply"
    equality: Equality = "easy"
    in_tokens = ("lengths",)
    own_scope = Scope.GROUP

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("thresholds", "lengths"):  # lists, too, must compare and hash
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_difficulty("difficulty_truncation", self.thresholds, self.lengths, self.equality)
        _check("difficulty_truncation", self.kappa, self.rule, self.of)

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The part, less what responses lose that are too long for their group."""
        within_N = (batch.correct == 1) & (batch.length <= max(self.lengths))
        rate_G = group_mean(within_N.double(), batch.group)
        limit_N = length_by_difficulty(rate_G, self.thresholds, self.lengths, self.equality)[batch.group]
        cut_N = batch.truncated | (batch.length > limit_N)
        score_N = part("of", batch)
        return _penalised("difficulty_truncation", score_N, cut_N, at(self.kappa, batch.step), self.rule)


def _check(name: str, kappa: Number, rule: str, of: Reward) -> None:
    low, high = bounds(kappa)
    if low < 0 or high > 1:
        raise ConfigError(f"{name}: kappa is {kappa}; it is the share a cut response keeps: give 0 to 1")
    if rule not in ("multiply", "add"):
        raise ConfigError(f"{name}: rule is {rule!r}; give multiply or add")
    if rule == "multiply" and low < 1 and isinstance(of, Correct) and of.wrong < 0:
        raise ConfigError(
            f"{name}: a wrong response earns {of.wrong}, and kappa times that is more, so being cut off would pay; "
            "give 'rule: add', or 0 for a wrong response"
        )


def _penalised(name: str, score_N: RewardN, cut_N: Bool[Tensor, " N"], kappa: float, rule: Rule) -> RewardN:
    """`truncated_reward`, but an error where being cut off would pay."""
    wrong_N = cut_N & (score_N < 0)
    if rule == "multiply" and kappa < 1 and bool(wrong_N.any()):
        row = int(wrong_N.nonzero()[0])
        raise BatchError(
            f"{name}: the reward of row {row}, which was cut, is {score_N[row].item():.4g}, and kappa times that is "
            "more, so being cut off would pay; give 'rule: add', or a reward that is never negative"
        )
    return truncated_reward(score_N, cut_N, kappa, rule)
