"""leanthink: reward modules and algorithms that make reasoning models think no longer than they need."""

from leanthink.batch import RolloutBatch
from leanthink.measured import TextReward, TokenReward
from leanthink.module import Breakdown, Composite, PlacedReward, Reward, Scope, StatefulReward
from leanthink.placement import Placement

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
