"""The keys of a recipe, and which of a flat list of keys are its own rather than verl's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from leanthink.algorithms import Grpo, PpoClip

Profile = Literal["cpu", "gpu"]
"""Where a recipe is trained."""
PARTS: Final = ("reward", "advantage", "loss", "limit", "stop")
DEFAULTS: Final[Mapping[str, Any]] = {"advantage": Grpo(), "loss": PpoClip()}
FAMILIES: Final = (
    "baseline",
    "length penalties",
    "switching",
    "decoupling",
    "stepwise verifiable reward",
    "truncation",
    "adaptive and scheduled budgets",
    "modes, exits, content",
)
"""The families of the shipped recipes, in the order of the tables."""
RESTS_ON: Final[Mapping[str, str]] = {
    "paper and code": "formula and settings were read in the paper, and held against its released code",
    "paper": "formula and settings were read in the paper; no released code was used",
    "code": "formula and settings are the released code's; the paper's own text could not be read, or says less",
    "partly confirmed": "part of the formula, or its constants, is known at second hand or not confirmed",
    "reconstructed": "the formula is ours, after a description in words",
}
"""What a recipe may rest on, from firm to loose, and what that means."""
PROSE: Final = ("family", "rests_on", "kept", "differs", "use_when", "not_when", "cost", "paper_result")
"""What a recipe says of itself in words, a paragraph each."""
AGENT: Final = "agent"
KEYS: Final = ("description", "reference", "wrong_may_beat_correct", "accepts", AGENT, *PARTS, "verl", "cpu", *PROSE)
AGENTS: Final = ("tools",)
"""Who samples a response of more than one turn."""
VERLS_REWARD: Final = ("custom_reward_function", "num_workers", "reward_manager", "reward_model", "sandbox_fusion")
"""What verl itself has under ``reward``."""


def in_tree(key: str) -> bool:
    """Whether a key is the recipe's, whose reward verl's own keys share a name with."""
    path = key.split(".")
    if key == AGENT:
        return True
    return path[0] in PARTS and not (path[0] == "reward" and len(path) > 1 and path[1] in VERLS_REWARD)


def tree_keys(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that reach into a recipe's tree, not verl's configuration.

    >>> tree_keys({"reward.soft_overlong.limit": 96, "data.max_response_length": 96, "reward.num_workers": 1})
    {'reward.soft_overlong.limit': 96}
    """
    return {key: value for key, value in keys.items() if in_tree(key)}
