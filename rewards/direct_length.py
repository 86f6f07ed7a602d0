"""A-DLP: a price per token, the same for right and wrong, that follows the accuracy of the training batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.reward import RewardN, Scope, State, StatefulReward


def direct_length(length_N: Float[Tensor, " N"], price: float) -> Float[Tensor, " N"]:
    """``-price len``."""
    return -price * length_N


def next_price(price: float, accuracy: float, rate: float, reference: float) -> float:
    """``max(0, price + rate (accuracy - reference))``: dearer while accuracy is above the reference."""
    return max(0.0, price + rate * (accuracy - reference))


@final
@dataclass(frozen=True, kw_only=True)
class DirectLength(StatefulReward):
    """The adaptive direct length penalty of A-DLP (arXiv 2505.18298): ``-lambda len``, for right and wrong alike.

    After each training batch ``lambda <- max(0, lambda + rate (accuracy - reference))``, ``accuracy`` being the share
    of right responses of the whole batch by raw verdicts; the new price acts from the next batch on. It has neither a
    floor nor an upper bound: where accuracy stays above the reference, the price goes on rising. ``rate: 0`` is S-DLP,
    the static penalty. Under an advantage that divides by the deviation, as the paper's does, a group of all right or
    all wrong responses is ranked by length at full size for any price but 0. An empty batch leaves the price;
    validation is never read. Leave ``algorithm.filter_groups`` off: the accuracy of the groups kept is another.

    Values are those of the released script (A-DLP at afbc411); the paper's, and whether its reference is constant, are
    not confirmed.

    Args:
        price: ``lambda`` at the start, per token, 0 or more; 0.001 in the script: 1,000 tokens cost as much as
            correctness earns.
        rate: per step and unit of accuracy, 0 or more; 0.001.
        reference: the accuracy that the price settles at, in [0, 1]; 0.62, as the start model's.

    >>> reward = DirectLength()
    >>> batch = RolloutBatch.of(group=[0] * 4, length=[1000, 2000, 3000, 500], correct=[1, 1, 1, 1])
    >>> value_N, state = reward(batch)
    >>> value_N.tolist(), round(state["price"], 6)
    ([-1.0, -2.0, -3.0, -0.5], 0.00138)
    """

    price: float = 0.001
    rate: float = 0.001
    reference: float = 0.62
    scope = Scope.BATCH
    is_term = True

    def __post_init__(self) -> None:
        if self.price < 0 or self.rate < 0:
            raise ConfigError(
                f"direct_length: price is {self.price} and rate {self.rate}; give both 0 or more, per token"
            )
        if not 0 <= self.reference <= 1:
            raise ConfigError(f"direct_length: reference is {self.reference}; it is an accuracy: give 0 to 1")

    def init(self) -> State:
        """The price at the start, and the accuracy of no batch."""
        return {"price": self.price, "accuracy": 0.0}

    def update(self, batch: RolloutBatch, state: State) -> tuple[RewardN, State]:
        """The price of each response, and the price after the batch."""
        reward_N = direct_length(batch.length, state["price"])
        if not len(batch):
            return reward_N, dict(state)
        accuracy = float(batch.correct.mean())
        return reward_N, {
            "price": next_price(state["price"], accuracy, self.rate, self.reference),
            "accuracy": accuracy,
        }

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """The price for the next batch, and the accuracy that moved it."""
        return {"price": float(state["price"]), "accuracy": float(state["accuracy"])}

    def wrong_state(self, state: State) -> str | None:
        """A price below 0, or an accuracy that is none."""
        if state["price"] < 0:
            return f"price is {state['price']}; give 0 or more"
        if not 0 <= state["accuracy"] <= 1:
            return f"accuracy is {state['accuracy']}; give a number from 0 to 1"
        return None
