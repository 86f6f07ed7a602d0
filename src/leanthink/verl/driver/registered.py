"""Whether verl knows, in this process, what the plug-in registers: verl reports one that failed at DEBUG only."""

from __future__ import annotations

from leanthink.core.errors import DependencyError
from leanthink.verl import LOOPS, NAME


def check_registered() -> None:
    """Say plainly what verl does not know in this process.

    Raises:
        DependencyError: naming what is missing and how to see why.
    """
    from verl.experimental.agent_loop.agent_loop import _agent_loop_registry
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    missing = [
        what
        for what, known in (
            (f"advantage estimator {NAME!r}", NAME in ADV_ESTIMATOR_REGISTRY),
            *((f"agent loop {name!r}", name in _agent_loop_registry) for name in LOOPS),
        )
        if not known
    ]
    if missing:
        raise DependencyError(
            f"leanthink's plug-in did not register with verl: no {' and no '.join(missing)}; "
            "run `leanthink doctor`, and check that VERL_USE_EXTERNAL_PLUGINS does not leave leanthink out"
        )
