"""Where a run takes place, seen to on the driver before verl logs a line: its folder, and the cluster it has.

A command that was pasted leaves by this what one that `leanthink train` starts does, so that `report`, `watch` and
`score` read it alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from leanthink.core.errors import ConfigError
from leanthink.files.writing import make_folder, write_text
from leanthink.runs.folder import Run
from leanthink.verl.settings import Settings

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


def check_gpus(nodes: int, gpus: int) -> None:
    """Refuse a cluster on which the run has no room, where verl would wait ten minutes for workers to come.

    Args:
        nodes: machines, ``trainer.nnodes``.
        gpus: GPUs on each, ``trainer.n_gpus_per_node``.

    Raises:
        ConfigError: saying what the cluster has.
    """
    import ray

    found = [
        (str(node["NodeManagerHostname"]), gpus_of(node["Resources"])) for node in ray.nodes() if node.get("Alive")
    ]
    if room_for(nodes, gpus, (count for _, count in found)):
        return
    told = ", ".join(f"{name} has {count}" for name, count in found)
    raise ConfigError(
        f"the run wants {nodes} machines with {gpus} GPUs each (trainer.nnodes, trainer.n_gpus_per_node), and the Ray "
        f"cluster has no room for it: {told}; give what there is, start Ray where the GPUs are seen (RAY_ADDRESS names "
        "a running cluster), or, where machines join when they are asked for, leanthink.check_gpus=false"
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
