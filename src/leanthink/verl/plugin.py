"""Registers with verl what is found by name. Loaded by the ``verl.plugins`` entry point while verl is imported.

That happens in every process that imports verl, whether or not it trains by a recipe. So nothing is imported here that
verl has not imported: its registries are filled when they come into being, and ours come when they are called. verl
reports a failing plug-in at DEBUG only: hence `leanthink.verl.driver.registered` at the start of training.
"""

from __future__ import annotations

import importlib
import importlib.abc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final, NoReturn

from leanthink.core.code import FOLDERS
from leanthink.core.errors import DependencyError
from leanthink.verl import LOOPS, NAME
from leanthink.verl.hydra import keep_text

Action = Callable[[Any], None]


def register() -> None:
    """Make our advantage estimator, agent loops, loss and, on a CPU, platform known to verl in this process."""
    _current_folder_last()
    keep_text()
    if os.environ.get("VERL_PLATFORM") == "cpu":
        from leanthink.verl import cpu

        cpu.register()
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, WhenImported)]
    waiting = {name: action for name, action in ACTIONS.items() if name not in sys.modules}
    sys.meta_path.insert(0, WhenImported(waiting))
    for name in ACTIONS.keys() - waiting.keys():
        ACTIONS[name](sys.modules[name])


class WhenImported(importlib.abc.MetaPathFinder):
    """Has something done right after a module is imported; finds no module itself."""

    def __init__(self, actions: Mapping[str, Action]) -> None:
        self._actions = actions

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module as the other finders see it, with what is to be done behind it."""
        if fullname not in self._actions:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others if hasattr(finder, "find_spec"))
        spec = next((one for one in found if one is not None), None)
        if spec is not None and spec.loader is not None:
            run, action = spec.loader.exec_module, self._actions[fullname]

            def run_and_act(module: ModuleType) -> None:
                run(module)
                action(module)

            spec.loader.exec_module = run_and_act  # type: ignore[method-assign]
        return spec


def _algorithms(module: Any) -> None:
    module.register_adv_est(NAME)(recipe_advantage)
    module.register_policy_loss(NAME)(loss_not_installed)


def _agent_loops(module: Any) -> None:
    # By path, as verl's own configuration files do it: importing the class here would import every engine.
    for name, target in LOOPS.items():
        module._agent_loop_registry[name] = {"_target_": target}


def _usable_trl(module: Any) -> None:
    """A trl that verl cannot use is none to it: a later one lacks the class that every training worker would patch."""
    installed = module.is_trl_available

    def usable() -> bool:
        for name in ("trl.experimental.ppo", "trl") if installed() else ():
            try:
                if hasattr(importlib.import_module(name), "AutoModelForCausalLMWithValueHead"):
                    return True
            except ImportError:
                continue
        return False

    module.is_trl_available = usable


ACTIONS: Final[Mapping[str, Action]] = {
    "verl.trainer.ppo.core_algos": _algorithms,
    "verl.experimental.agent_loop.agent_loop": _agent_loops,
    "verl.models.transformers.monkey_patch": _usable_trl,
}
"""What is done when which of verl's modules has been imported."""


def recipe_advantage(*given: Any, **named: Any) -> Any:
    """The recipe's advantage, as `leanthink.verl.driver.advantage` computes it."""
    from leanthink.verl.driver.advantage import recipe_advantage as own

    return own(*given, **named)


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


def _current_folder_last() -> None:
    """In what `leanthink train` started: Ray puts the current folder before all that is installed."""
    if FOLDERS in os.environ and (here := os.getcwd()) in sys.path:
        sys.path[:] = [*(path for path in sys.path if path not in ("", here)), here]


register()
