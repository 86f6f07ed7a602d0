from __future__ import annotations

import signal

import pytest
import torch

from leanthink.core.batch import RolloutBatch
from leanthink.testing import random_batch, special_batches


def pytest_configure() -> None:
    """Started in the background, a process ignores interrupts, and so would all that the tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def batches() -> list[RolloutBatch]:
    """A thousand random batches and the corners: uneven groups, ties, empty, all right, all wrong, truncated."""
    generator = torch.Generator().manual_seed(20250518)
    return [*special_batches(generator), *(random_batch(generator) for _ in range(1000))]


@pytest.fixture(scope="session")
def merged(batches: list[RolloutBatch]) -> RolloutBatch:
    """The same responses in one batch, whose groups are those of all batches: one call instead of a thousand."""
    return RolloutBatch.of(
        group=[(number, code) for number, batch in enumerate(batches) for code in batch.group.tolist()],
        length=torch.cat([batch.length for batch in batches]),
        correct=torch.cat([batch.correct for batch in batches]),
        truncated=torch.cat([batch.truncated for batch in batches]),
    )
