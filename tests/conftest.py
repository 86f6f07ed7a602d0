from __future__ import annotations

import pytest
import torch

from leanthink.batch import RolloutBatch
from leanthink.testing import random_batch, special_batches


@pytest.fixture(scope="session")
def batches() -> list[RolloutBatch]:
    """A thousand random batches and the corners: uneven groups, ties, empty, all right, all wrong, truncated."""
    generator = torch.Generator().manual_seed(20250518)
    return [*special_batches(generator), *(random_batch(generator) for _ in range(1000))]
