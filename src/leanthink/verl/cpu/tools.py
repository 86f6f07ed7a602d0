"""verl's keys for the tool testbed: its calculator, the form of its calls, turns and room; imports no verl."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from leanthink.recipe.lengths import LONGEST
from leanthink.testbed.tools import Tools

FORMAT: Final = "leanthink_testbed"
"""What verl knows the form of a call by."""

_TURNS: Final = "actor_rollout_ref.rollout.multi_turn"

KEYS: Final[Mapping[str, Any]] = {
    f"{_TURNS}.enable": True,
    f"{_TURNS}.function_tool_path": str(Path(__file__).with_name("calculator.py")),
    f"{_TURNS}.format": FORMAT,
    f"{_TURNS}.max_assistant_turns": Tools().max_turns,
    LONGEST: Tools().max_response_tokens,
}
"""Beside those of the CPU profile."""
