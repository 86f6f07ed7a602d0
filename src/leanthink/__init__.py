"""leanthink: reward modules and algorithms that make reasoning models think no longer than they need."""

from leanthink.core.batch import RolloutBatch
from leanthink.core.measured import TextReward, TokenReward
from leanthink.core.placement import Placement
from leanthink.core.reward import Breakdown, Composite, PlacedReward, Reward, Scope, StatefulReward

__all__ = [
    "Breakdown",
    "Composite",
    "PlacedReward",
    "Placement",
    "Reward",
    "RolloutBatch",
    "Scope",
    "StatefulReward",
    "TextReward",
    "TokenReward",
]
__version__ = "0.1.0"
