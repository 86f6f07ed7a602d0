"""What a response is worth: one family or paper per file, and the combinators that put them together."""

if __name__ != "leanthink.rewards":  # a second copy of every class would compare unequal
    raise ImportError("import leanthink.rewards, not rewards")

from leanthink.rewards.combinators import (
    Chain,
    Clip,
    Freeze,
    Gate,
    GroupNormalize,
    PassRateAtLeast,
    Running,
    Scale,
    Sum,
    Switch,
)
from leanthink.rewards.correct import Correct
from leanthink.rewards.format import Format
from leanthink.rewards.kimi_length import KimiLength
from leanthink.rewards.probed import ProbedReward
from leanthink.rewards.sigmoid_length import SigmoidLength
from leanthink.rewards.soft_overlong import SoftOverlong
from leanthink.rewards.stepwise_gain import StepwiseGain
from leanthink.rewards.think_outcome import ThinkOutcome

__all__ = [
    "Chain",
    "Clip",
    "Correct",
    "Format",
    "Freeze",
    "Gate",
    "GroupNormalize",
    "KimiLength",
    "PassRateAtLeast",
    "ProbedReward",
    "Running",
    "Scale",
    "SigmoidLength",
    "SoftOverlong",
    "StepwiseGain",
    "Sum",
    "Switch",
    "ThinkOutcome",
]
