"""What verl knows ours by; imports nothing, as every program that imports verl imports this."""

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

LOOPS: Final[Mapping[str, str]] = {
    NAME: "leanthink.verl.rollout.single_turn.FactsAgentLoop",
    PROBING: "leanthink.verl.rollout.probing.ProbingAgentLoop",
    COMPRESSING: "leanthink.verl.rollout.compressing.CompressingAgentLoop",
    MODES: "leanthink.verl.rollout.modes.ModesAgentLoop",
    SERIAL: "leanthink.verl.rollout.serial.SerialAgentLoop",
    STOPPING: "leanthink.verl.rollout.stopping.StoppingAgentLoop",
}
"""Our agent loops, as verl's own configuration files name theirs."""
