"""Whether two answers are one: as the verifier judges either against the other, and remembered."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from leanthink.verify.service import Verifier
from leanthink.verify.tasks import TASKS
from leanthink.verify.verdict import Verdict

Same = Callable[[str, str], bool]

DEADLINE: Final = 2.0
LONGEST: Final = 300
"""Signs; longer texts are one where they are the same text, and are not worth a judge's deadline each."""


def same_answers(task: str = "math", relative_tolerance: float = 1e-6, absolute_tolerance: float = 0.0) -> Same:
    r"""Whether two answers say the same, as the verifier of a task judges; what it does not know is not the same.

    A function of one's own as a task (``"pkg.mod:fn"``) is not called: then texts are compared.

    >>> same = same_answers()
    >>> same("0.5", r"\frac{1}{2}"), same("(A)", "A"), same("3", "4")
    (True, True, False)
    """
    return lru_cache(maxsize=65_536)(
        _Judged(task if task in TASKS else "exact", relative_tolerance, absolute_tolerance)
    )


class _Judged:
    def __init__(self, task: str, relative: float, absolute: float) -> None:
        self._verifier = (task, relative, absolute)

    def __call__(self, one: str, other: str) -> bool:
        one, other = one.strip(), other.strip()
        if one == other or max(len(one), len(other)) > LONGEST:
            return one == other
        verifier = _verifier(os.getpid(), *self._verifier)
        return any(
            verifier.check_answer(gold, answer).verdict is Verdict.CORRECT
            for gold, answer in ((one, other), (other, one))
        )


@lru_cache(maxsize=8)
def _verifier(process: int, task: str, relative: float, absolute: float) -> Verifier:
    """One for each process and task; it ends with the process."""
    return Verifier(workers=1, deadline=DEADLINE, task=task, relative_tolerance=relative, absolute_tolerance=absolute)
