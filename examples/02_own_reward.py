"""A reward of one's own: write it, check its contract, see what it does to an advantage.

Run it: python examples/02_own_reward.py
"""

from dataclasses import dataclass

import torch

from leanthink import Reward, RolloutBatch, Scope
from leanthink.algorithms import Rloo
from leanthink.groups import group_min
from leanthink.testing import check_reward


@dataclass(frozen=True, kw_only=True)
class NearShortest(Reward):
    """1 for a correct response, less ``price`` for every time it is as long again as the group's shortest correct one.

    Never below ``floor``, so that a correct response stays above a wrong one.
    """

    price: float = 0.1
    floor: float = 0.1
    scope = Scope.GROUP

    def score(self, batch: RolloutBatch) -> torch.Tensor:
        """The reward (N,) of each response."""
        right_N = batch.correct == 1
        shortest_N = group_min(batch.length, batch.group, right_N)[batch.group]
        excess_N = batch.length / shortest_N.clamp(min=1) - 1
        value_N = (1 - self.price * excess_N).clamp(min=self.floor, max=1.0)
        return torch.where(right_N, value_N, torch.zeros_like(value_N))


def main() -> None:
    reward = NearShortest()
    check_reward(reward)  # permutation, leaks between groups, degenerate batches, pickling, right above wrong
    batch = RolloutBatch.of(group=[0] * 4, length=[100, 200, 900, 50], correct=[1, 1, 1, 0])
    values, _ = reward(batch)
    print("reward   ", [round(value, 3) for value in values.tolist()])
    print("advantage", [round(value, 3) for value in Rloo()(values, batch.group).tolist()])


if __name__ == "__main__":
    main()
