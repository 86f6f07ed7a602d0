"""How rewards become gradients: advantages and losses. Never imports rewards."""

if __name__ != "leanthink.algorithms":  # a second copy of every class would compare unequal
    raise ImportError("import leanthink.algorithms, not algorithms")

from leanthink.algorithms.advantages import Advantage, Grpo, NoBaseline, Rloo, grpo_advantage, rloo_advantage
from leanthink.algorithms.batch_norm import BatchNorm
from leanthink.algorithms.drpo import Drpo, drpo_loss
from leanthink.algorithms.losses import Loss, PpoClip

__all__ = [
    "Advantage",
    "BatchNorm",
    "Drpo",
    "Grpo",
    "Loss",
    "NoBaseline",
    "PpoClip",
    "Rloo",
    "drpo_loss",
    "grpo_advantage",
    "rloo_advantage",
]
