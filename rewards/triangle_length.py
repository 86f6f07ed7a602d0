"""Train Long, Think Short: a length reward that peaks at a budget. ``_N`` responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.reward import Reward, RewardN, State
from leanthink.core.schedules import Number, at, bounds


def triangle_length(
    length_N: Float[Tensor, " N"], budget: float, peak: float = 1.0, shape: Literal["triangle", "band"] = "triangle"
) -> Float[Tensor, " N"]:
    """``peak`` at the budget, falling to 0 at twice that and at no tokens; a "band" stays at ``peak`` below it."""
    ratio_N = length_N / budget
    rising_N = ratio_N if shape == "triangle" else torch.ones_like(ratio_N)
    return peak * torch.where(ratio_N <= 1, rising_N, (2 - ratio_N).clamp(min=0.0))


@final
@dataclass(frozen=True, kw_only=True)
class TriangleLength(Reward):
    """The length reward of Train Long, Think Short (arXiv 2508.08940, Sec. 3.3); a term to add.

    With the budget ``B``, tokens: ``peak L / B`` up to ``B``, ``peak (1 - (L - B) / B)`` up to ``2 B``, 0 beyond. The
    paper pays it to wrong responses, too: with a weight above correctness' a wrong one may win. Truncated responses are
    judged by their length. ``L`` counts the whole response, as the paper's method says (its figure: the thinking). The
    budget is a real number; a schedule makes the curriculum.

    Args:
        budget: ``B``, a number or a schedule such as ``decay``.
        peak: ``R_max``, not stated in the paper.
        shape: "triangle", or "band": no reward is lost below the budget (the paper's ablation).
        gate_on_correct: pay correct responses only; not in the paper.

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[50, 100, 150, 250], correct=[1, 1, 0, 1])
    >>> TriangleLength(budget=100)(batch)[0]
    tensor([0.5000, 1.0000, 0.5000, 0.0000], dtype=torch.float64)
    """

    budget: Number
    peak: float = 1.0
    shape: Literal["triangle", "band"] = "triangle"
    gate_on_correct: bool = False
    in_tokens = ("budget",)
    is_term = True

    def __post_init__(self) -> None:
        if bounds(self.budget)[0] < 1:
            raise ConfigError(f"triangle_length: budget is {self.budget}; give tokens, 1 or more at every step")
        if not self.peak > 0 or self.shape not in ("triangle", "band"):
            raise ConfigError(
                f"triangle_length: peak is {self.peak} and shape {self.shape!r}; give a peak above 0, and triangle or "
                "band"
            )

    def score(self, batch: RolloutBatch) -> RewardN:
        """The term of each response."""
        term_N = triangle_length(batch.length, at(self.budget, batch.step), self.peak, self.shape)
        return term_N * batch.correct if self.gate_on_correct else term_N

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """The budget in force."""
        return {"budget": at(self.budget, step)}
