"""Runs of a sweep that ended, from their folders or as they were kept: runs may be made one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from leanthink.runs.folder import Run
from leanthink.sweep.plan import Planned, Sweep
from leanthink.sweep.store import Store, outcome


class Kept(Protocol):
    """What is kept of a run; one with another key is another run, and not shown for it."""

    @property
    def key(self) -> str:
        """A hash of what the run is."""


Ended = TypeVar("Ended", bound=Kept)


def ended_runs(sweep: Sweep, store: Store, kept: Iterable[Ended], made: Callable[[Run, Planned], Ended]) -> list[Ended]:
    """The runs of the plan that ended.

    Args:
        sweep: the plan.
        store: the folders of its runs.
        kept: those of other days.
        made: what is kept of a run, from its folder.
    """
    before = {one.key: one for one in kept}
    found = []
    for planned in sweep.runs:
        run = store.run(planned)
        if outcome(run, planned) == "finished":
            found.append(made(run, planned))
        elif planned.key in before:
            found.append(before[planned.key])
    return found
