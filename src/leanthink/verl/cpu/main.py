"""``python -m leanthink.verl.cpu.main key=value ...``: verl's trainer with the environment of the CPU profile.

The same as ``python -m verl.trainer.main_ppo``, but its Ray workers are forks of this process (see
`leanthink.verl.cpu.forkserver`); ``LEANTHINK_FORK=0`` starts them the ordinary way. The overrides of the profile are the
caller's to pass.
"""

from __future__ import annotations

import importlib
import os
import sys

from leanthink.verl.cpu import profile

PRELOAD = (
    "verl.trainer.main_ppo",
    "verl.trainer.ppo.v1",
    "verl.workers.engine_workers",
    "verl.workers.engine.fsdp",
    "leanthink.verl.cpu.rollout",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
)
"""What the workers import, gathered from what their processes had loaded at the end of a run."""


def main() -> None:
    """Import, fork the server, train."""
    for name, value in profile.ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in PRELOAD:
        importlib.import_module(name)
    if os.environ.get("LEANTHINK_FORK", "1") != "0":
        from leanthink.verl.cpu import forkserver

        sys.argv.append(f"+ray_kwargs.ray_init.runtime_env.py_executable='{forkserver.start()}'")
    from verl.trainer.main_ppo import main as train

    train()


if __name__ == "__main__":
    main()
