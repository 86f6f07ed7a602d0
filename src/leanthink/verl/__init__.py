"""The plug-in for verl: the only package here that imports it.

Reward workers return facts (``facts``), the sampler shapes whole groups (``shaping``), our estimator turns rewards into
advantages (``advantage``), a callback keeps the reward's state with the checkpoint (``checkpoint``), and ``launch``
says which of verl's keys a recipe stands for. verl itself stays unmodified.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NAME: Final = "leanthink"
"""Of our advantage estimator, loss and default agent loop in verl's registries, and of our configuration node."""

PROBING: Final = "leanthink_probing"
COMPRESSING: Final = "leanthink_compressing"
MODES: Final = "leanthink_modes"
SERIAL: Final = "leanthink_serial"
STOPPING: Final = "leanthink_stopping"
THINKING: Final = "leanthink_thinking"
TOOLS: Final = "leanthink_tools"

TURNS_FIELD: Final = "leanthink_turns"
"""The field in which a response with tools says which of its tokens the policy wrote."""

LAST_FIELD: Final = "leanthink_last"
"""The field in which a response whose last tokens are not the policy's says how many there are up to its last one."""

LOOPS: Final[Mapping[str, str]] = {
    NAME: "leanthink.verl.rollout.single_turn.FactsAgentLoop",
    PROBING: "leanthink.verl.rollout.probing.ProbingAgentLoop",
    COMPRESSING: "leanthink.verl.rollout.compressing.CompressingAgentLoop",
    MODES: "leanthink.verl.rollout.modes.ModesAgentLoop",
    SERIAL: "leanthink.verl.rollout.serial.SerialAgentLoop",
    STOPPING: "leanthink.verl.rollout.stopping.StoppingAgentLoop",
    THINKING: "leanthink.verl.rollout.thinking.ThinkingAgentLoop",
    TOOLS: "leanthink.verl.rollout.tools.ToolsAgentLoop",
}
"""Our agent loops, as verl's own configuration files name theirs."""
