"""verl on the CPU: a platform, a rollout engine and the settings they need.

`register` makes verl know them in the running process; ``VERL_PLATFORM=cpu`` and the overrides in
`leanthink.verl.cpu.profile` choose them. Importing this package does not import verl.
"""

from __future__ import annotations

import os
from typing import Any

ROLLOUT_NAME = "leanthink_cpu"
"""What ``actor_rollout_ref.rollout.name`` is set to."""


def register() -> None:
    """Make the CPU platform and its rollout engine known to verl; calling it again changes nothing.

    To be called while verl itself is being imported, in every process, so nothing heavy is imported that verl's own
    processes do not import in any case.
    """
    from verl.plugin.platform.platform_manager import PlatformRegistry

    from leanthink.verl.cpu import compat, profile
    from leanthink.verl.cpu.platform import CpuPlatform

    if PlatformRegistry.get("cpu") is not CpuPlatform:
        PlatformRegistry.register(platform="cpu")(CpuPlatform)
    # verl's own switch for choosing an engine; see the profile. Set here too, for those who set VERL_PLATFORM alone.
    os.environ.setdefault("VERL_ENGINE_DEVICE", profile.ENVIRONMENT["VERL_ENGINE_DEVICE"])
    compat.install()

    from verl.workers.rollout import base
    from verl.workers.rollout.replica import RolloutReplicaRegistry

    compat.require_dict(base, "_ROLLOUT_REGISTRY")[ROLLOUT_NAME, "async"] = "leanthink.verl.cpu.rollout.CpuRollout"
    RolloutReplicaRegistry.register(ROLLOUT_NAME, _replica)


def _replica() -> Any:
    from leanthink.verl.cpu.rollout import CpuReplica

    return CpuReplica
