"""Whether a call is linear, or done at once, on a machine that others use too."""

from __future__ import annotations

import time
from collections.abc import Callable

TRIES = 3


def is_within(seconds: float, call: Callable[..., object], *args: object) -> bool:
    """Whether one of three calls takes less than `seconds` of this thread's own processor time.

    What is slow is slow each time; a garbage collection or a busy neighbour is not.
    """
    for _ in range(TRIES):
        started = time.thread_time()
        call(*args)
        if time.thread_time() - started < seconds:
            return True
    return False
