"""What a recipe has where it says nothing; apart from its keys, which verl's processes read without these parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from leanthink.algorithms import Grpo, PpoClip

DEFAULTS: Final[Mapping[str, Any]] = {"advantage": Grpo(), "loss": PpoClip()}
