"""verl's view of a machine without an accelerator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from verl.plugin.platform.platform_base import PlatformBase

from leanthink.verl.cpu import device


class CpuPlatform(PlatformBase):  # type: ignore[misc]  # verl is untyped
    """Everything verl asks of a device, answered for the CPU.

    One answer is not literal: workers are counted in Ray's "GPU" resource, because verl looks for GPU or NPU only when
    it checks that the machine is large enough. `leanthink.verl.cpu.profile` declares that many logical ones.
    """

    @property
    def device_name(self) -> str:
        """The torch device type."""
        return "cpu"

    @property
    def vendor_name(self) -> str:
        """No vendor-specific engines are wanted."""
        return "cpu"

    @property
    def device_module(self) -> ModuleType:
        """What stands for ``torch.cuda``."""
        return device

    def is_available(self) -> bool:
        """A CPU is always there."""
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        """Never detected by itself: a machine with a GPU has a CPU too. ``VERL_PLATFORM=cpu`` asks for it."""
        return False

    def current_device(self) -> Any:
        """A name where others give an index: ``tensor.to(0)`` would look for an accelerator."""
        return device.current_device()

    def device_count(self) -> int:
        """One."""
        return device.device_count()

    def set_device(self, device_index: int) -> None:
        """Nothing to choose."""

    def synchronize(self, device_index: int | None = None) -> None:
        """The CPU runs in order."""

    def manual_seed(self, seed: int) -> None:
        """Seed torch's only generator."""
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        """Seed torch's only generator."""
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        """There is no caching allocator."""

    def empty_cache(self) -> None:
        """There is no cache."""

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        """Not defined for a CPU."""
        return None, None

    def communication_backend_name(self) -> str:
        """The collective backend."""
        return "gloo"

    def visible_devices_envvar(self) -> str:
        """A variable nothing else reads."""
        return "LEANTHINK_CPU_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        """No profiler ranges."""
        yield

    def profiler_start(self) -> None:
        """No device profiler."""

    def profiler_stop(self) -> None:
        """No device profiler."""

    def ray_resource_name(self) -> str:
        """The only resource name, beside NPU, that verl's resource check counts."""
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        """Ray may hide whatever devices it likes."""
        return []

    def is_ipc_supported(self) -> bool:
        """No device memory to share."""
        return False

    def cudart(self) -> None:
        """No CUDA runtime."""
        return None
