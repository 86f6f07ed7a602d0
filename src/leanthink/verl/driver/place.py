"""Where a run takes place, seen to on the driver before verl logs a line: its folder, and the cluster it has.

A command that was pasted leaves by this what one that `leanthink train` starts does, so that `report`, `watch` and
`score` read it alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from leanthink.core.errors import ConfigError, DependencyError
from leanthink.files.writing import make_folder, write_text
from leanthink.runs.folder import Run
from leanthink.verl.settings import Settings

PATIENCE_SECONDS: Final = 600.0  # verl is imported on a machine that may be busy
ACCELERATORS: Final = ("GPU", "NPU")  # as verl counts them


def prepare_folder(folder: Path, settings: Settings) -> None:
    """Make a run's folder one that the commands read: the recipe in it, and verl's metrics to come.

    verl's loggers take their files from this process's environment; what is set there already stays.
    """
    run = Run(folder=folder)
    make_folder(run.attempts)
    if not run.recipe.exists():
        reward = settings.build().reward
        declared = {"wrong_may_beat_correct": True} if reward.is_term else {}
        write_text(run.recipe, yaml.safe_dump({**declared, **settings.parts()}, sort_keys=False))
    os.environ.setdefault("VERL_FILE_LOGGER_PATH", str(run.next_attempt()))
    os.environ.setdefault("TENSORBOARD_DIR", str(folder / "tensorboard"))


def check_cluster(nodes: int, gpus: int) -> None:
    """Refuse a Ray cluster that the run cannot use, before workers are waited for.

    Raises:
        ConfigError: as `check_gpus`.
        DependencyError: as `check_plugins`.
    """
    import ray

    found = ray.nodes()
    check_gpus(nodes, gpus, found)
    check_plugins(found)


def check_gpus(nodes: int, gpus: int, found: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a cluster on which the run has no room, where verl would wait ten minutes for workers to come.

    Args:
        nodes: machines, ``trainer.nnodes``.
        gpus: GPUs on each, ``trainer.n_gpus_per_node``.
        found: the cluster's machines, as ``ray.nodes()`` tells them.

    Raises:
        ConfigError: saying what the cluster has.
    """
    alive = [(str(node["NodeManagerHostname"]), gpus_of(node["Resources"])) for node in found if node.get("Alive")]
    if room_for(nodes, gpus, (count for _, count in alive)):
        return
    told = ", ".join(f"{name} has {count}" for name, count in alive)
    raise ConfigError(
        f"the run wants {nodes} machines with {gpus} GPUs each (trainer.nnodes, trainer.n_gpus_per_node), and the Ray "
        f"cluster has no room for it: {told}; give what there is, start Ray where the GPUs are seen (RAY_ADDRESS names "
        "a running cluster), or, where machines join when they are asked for, leanthink.check_cluster=false"
    )


def check_plugins(nodes: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a cluster on one of whose machines verl would not load us: its responses would have no facts.

    Args:
        nodes: the cluster's, as ``ray.nodes()`` tells them; one alone is the driver's, which is looked at anyway.

    Raises:
        DependencyError: naming the machine and what is missing there.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def missing() -> str:  # travels by value, so that a machine without leanthink can say so
        try:
            import verl  # noqa: F401 - loads the plug-ins

            from leanthink.verl.driver.registered import check_registered

            check_registered()
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    alive = [node for node in nodes if node.get("Alive")]
    if len(alive) < 2:
        return
    ask = ray.remote(num_cpus=0)(missing)
    asked = {
        f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, {node['NodeID'][:8]})": ask.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in alive
    }
    for name, answer in asked.items():
        if told := ray.get(answer, timeout=PATIENCE_SECONDS):
            raise DependencyError(
                f"Ray node {name}: {told}; install leanthink there as on the others, in the Python that runs Ray"
            )


def room_for(nodes: int, gpus: int, found: Iterable[int]) -> bool:
    """Whether machines with so many GPUs hold ``nodes`` groups of ``gpus``, none of them torn.

    >>> room_for(2, 4, [8]), room_for(2, 4, [6, 2]), room_for(1, 8, [])
    (True, False, False)
    """
    return sum(count // gpus for count in found) >= nodes


def gpus_of(resources: Mapping[str, Any]) -> int:
    """The accelerators among a Ray node's resources.

    >>> gpus_of({"CPU": 8.0, "GPU": 2.0}), gpus_of({"CPU": 8.0})
    (2, 0)
    """
    return int(next((resources[name] for name in ACCELERATORS if resources.get(name)), 0))
