"""A reward of one's own, in a module of its own so that recipes can name it: ``near_shortest:NearShortest``."""

from dataclasses import dataclass

import torch

from leanthink import Reward, RolloutBatch, Scope, groups


@dataclass(frozen=True, kw_only=True)
class NearShortest(Reward):
    """1 for a correct response, less ``price`` for every time it is as long again as the group's shortest correct one.

    Never below ``floor``, so that a correct response stays above a wrong one.
    """

    price: float = 0.1
    floor: float = 0.1
    scope = Scope.GROUP  # it compares the responses of a prompt; without this line, each stands for itself

    def score(self, batch: RolloutBatch) -> torch.Tensor:
        """The reward (N,) of each response."""
        right_N = batch.correct == 1
        shortest_N = groups.group_min(batch.length, batch.group, right_N)[batch.group]
        excess_N = batch.length / shortest_N.clamp(min=1) - 1
        value_N = (1 - self.price * excess_N).clamp(min=self.floor, max=1.0)
        return torch.where(right_N, value_N, torch.zeros_like(value_N))
