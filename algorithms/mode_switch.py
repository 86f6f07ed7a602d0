"""Adaptive deep reasoning's loss on the first token: the preferred mode's token above the other's. ``_G`` prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from leanthink.algorithms.losses import PpoClip, PpoVariant
from leanthink.core.errors import ConfigError

Form = Literal["margin", "logistic"]

CLIP: Final = PpoClip()


def mode_loss(gap_G: Float[Tensor, " G"], form: Form = "margin", margin: float = 1.0) -> Float[Tensor, " G"]:
    """``max(0, margin - gap)`` or ``log(1 + exp(-gap))``; the gap is the preferred token's logit less the other's."""
    return (margin - gap_G).clamp(min=0) if form == "margin" else functional.softplus(-gap_G)


@final
@dataclass(frozen=True, kw_only=True)
class ModeSwitch(PpoVariant):
    """The mode-switching loss of Adaptive Deep Reasoning (arXiv 2505.20101), beside verl's PPO loss.

    ``weight`` times the mean, over the prompts that prefer a mode, of a margin ranking loss on the logits ``z`` of the
    two modes' first tokens: ``max(0, margin - (z_m - z_o))``, ``m`` the preferred mode. The reward `mode_switch_reward`
    says which mode that is, and has both sampled. The difference of two logits is that of their log-probabilities,
    which the long and the short responses to a prompt have at their first token; so no further pass is needed, but all
    responses to a prompt in one call.

    That it is a margin ranking loss on first-token logits is confirmed at second hand; margin and weight are not.

    Args:
        weight: of the loss beside PPO's.
        margin: in logits.
        form: "margin", or "logistic", ``log(1 + exp(-(z_m - z_o)))``.
        of: PPO's clip.

    >>> ModeSwitch(weight=0.2).whole_groups
    True
    """

    of: PpoClip = CLIP
    weight: float = 0.1
    margin: float = 1.0
    form: Form = "margin"
    whole_groups = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight < 0 or self.margin < 0 or self.form not in ("margin", "logistic"):
            raise ConfigError(
                f"mode_switch: weight is {self.weight}, margin {self.margin} and form {self.form!r}; give weight and "
                "margin 0 or more, and form margin or logistic"
            )

    @property
    def why_recompute(self) -> str | None:
        """The prompt of training is not that of sampling."""
        return "responses are sampled under an instruction that the trained prompt lacks"
