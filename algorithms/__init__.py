"""How rewards become gradients: advantages and losses. Never imports rewards."""

if __name__ != "leanthink.algorithms":  # a second copy of every class would compare unequal
    raise ImportError("import leanthink.algorithms, not algorithms")

from leanthink.algorithms.advantages import Advantage, Grpo, Rloo, grpo_advantage, rloo_advantage
from leanthink.algorithms.losses import Loss, PpoClip
from leanthink.algorithms.merging import SelectiveMerging, selective_merge

__all__ = [
    "Advantage",
    "Grpo",
    "Loss",
    "PpoClip",
    "Rloo",
    "SelectiveMerging",
    "grpo_advantage",
    "rloo_advantage",
    "selective_merge",
]
