"""Placement: at which tokens some of a reward falls. ``_N`` responses, ``_T`` tokens, ``_K`` placed amounts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """Amounts of a reward at single tokens; what is not placed falls on the response's last token.

    Attributes:
        row: (K,) the response of each amount.
        token: (K,) its token, from 0; the same token may be named again, its amounts add up.
        amount: (K,) how much.
    """

    row: Int[Tensor, " K"]
    token: Int[Tensor, " K"]
    amount: Float[Tensor, " K"]

    def __len__(self) -> int:
        return len(self.row)

    def times(self, weight_N: Float[Tensor, " N"]) -> Placement:
        """Each amount times the weight of its response; amounts of weight 0 are dropped."""
        weight_K = weight_N.double()[self.row]
        kept_K = weight_K != 0
        return Placement(
            row=self.row[kept_K], token=self.token[kept_K], amount=(self.amount.double() * weight_K)[kept_K]
        )

    def select(self, rows_M: Int[Tensor, " M"], count: int) -> Placement:
        """The amounts of some of ``count`` responses, which are numbered anew in the order given.

        >>> placement = Placement(row=torch.tensor([0, 2]), token=torch.tensor([5, 6]), amount=torch.tensor([0.5, 1.0]))
        >>> placement.select(torch.tensor([2, 1]), count=3).row
        tensor([0])
        """
        new_N = rows_M.new_full((count,), -1)
        new_N[rows_M] = torch.arange(len(rows_M), device=rows_M.device)
        row_K = new_N[self.row]
        kept_K = row_K >= 0
        return Placement(row=row_K[kept_K], token=self.token[kept_K], amount=self.amount[kept_K])

    def renumbered(self, rows_M: Int[Tensor, " M"]) -> Placement:
        """The same amounts in a larger batch, of which these M responses are the rows ``rows_M``."""
        return Placement(row=rows_M[self.row], token=self.token, amount=self.amount)


def joined(placements: Iterable[Placement]) -> Placement | None:
    """All amounts of several placements; None of none."""
    several = list(placements)
    if not several:
        return None
    row, token, amount = (torch.cat([getattr(one, name) for one in several]) for name in ("row", "token", "amount"))
    return Placement(row=row, token=token, amount=amount)


def token_rewards(
    reward_N: Float[Tensor, " N"], length_N: Tensor, placement: Placement | None = None
) -> Float[Tensor, "N T"]:
    """The rewards by token, in float64: what is placed at its tokens, the rest of each total on the last token.

    Each response's tokens sum up to its total. A response of no tokens gets nothing: there is no place for it.

    >>> placement = Placement(row=torch.tensor([0]), token=torch.tensor([1]), amount=torch.tensor([0.25]))
    >>> token_rewards(torch.tensor([1.0, 0.5]), torch.tensor([3, 2]), placement)
    tensor([[0.0000, 0.2500, 0.7500],
            [0.0000, 0.5000, 0.0000]], dtype=torch.float64)
    """
    rest_N = reward_N.double().clone()
    longest = int(length_N.max()) if len(length_N) else 0
    reward_NT = rest_N.new_zeros(len(rest_N), longest)
    if placement is not None:
        reward_NT.index_put_((placement.row, placement.token), placement.amount.double(), accumulate=True)
        rest_N.index_add_(0, placement.row, -placement.amount.double())
    rows = (length_N > 0).nonzero().squeeze(-1)
    reward_NT.index_put_((rows, length_N.long()[rows] - 1), rest_N[rows], accumulate=True)
    return reward_NT


def flat_token_rewards(
    reward_N: Float[Tensor, " N"], length_N: Tensor, placement: Placement | None = None, last_N: Tensor | None = None
) -> Float[Tensor, " tokens"]:
    """As `token_rewards`, one response's tokens behind the other's, in float32: what a batch of many tokens can bear.

    Sums are taken in float64 before they are rounded. The rest of a total falls on token number ``last_N``, from 1, of
    a response; without it, on its last.

    >>> flat_token_rewards(torch.tensor([1.0, 0.5]), torch.tensor([3, 2]))
    tensor([0.0000, 0.0000, 1.0000, 0.0000, 0.5000])
    """
    rest_N, end_N = reward_N.double().clone(), length_N.long().cumsum(0)
    rows = (length_N > 0).nonzero().squeeze(-1)
    last_N = length_N if last_N is None else torch.minimum(last_N, length_N)
    place, amount = [(end_N - length_N.long() + last_N.long())[rows] - 1], []
    if placement is not None:
        rest_N.index_add_(0, placement.row, -placement.amount.double())
        place.insert(0, (end_N - length_N.long())[placement.row] + placement.token)
        amount.append(placement.amount.double())
    found, inverse = torch.unique(torch.cat(place), return_inverse=True)
    summed = rest_N.new_zeros(len(found)).index_add_(0, inverse, torch.cat([*amount, rest_N[rows]]))
    reward = torch.zeros(int(length_N.sum()), dtype=torch.float32)
    reward[found] = summed.float()
    return reward
