"""A scorer of conciseness for the testbed, where what is redundant is a re-check."""

from __future__ import annotations

from leanthink.testbed.task import WAIT


def few_rechecks(prompt: str, response: str) -> float:
    """One over one plus the number of re-checks.

    >>> few_rechecks("1 + 1 =", "<think> 1 + 1 = 2 wait = 2 wait = 2 </think>")
    0.3333333333333333
    """
    return 1 / (1 + response.split().count(WAIT))
