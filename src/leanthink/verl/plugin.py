"""Registers with verl what is found by name. Loaded by the ``verl.plugins`` entry point while verl is imported.

That happens in every process, Ray's workers too, and verl reports a failing plug-in at DEBUG only: hence
:func:`check_registered` at the start of training, and nothing heavy here.
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

from leanthink.errors import DependencyError
from leanthink.verl.loops import LOOPS
from leanthink.verl.settings import NAME


def register() -> None:
    """Make our advantage estimator, agent loops, loss and, on a CPU, platform known to verl in this process."""
    if os.environ.get("VERL_PLATFORM") == "cpu":
        from leanthink.verl import cpu

        cpu.register()
    from verl.experimental.agent_loop.agent_loop import _agent_loop_registry
    from verl.trainer.ppo.core_algos import register_adv_est, register_policy_loss

    from leanthink.verl.advantage import recipe_advantage

    register_adv_est(NAME)(recipe_advantage)
    register_policy_loss(NAME)(loss_not_installed)
    # By path, as verl's own configuration files do it: importing the class here would import every engine.
    for name, target in LOOPS.items():
        _agent_loop_registry[name] = {"_target_": target}


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


def loss_not_installed(*_: Any, **__: Any) -> NoReturn:
    """What verl finds under our name among its policy losses; a worker that calls it has kept verl's ``ppo_loss``.

    Raises:
        DependencyError: always.
    """
    raise DependencyError(
        "verl called its own loss although the recipe has one of leanthink's, so leanthink's sampler did not reach the "
        "training workers; set trainer.v1.sampler.custom_sampler as `leanthink show RECIPE --verl` prints it, and "
        "check that verl is 0.9.x"
    )


register()
