from __future__ import annotations

import inspect

import pytest
import torch

pytest.importorskip("verl")

from verl.plugin.platform.platform_base import PlatformBase

from leanthink.verl.cpu import device
from leanthink.verl.cpu.platform import CpuPlatform


@pytest.fixture
def platform() -> CpuPlatform:
    return CpuPlatform()  # abstract methods left out would raise here


def test_it_is_asked_for_and_never_detected(platform: CpuPlatform) -> None:
    assert platform.is_available()
    assert not platform.is_platform_available(use_smi_check=True)


def test_signatures_are_verls() -> None:
    for name in PlatformBase.__abstractmethods__:
        theirs, ours = getattr(PlatformBase, name), getattr(CpuPlatform, name)
        if not isinstance(theirs, property):
            assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters), name


def test_every_call_of_verl_answers(platform: CpuPlatform) -> None:
    assert (platform.device_name, platform.communication_backend_name()) == ("cpu", "gloo")
    assert (platform.ray_resource_name(), platform.ray_resource_options(1)) == ("GPU", {"num_gpus": 1})
    assert torch.zeros(1).to(platform.current_device()).device.type == "cpu"
    assert platform.device_count() == 1
    assert platform.get_device_capability() == (None, None)
    assert not platform.is_ipc_supported()
    assert platform.cudart() is None
    assert platform.ray_noset_envvars() == []
    platform.set_device(0)
    platform.synchronize()
    platform.set_allocator_settings("expandable_segments:True")
    platform.empty_cache()
    platform.profiler_start()
    platform.profiler_stop()
    with platform.nvtx_range("step"):
        pass


def test_the_device_module_has_what_verl_calls(platform: CpuPlatform) -> None:
    module = platform.device_module
    assert module is device
    assert all(callable(getattr(module, name)) for name in module.__all__)
    free, total = module.mem_get_info()
    assert 0 < free <= total
    counters = ("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved")
    assert [getattr(module, name)() for name in counters] == [0, 0, 0, 0]
    module.set_device(0)
    module.synchronize()
    module.empty_cache()
    module.ipc_collect()
    module.reset_peak_memory_stats()
    assert module.get_device_name() == "cpu"
    with module.stream(module.Stream()):
        module.current_stream()


@pytest.mark.parametrize("seeder", ["manual_seed", "manual_seed_all"])
def test_random_state_is_torchs(platform: CpuPlatform, seeder: str) -> None:
    getattr(platform, seeder)(3)
    first = torch.rand(2)
    getattr(device, seeder)(3)
    state = device.get_rng_state()
    assert torch.equal(torch.rand(2), first)
    device.set_rng_state(state)
    assert torch.equal(torch.rand(2), first)
