"""The ``torch.<device>`` namespace verl works with, for a machine without an accelerator.

verl reaches its device through ``get_platform().device_module``, a module such as ``torch.cuda``. This module stands in
its place: streams and synchronisation come from ``torch.cpu``; memory counters and caches have no meaning here and
answer neutrally.
"""

from __future__ import annotations

import psutil
import torch
from torch.cpu import (
    Stream,
    current_stream,
    device_count,
    is_available,
    stream,
    synchronize,
)

__all__ = [
    "Stream",
    "current_device",
    "current_stream",
    "device_count",
    "empty_cache",
    "get_device_name",
    "get_rng_state",
    "ipc_collect",
    "is_available",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "reset_peak_memory_stats",
    "set_device",
    "set_rng_state",
    "stream",
    "synchronize",
]


def current_device() -> str:
    """A device that ``Tensor.to`` accepts; an index would mean an accelerator."""
    return "cpu"


def set_device(device: object) -> None:
    """There is only one device."""


def get_device_name(device: object = None) -> str:
    """What a log shows as the device."""
    return "cpu"


def empty_cache() -> None:
    """Nothing is cached."""


def ipc_collect() -> None:
    """Nothing is shared between processes."""


def memory_allocated(device: object = None) -> int:
    """Not counted."""
    return 0


def memory_reserved(device: object = None) -> int:
    """Not counted."""
    return 0


def max_memory_allocated(device: object = None) -> int:
    """Not counted."""
    return 0


def max_memory_reserved(device: object = None) -> int:
    """Not counted."""
    return 0


def reset_peak_memory_stats(device: object = None) -> None:
    """Not counted."""


def mem_get_info(device: object = None) -> tuple[int, int]:
    """Free and total memory of the machine, in bytes."""
    memory = psutil.virtual_memory()
    return memory.available, memory.total


def manual_seed(seed: int) -> None:
    """Seed torch's only generator."""
    torch.manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seed torch's only generator."""
    torch.manual_seed(seed)


def get_rng_state(device: object = None) -> torch.Tensor:
    """The state of torch's only generator."""
    return torch.get_rng_state()


def set_rng_state(state: torch.Tensor, device: object = None) -> None:
    """Restore the state of torch's only generator."""
    torch.set_rng_state(state)
