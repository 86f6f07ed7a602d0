"""The facts by which a training run is known again, from the job that it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from leanthink.core.installed import versions_of
from leanthink.recipe.keys import PARTS
from leanthink.runs.floor import Floor
from leanthink.runs.identity import facts_of
from leanthink.verl import NAME
from leanthink.verl.start.launch import Job

VERSIONS_OF: Final = ("leanthink", "verl", "torch", "transformers", "ray", "TransferQueue", "math-verify", "vllm")


def identity_of(job: Job, floor: Floor | None = None) -> dict[str, Any]:
    """The job's facts, as `leanthink.runs.identity.facts_of` has them; its data files are read, where they exist."""
    keys = job.keys()
    settings: Mapping[str, Any] = keys.pop(f"+{NAME}")
    options = {name: value for name, value in settings.items() if name not in ("recipe", *PARTS)}
    return facts_of(keys, job.recipe.parts(), options, versions(), None if floor is None else vars(floor))


def versions() -> dict[str, str]:
    """The packages that take part in training, as they are installed."""
    return versions_of(VERSIONS_OF)
