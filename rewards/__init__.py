"""What a response is worth: one family or paper per file, and the combinators that put them together."""

if __name__ != "leanthink.rewards":  # a second copy of every class would compare unequal
    raise ImportError("import leanthink.rewards, not rewards")

from leanthink.rewards.adapt_think_reward import AdaptThinkReward
from leanthink.rewards.budget import ExactBudget, MaxBudget
from leanthink.rewards.collapse_guard import CollapseGuard
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
from leanthink.rewards.conciseness import Conciseness, ConcisenessScore
from leanthink.rewards.conditional_length import ConditionalLength
from leanthink.rewards.correct import Correct
from leanthink.rewards.cosine_length import CosineLength
from leanthink.rewards.cost import CostDecay, LinearCost, ToolProductivity
from leanthink.rewards.counted import Counted
from leanthink.rewards.direct_length import DirectLength
from leanthink.rewards.dynamic_length import DynamicLength
from leanthink.rewards.early_exit import EarlyExit
from leanthink.rewards.effort_length import EffortLength, RelativeEffort
from leanthink.rewards.format import Format, TagPair
from leanthink.rewards.harmonizing_length import HarmonizingLength
from leanthink.rewards.hierarchical_budget import BudgetGap, HierarchicalBudget
from leanthink.rewards.history_length import HistoryLength
from leanthink.rewards.kimi_length import KimiLength
from leanthink.rewards.lambda_switch import LambdaSwitch, TopPassRate
from leanthink.rewards.lazy_length import LazyLength
from leanthink.rewards.length_rescale import LengthRescale
from leanthink.rewards.level_length import LevelLength
from leanthink.rewards.longest_correct_length import LongestCorrectLength
from leanthink.rewards.mode_outcome import ModeOutcome
from leanthink.rewards.mode_switch_reward import ModeSwitchReward
from leanthink.rewards.pass_rate_length import PassRateLength
from leanthink.rewards.probed import ProbedReward
from leanthink.rewards.quantile_budget import QuantileBudget
from leanthink.rewards.readable import Readable
from leanthink.rewards.redundant_thinking import EasyShare, RedundantThinking
from leanthink.rewards.repetition import Repetition, TokenRepetition, WordRepetition
from leanthink.rewards.shortest_correct_length import ShortestCorrectLength
from leanthink.rewards.sigmoid_length import SigmoidLength
from leanthink.rewards.soft_overlong import SoftOverlong
from leanthink.rewards.step_length import AdaptiveStepLength, StepLength
from leanthink.rewards.stepwise_gain import StepwiseGain
from leanthink.rewards.surrogate_length import SurrogateLength
from leanthink.rewards.think_outcome import ThinkOutcome
from leanthink.rewards.thinking_compression import ThinkingCompression
from leanthink.rewards.triangle_length import TriangleLength
from leanthink.rewards.truncation import DifficultyTruncation, Truncation
from leanthink.rewards.within_length import WithinLength

__all__ = [
    "AdaptThinkReward",
    "AdaptiveStepLength",
    "BudgetGap",
    "Chain",
    "Clip",
    "CollapseGuard",
    "Conciseness",
    "ConcisenessScore",
    "ConditionalLength",
    "Correct",
    "CosineLength",
    "CostDecay",
    "Counted",
    "DifficultyTruncation",
    "DirectLength",
    "DynamicLength",
    "EarlyExit",
    "EasyShare",
    "EffortLength",
    "ExactBudget",
    "Format",
    "Freeze",
    "Gate",
    "GroupNormalize",
    "HarmonizingLength",
    "HierarchicalBudget",
    "HistoryLength",
    "KimiLength",
    "LambdaSwitch",
    "LazyLength",
    "LengthRescale",
    "LevelLength",
    "LinearCost",
    "LongestCorrectLength",
    "MaxBudget",
    "ModeOutcome",
    "ModeSwitchReward",
    "PassRateAtLeast",
    "PassRateLength",
    "ProbedReward",
    "QuantileBudget",
    "Readable",
    "RedundantThinking",
    "RelativeEffort",
    "Repetition",
    "Running",
    "Scale",
    "ShortestCorrectLength",
    "SigmoidLength",
    "SoftOverlong",
    "StepLength",
    "StepwiseGain",
    "Sum",
    "SurrogateLength",
    "Switch",
    "TagPair",
    "ThinkOutcome",
    "ThinkingCompression",
    "TokenRepetition",
    "ToolProductivity",
    "TopPassRate",
    "TriangleLength",
    "Truncation",
    "WithinLength",
    "WordRepetition",
]
