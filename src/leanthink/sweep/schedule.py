"""Running the runs of a sweep: some at a time, each once to its end, whatever happens to the others or to us."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from leanthink.core.errors import LeanthinkError
from leanthink.files.reading import read_jsonl
from leanthink.runs.folder import Run, step_number
from leanthink.sweep.commit import commit_of
from leanthink.sweep.local import Launcher
from leanthink.sweep.plan import Planned, Sweep
from leanthink.sweep.store import FOR_GOOD, Status, Store, outcome
from leanthink.sweep.table import rows_of, write_results

Command = Callable[[Planned, Run], list[str]]
"""The whole command that trains a run in its folder."""


class Watcher(Protocol):
    """Who is told what happens."""

    def on_change(self, planned: Planned, status: Status) -> None:
        """A run was started, taken up, left or came to its end."""
        ...

    def on_tick(self, running: Sequence[tuple[Planned, int]]) -> None:
        """The runs going on, each with the steps it has done."""
        ...


@dataclass(kw_only=True)
class Scheduler:
    """Brings every run of a sweep to its end.

    Attributes:
        sweep: the runs.
        store: the sweep's folder, locked by the caller.
        launcher: where they are started.
        command: how.
        watcher: who is told.
        jobs: how many at a time.
    """

    sweep: Sweep
    store: Store
    launcher: Launcher
    command: Command
    watcher: Watcher
    jobs: int = 1
    _running: dict[str, tuple[Planned, float]] = field(default_factory=dict)  # by handle, with the time of its start

    def run(self) -> dict[str, Status]:
        """Run what has not come to its end; returns what became of each, by key.

        A run that failed in an earlier start is tried again; one that is finished or collapsed is not.
        """
        waiting = [planned for planned in self.sweep.runs if not self._over(planned)]
        write_results(self.sweep, self.store)
        waiting = [planned for planned in waiting if not self._taken_up(planned)]
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self.jobs:
                    free = next((planned for planned in waiting if not self.store.run(planned).is_locked()), None)
                    if free is None:  # verl ends a moment after a sweep that was killed
                        break
                    waiting.remove(free)
                    self._start(free)
                for handle in list(self._running):
                    self._look_at(handle)
                self.watcher.on_tick(
                    [(planned, steps_done(self.store.run(planned))) for planned, _ in self._running.values()]
                )
                if waiting or self._running:
                    time.sleep(self.launcher.poll_seconds)
        except BaseException:
            self._leave()
            raise
        return {planned.key: self.store.status(planned) for planned in self.sweep.runs}

    def _over(self, planned: Planned) -> bool:
        """Whether a run needs nothing more; puts right what a killed sweep left unsaid."""
        status = self.store.status(planned)
        ended = outcome(self.store.run(planned), planned)
        if ended is not None and (status.state != ended or not status.rows):
            if status.state == "running":  # nobody timed the attempt but the run itself
                last = self.store.run(planned).read_summary().get("seconds") or {}
                status = status.but(seconds=status.seconds + last.get("total", 0.0))
            self._end(planned, status, 0)
        return ended in FOR_GOOD

    def _taken_up(self, planned: Planned) -> bool:
        """Whether a run still goes on, started by an earlier sweep where it outlives that."""
        status = self.store.status(planned)
        if status.state != "running":
            return False
        if self.launcher.outlives and status.launcher == self.launcher.name:
            self._running[status.handle] = (planned, time.time())
            self.watcher.on_change(planned, status)
            return True
        self.store.save(planned, status.but(state="pending", handle=""))
        return False

    def _start(self, planned: Planned) -> None:
        log = self.store.log(planned)
        before = self.store.status(planned)
        run = self.store.run(planned)
        status = before.but(
            state="running",
            attempts=before.attempts + 1,
            launcher=self.launcher.name,
            error="",
            commit=commit_of(Path.cwd()),
            rows=[],
        )
        handle = self.launcher.start(run.folder.name, self.command(planned, run), log)
        self._running[handle] = (planned, time.time())
        self.store.save(planned, status.but(handle=handle))
        self.watcher.on_change(planned, status)

    def _look_at(self, handle: str) -> None:
        planned, started = self._running[handle]
        code = self.launcher.poll(handle, self.store.log(planned))
        if code is None:
            return
        del self._running[handle]
        status = self.store.status(planned)
        self._end(planned, status.but(seconds=status.seconds + time.time() - started), code)

    def _end(self, planned: Planned, status: Status, code: int) -> None:
        run = self.store.run(planned)
        state = outcome(run, planned) or "failed"
        error = "" if state in FOR_GOOD else last_words(self.store.log(planned), code)
        try:
            rows = rows_of(run, state)
        except LeanthinkError as problem:  # the other runs go on, and the next start looks again
            rows, error = [], f"{error}; " * bool(error) + f"its evaluations cannot be read: {problem}"
        status = status.but(state=state, handle="", error=error, rows=rows)
        self.store.save(planned, status)
        write_results(self.sweep, self.store)
        self.watcher.on_change(planned, status)

    def _leave(self) -> None:
        """Interrupted: end what cannot outlive us, and write down that it is to go on."""
        if self.launcher.outlives:
            return
        self.launcher.stop(list(self._running))
        for planned, started in self._running.values():
            status = self.store.status(planned)
            seconds = status.seconds + time.time() - started
            if outcome(self.store.run(planned), planned) is None:
                self.store.save(planned, status.but(state="pending", handle="", seconds=seconds))
            else:
                self._end(planned, status.but(seconds=seconds), 0)


def steps_done(run: Run) -> int:
    """The last step in a run's ``metrics.jsonl``; 0 before the first."""
    try:
        rows = list(read_jsonl(run.metrics))
    except FileNotFoundError:
        return 0
    return step_number(rows[-1].get("step"), f"{run.metrics}, step") if rows else 0


def last_words(log: Path, code: int) -> str:
    """What a failed command said last: its own error, or else its last line."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    told = [line for line in lines if line.startswith("leanthink ") and ": " in line and ": warning:" not in line]
    said = (told or [line for line in lines if line.strip()] or ["it printed nothing"])[-1]
    ended = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return f"{ended}: {said.partition(': ')[2] if told else said}"
