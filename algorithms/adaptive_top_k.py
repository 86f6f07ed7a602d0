"""GFPO's adaptive variant: hard prompts keep more of their responses. ``_N`` responses, ``_G`` groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from leanthink.algorithms.advantages import Advantage, GroupN, KeptN, LengthN, RewardN, as_tensors
from leanthink.algorithms.filter_top_k import POPULATION, Metric, advantage_of_kept, check_filter, kept_by
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_mean

MEANS: Final = "group_means"
"""What is remembered: mean rewards of past groups, the latest last."""


def quantiles(past: Sequence[float], parts: int) -> dict[float, float]:
    """The values that cut a distribution into ``parts`` of equal weight, by the share below each.

    >>> quantiles([0.0, 0.25, 0.5, 0.75, 1.0], 4)
    {0.25: 0.25, 0.5: 0.5, 0.75: 0.75}
    """
    shares = [place / parts for place in range(1, parts)]
    values = torch.quantile(torch.tensor(past, dtype=torch.float64), torch.tensor(shares, dtype=torch.float64))
    return dict(zip(shares, values.tolist(), strict=True))


def k_by_difficulty(
    mean_G: Float[Tensor, " G"], past: Sequence[float], k: Sequence[int], ready_after: int
) -> Int[Tensor, " G"]:
    """How many responses each group keeps: ``k[j]`` where ``j`` quantiles of ``past`` are at or below its mean reward.

    Before ``ready_after`` past means, ``k[0]``.

    >>> k_by_difficulty(torch.tensor([0.1, 0.5, 0.9]).double(), [0.0, 0.25, 0.5, 0.75, 1.0], (8, 8, 6, 4), 5)
    tensor([8, 6, 4])
    """
    if len(past) < ready_after:
        return torch.full(mean_G.shape, k[0], dtype=torch.int64, device=mean_G.device)
    boundaries = mean_G.new_tensor(list(quantiles(past, len(k)).values()))
    return torch.tensor(k, device=mean_G.device)[torch.bucketize(mean_G, boundaries, right=True)]


@final
@dataclass(frozen=True, kw_only=True)
class AdaptiveTopK(Advantage):
    """Adaptive-difficulty GFPO (Sample More to Think Less, arXiv 2508.09726, Sec. 3, Algorithm 2).

    As :class:`FilterTopK`, but ``k`` goes by how hard a prompt is among those seen so far: by where the mean reward of
    its group lies between the quantiles of all groups' mean rewards. With four ``k`` these are the quartiles: very
    hard below the first, hard below the second, medium below the third, easy from there on.

    The paper keeps the distribution in a t-digest, which never forgets; here the means themselves are kept, up to
    ``remembered`` of them, so that quantiles are exact and follow the policy. A step's groups enter before its
    quantiles are taken. What ranks is the length of the response, tool output and given tokens included, where
    :class:`FilterTopK` has the tokens that are trained on. It remembers through the trainer alone: called by itself,
    it keeps ``k[0]`` of each group, as before the first quantiles.

    Args:
        k: responses kept of each group, from the hardest prompts to the easiest, none above the one before; the paper:
            8, 8, 6, 4 of 16.
        metric: "shortest" or "token_efficiency".
        of: the advantage within what is kept.
        shift_negative: as for :class:`FilterTopK`.
        ready_after: group means before the first quantiles ("a few" steps in the paper, which states no number; 256
            are four of its steps). Until then every group keeps ``k[0]``.
        remembered: group means that are kept, the latest; an older one makes room.

    >>> advantage = AdaptiveTopK(k=(3, 2), ready_after=2)
    >>> reward_N, group_N = torch.tensor([1.0, 0, 0, 1, 1, 0]), torch.tensor([0, 0, 0, 1, 1, 1])
    >>> kept_N, state = advantage.select(reward_N, group_N, torch.tensor([5.0, 7, 9, 5, 7, 9]), advantage.init())
    >>> kept_N, [round(mean, 2) for mean in state["group_means"]]
    (tensor([ True,  True,  True,  True,  True, False]), [0.33, 0.67])
    """

    k: tuple[int, ...] = (8, 8, 6, 4)
    metric: Metric = "shortest"
    of: Advantage = POPULATION
    shift_negative: bool = False
    ready_after: int = 256
    remembered: int = 100_000
    reads_order = True
    reads_state = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", tuple(self.k))  # a list, too, must compare and hash
        check_filter("adaptive_top_k", self.metric, self.of)
        if len(self.k) < 2 or min(self.k) < 2 or any(after > before for before, after in pairwise(self.k)):
            raise ConfigError(
                f"adaptive_top_k: k is {list(self.k)}; give two numbers or more, from the hardest prompts to the "
                "easiest, each 2 or more and none above the one before it, such as [8, 8, 6, 4]"
            )
        if not 1 <= self.ready_after <= self.remembered:
            raise ConfigError(
                f"adaptive_top_k: ready_after is {self.ready_after} and remembered {self.remembered}; give numbers of "
                "groups, 1 or more, and remember no fewer than make it ready"
            )

    @property
    def batch_wide(self) -> bool:
        """Where that of the kept is: the quantiles choose, but a group's values are its own."""
        return self.of.batch_wide

    def init(self) -> dict[str, Any]:
        """No group seen yet."""
        return {MEANS: []}

    def select(
        self, reward_N: RewardN, group_N: GroupN, length_N: LengthN | None, state: Mapping[str, Any]
    ) -> tuple[KeptN, dict[str, Any]]:
        """Which responses are kept, and the means with those of this batch."""
        mean_G = group_mean(reward_N.double(), group_N)
        past = [*state[MEANS], *mean_G.tolist()][-self.remembered :]
        k_G = k_by_difficulty(mean_G, past, self.k, self.ready_after)
        kept_N = kept_by("adaptive_top_k", reward_N, group_N, length_N, k_G[group_N], self.metric, self.shift_negative)
        return kept_N, {MEANS: past}

    def shown(self, state: Mapping[str, Any]) -> dict[str, float]:
        """Groups remembered, and the quantiles of their means once they are used."""
        past = state[MEANS]
        shown = {"groups": float(len(past))}
        if len(past) < self.ready_after:
            return shown
        return shown | {f"quantile_{share:.2g}": value for share, value in quantiles(past, len(self.k)).items()}

    def __call__(self, reward_N: RewardN, group_N: GroupN, length_N: LengthN | None = None) -> RewardN:
        """The advantage (N,) of each response where every group keeps ``k[0]``; of what :meth:`select` kept, its own.

        Raises:
            BatchError: there are no lengths to rank by.
        """
        reward_N, group_N, length_N = as_tensors(reward_N, group_N, length_N)
        most_N = torch.full_like(group_N, self.k[0])
        kept_N = kept_by("adaptive_top_k", reward_N, group_N, length_N, most_N, self.metric, self.shift_negative)
        return advantage_of_kept(self.of, reward_N, group_N, length_N, kept_N)
