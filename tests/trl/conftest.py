from __future__ import annotations

import os

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def quiet() -> None:
    """Recorded answers come through TRL's ``rollout_func``, which it calls experimental; one thread is quickest."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    torch.set_num_threads(1)
