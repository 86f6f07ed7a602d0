"""Registers with verl what is found by name. Loaded by the ``verl.plugins`` entry point while verl is imported.

That happens in every process, Ray's workers too, and verl reports a failing plug-in at DEBUG only: hence
`leanthink.verl.driver.registered` at the start of training, and nothing heavy here.
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

from leanthink.core.errors import DependencyError
from leanthink.verl.hydra import keep_text
from leanthink.verl.rollout.loops import LOOPS
from leanthink.verl.settings import NAME


def register() -> None:
    """Make our advantage estimator, agent loops, loss and, on a CPU, platform known to verl in this process."""
    if os.environ.get("VERL_PLATFORM") == "cpu":
        from leanthink.verl import cpu

        cpu.register()
    from verl.experimental.agent_loop.agent_loop import _agent_loop_registry
    from verl.trainer.ppo.core_algos import register_adv_est, register_policy_loss

    from leanthink.verl.driver.advantage import recipe_advantage

    keep_text()
    register_adv_est(NAME)(recipe_advantage)
    register_policy_loss(NAME)(loss_not_installed)
    # By path, as verl's own configuration files do it: importing the class here would import every engine.
    for name, target in LOOPS.items():
        _agent_loop_registry[name] = {"_target_": target}


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
