"""Policy losses. Where verl has the loss already, only its settings are kept here and verl's own runs."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Literal, final

from jaxtyping import Float, Int
from torch import Tensor

from leanthink.core.errors import ConfigError

Aggregation = Literal["token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"]


class Loss(ABC):  # noqa: B024 - verl's own losses override nothing
    """The settings of a policy loss."""

    @property
    def reads_reward(self) -> bool:
        """Whether the recipe's reward reaches the gradient; where it does not, it is only logged."""
        return True

    @property
    def reads_advantage(self) -> bool:
        """Whether the recipe's advantage reaches the gradient; not where the loss makes its own."""
        return True

    @property
    def whole_groups(self) -> bool:
        """Whether all responses to a prompt must be in one call of the loss."""
        return False

    @property
    def in_tokens(self) -> tuple[str, ...]:
        """The arguments that are lengths in tokens."""
        return ()

    @property
    def notice(self) -> str | None:
        """What the reader of a replay should know of the advantage, where the loss itself makes it."""
        return None

    def advantage(
        self,
        reward_N: Float[Tensor, " N"],
        group_N: Int[Tensor, " N"],
        correct_N: Float[Tensor, " N"],
        length_N: Float[Tensor, " N"],
    ) -> Float[Tensor, " N"] | None:
        """What the loss itself makes of a batch; None where the recipe's advantage decides."""
        return None


@final
@dataclass(frozen=True, kw_only=True)
class PpoClip(Loss):
    """The clipped surrogate of PPO (arXiv 1707.06347), verl's ``vanilla`` loss.

    Args:
        low: the ratio is clipped at ``1 - low``.
        high: and at ``1 + high``; above ``low`` it is DAPO's clip-higher (arXiv 2503.14476).
        dual: lower bound for negative advantages (dual-clip PPO, arXiv 1912.09729).
        aggregation: verl's ``loss_agg_mode``.

    >>> PpoClip(high=0.28)
    PpoClip(low=0.2, high=0.28, dual=3.0, aggregation='token-mean')
    """

    low: float = 0.2
    high: float = 0.2
    dual: float = 3.0
    aggregation: Aggregation = "token-mean"

    def __post_init__(self) -> None:
        if not 0 < self.low < 1 or self.high <= 0:
            raise ConfigError(f"ppo_clip: low is {self.low} and high {self.high}; give 0 < low < 1 and high > 0")
        if self.dual <= 1:
            raise ConfigError(f"ppo_clip: dual is {self.dual}; give a number above 1")


class PpoVariant(Loss, ABC):
    """verl's PPO loss with a change of ours: a frozen dataclass with the clip's settings as ``of``.

    Its ``__post_init__`` calls ``super().__post_init__()``.
    """

    of: PpoClip

    @property
    def why_recompute(self) -> str | None:
        """Why verl must compute old log-probabilities anew; None where those at sampling will do."""
        return None

    def __post_init__(self) -> None:
        if not isinstance(self.of, PpoClip):
            raise ConfigError(f"{type(self).__name__}: of is {self.of}; give ppo_clip")
