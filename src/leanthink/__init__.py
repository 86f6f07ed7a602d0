"""leanthink: reward modules and algorithms that make reasoning models think no longer than they need."""

from leanthink.batch import RolloutBatch
from leanthink.module import Breakdown, Composite, Reward, Scope, StatefulReward, TextReward, TokenReward

__all__ = ["Breakdown", "Composite", "Reward", "RolloutBatch", "Scope", "StatefulReward", "TextReward", "TokenReward"]
__version__ = "0.1.0"
