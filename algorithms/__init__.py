"""How rewards become gradients: advantages and losses. Never imports rewards."""

if __name__ != "leanthink.algorithms":  # a second copy of every class would compare unequal
    raise ImportError("import leanthink.algorithms, not algorithms")

from leanthink.algorithms.adapt_think import AdaptThink
from leanthink.algorithms.adaptive_top_k import AdaptiveTopK
from leanthink.algorithms.advantages import (
    Advantage,
    Grpo,
    NoBaseline,
    Rloo,
    as_tensors,
    grpo_advantage,
    rloo_advantage,
)
from leanthink.algorithms.batch_norm import BatchNorm
from leanthink.algorithms.degrpo import Degrpo
from leanthink.algorithms.difficulty_weight import DifficultyWeight
from leanthink.algorithms.drpo import Drpo, drpo_loss
from leanthink.algorithms.filter_top_k import FilterTopK
from leanthink.algorithms.losses import Loss, PpoClip, PpoVariant
from leanthink.algorithms.mastered_token_mask import MasteredTokenMask
from leanthink.algorithms.mode_switch import ModeSwitch
from leanthink.algorithms.outcome_and_steps import OutcomeAndSteps
from leanthink.algorithms.position_norm import PositionNorm
from leanthink.algorithms.token_advantages import (
    AnyAdvantage,
    Gae,
    ReinforcePp,
    TokenAdvantage,
    VerlAdvantage,
    reinforce_pp_advantage,
)
from leanthink.algorithms.verls import (
    Cispo,
    ClipCov,
    Dppo,
    Dro,
    GeoMean,
    GpgAdvantage,
    GpgLoss,
    GrpoPassk,
    Gspo,
    KlCov,
    Opo,
    Sapo,
    VerlLoss,
)

__all__ = [
    "AdaptThink",
    "AdaptiveTopK",
    "Advantage",
    "AnyAdvantage",
    "BatchNorm",
    "Cispo",
    "ClipCov",
    "Degrpo",
    "DifficultyWeight",
    "Dppo",
    "Dro",
    "Drpo",
    "FilterTopK",
    "Gae",
    "GeoMean",
    "GpgAdvantage",
    "GpgLoss",
    "Grpo",
    "GrpoPassk",
    "Gspo",
    "KlCov",
    "Loss",
    "MasteredTokenMask",
    "ModeSwitch",
    "NoBaseline",
    "Opo",
    "OutcomeAndSteps",
    "PositionNorm",
    "PpoClip",
    "PpoVariant",
    "ReinforcePp",
    "Rloo",
    "Sapo",
    "TokenAdvantage",
    "VerlAdvantage",
    "VerlLoss",
    "as_tensors",
    "drpo_loss",
    "grpo_advantage",
    "reinforce_pp_advantage",
    "rloo_advantage",
]
