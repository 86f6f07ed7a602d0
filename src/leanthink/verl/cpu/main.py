"""``python -m leanthink.verl.cpu.main key=value ...``: verl's trainer, started the way the CPU profile wants it.

The same as ``python -m verl.trainer.main_ppo`` with the environment of the profile, and with Ray workers that are forks
(see `leanthink.verl.cpu.forkserver`). ``LEANTHINK_FORK=0`` starts them the ordinary way; so do systems other than
Linux, whose libraries may not bear a fork. The overrides are the caller's to pass.
"""

from __future__ import annotations

import os
import sys

import torch

from leanthink.verl.cpu import forkserver, profile


def main() -> None:
    """Train with the overrides in ``sys.argv``."""
    for name, value in profile.ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # torch was imported before the environment was complete
    if os.environ.get("LEANTHINK_FORK", "1") != "0" and sys.platform == "linux":
        sys.argv.append(f"+ray_kwargs.ray_init.runtime_env.py_executable='{forkserver.start()}'")
    from verl.trainer.main_ppo import main as train

    train()


if __name__ == "__main__":
    main()
