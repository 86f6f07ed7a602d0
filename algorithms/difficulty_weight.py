"""VL-Cogito: advantages weighted by how hard the prompt is for the policy. ``_N`` responses, ``_G`` groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.algorithms.advantages import Advantage, CorrectN, GroupN, Grpo, LengthN, RewardN
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_mean

GRPO: Final = Grpo()
Stage = Literal["easy", "medium", "hard", "binary_easy", "binary_medium", "binary_hard"]


def difficulty_weight(
    rate_G: Float[Tensor, " G"], stage: Stage = "hard", all_wrong: float = 0.25
) -> Float[Tensor, " G"]:
    """The weight of a prompt by its pass rate: ``sin(pi rate)``, held at 1 on the side that the stage is for.

    >>> difficulty_weight(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]).double(), "easy")
    tensor([0.0000, 0.7071, 1.0000, 1.0000, 1.0000], dtype=torch.float64)
    """
    if stage.startswith("binary"):
        low, high = {"binary_hard": (0.0, 0.5), "binary_medium": (0.25, 0.75), "binary_easy": (0.5, 1.0)}[stage]
        inside_G = (rate_G >= low) & (rate_G <= high)
        return (inside_G & (rate_G > 0)).double()
    wave_G = torch.sin(math.pi * rate_G.double()).clamp(min=0.0)
    wave_G = torch.where(rate_G == 1, torch.zeros_like(wave_G), wave_G)  # sin(pi) is not exactly 0
    if stage == "easy":
        wave_G = torch.where(rate_G > 0.5, torch.ones_like(wave_G), wave_G)
    if stage == "hard":
        wave_G = torch.where(rate_G <= 0.5, torch.ones_like(wave_G), wave_G)
    nothing = all_wrong if stage == "hard" else 0.0
    return torch.where(rate_G == 0, torch.full_like(wave_G, nothing), wave_G)


@final
@dataclass(frozen=True, kw_only=True)
class DifficultyWeight(Advantage):
    """Online difficulty soft weighting of VL-Cogito (arXiv 2507.22607): an advantage times ``w(pass rate)``.

    | stage | none correct | up to half | above half |
    |---|---|---|---|
    | easy | 0 | ``sin(pi rate)`` | 1 |
    | medium | 0 | ``sin(pi rate)`` | ``sin(pi rate)`` |
    | hard | ``all_wrong`` | 1 | ``sin(pi rate)`` |

    The rate is of raw correctness, over the responses that count in the group. The weight comes after the division by
    the deviation, which would cancel it. Each stage is a run of its own, from the last one's checkpoint.

    Args:
        stage: "easy", "medium" or "hard"; "binary_hard" (1 on (0, 0.5], else 0), "binary_medium" ([0.25, 0.75]) and
            "binary_easy" ([0.5, 1]) are alternatives of the released code.
        of: the advantage that is weighted; the paper's is GRPO's.
        all_wrong: of the hard stage; 0.25.

    >>> advantage = DifficultyWeight(stage="medium")
    >>> group_N, correct_N = torch.tensor([0, 0, 0, 0]), torch.tensor([True, False, False, False])
    >>> plain_N = advantage(correct_N.double(), group_N)
    >>> advantage.lifted(plain_N, correct_N, group_N)
    tensor([ 1.0607, -0.3536, -0.3536, -0.3536], dtype=torch.float64)
    """

    stage: Stage = "hard"
    of: Advantage = GRPO
    all_wrong: float = 0.25
    reads_correct = True

    def __post_init__(self) -> None:
        if self.stage not in get_args(Stage):
            raise ConfigError(f"difficulty_weight: stage is {self.stage!r}; give {', '.join(get_args(Stage))}")
        if not 0 <= self.all_wrong <= 1:
            raise ConfigError(f"difficulty_weight: all_wrong is {self.all_wrong}; give a weight from 0 to 1")
        if self.of.reads_state:
            raise ConfigError(
                f"difficulty_weight: of is {self.of}, which chooses responses, and the pass rate would be of those; "
                "give one that remembers nothing, such as grpo"
            )

    @property
    def batch_wide(self) -> bool:
        """As the weighted one."""
        return self.of.batch_wide

    def __call__(self, reward_N: RewardN, group_N: GroupN, length_N: LengthN | None = None) -> RewardN:
        """The advantage before it is weighted."""
        return self.of(reward_N, group_N, length_N)

    def lifted(self, advantage_N: RewardN, correct_N: CorrectN, group_N: GroupN) -> RewardN:
        """The advantage times the weight of its group."""
        lifted_N = self.of.lifted(advantage_N, correct_N, group_N)
        rate_G = group_mean(correct_N.double(), group_N)
        return lifted_N * difficulty_weight(rate_G, self.stage, self.all_wrong)[group_N].to(lifted_N)
