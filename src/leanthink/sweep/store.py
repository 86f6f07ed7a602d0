"""A sweep's folder: which runs there are, and what became of each.

plan.json      the runs of the last start         runs/NAME/        each a folder of `leanthink train`
results.*      the table, parquet and CSV         logs/NAME.txt     what `leanthink train` printed
lock           held while the sweep goes on       status/NAME.json  state, seconds, error, rows of the table
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from leanthink.core.errors import DataError, StateError
from leanthink.files.reading import read_object
from leanthink.files.writing import hold, is_bare, make_folder, open_lock, write_text
from leanthink.runs.folder import Run
from leanthink.sweep.plan import Planned, Sweep

State = Literal["pending", "running", "finished", "failed", "collapsed"]
ENDED: Final = ("finished", "failed", "collapsed")
FOR_GOOD: Final = ("finished", "collapsed")


@dataclass(frozen=True, kw_only=True)
class Status:
    """What is known of one run.

    Attributes:
        state: ``pending`` before the first start and between two.
        attempts: how often it was started.
        seconds: in all its attempts; one that was cut off by the end of the sweep's own process is not in them.
        handle: the launcher's own name of the attempt that goes on.
        launcher: which launcher that was.
        error: why the last attempt failed.
        commit: of the working directory at the last start; ends in ``+`` where files differ from it.
        rows: the run's rows of the results table.
    """

    state: State = "pending"
    attempts: int = 0
    seconds: float = 0.0
    handle: str = ""
    launcher: str = ""
    error: str = ""
    commit: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)

    def but(self, **changes: Any) -> Status:
        """The same with changes."""
        return replace(self, **changes)


def _status_of(content: Mapping[str, Any]) -> Status:
    """A status from its file.

    Raises:
        TypeError: a key that is none, or a value of another kind.
    """
    status = Status(**content)
    for one in fields(Status):
        value, kind = getattr(status, one.name), type(getattr(Status(), one.name))
        if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool):
            raise TypeError(f"{one.name} is {value!r:.60}")
    if status.state not in get_args(State) or not all(isinstance(row, dict) for row in status.rows):
        raise TypeError(f"state is {status.state!r:.60}, or rows are no objects")
    return status


@dataclass(frozen=True, kw_only=True)
class Store:
    """The folder of a sweep."""

    folder: Path

    def run(self, planned: Planned) -> Run:
        """The run's folder, whatever the sweep called it when it was started."""
        runs = self.folder / "runs"
        found = next((path for path in sorted(runs.glob(f"*-{planned.key}")) if path.is_dir()), None)
        return Run(folder=found or runs / planned.folder)

    def log(self, planned: Planned) -> Path:
        """What ``leanthink train`` printed."""
        return self.folder / "logs" / f"{self.run(planned).folder.name}.txt"

    def status(self, planned: Planned) -> Status:
        """What is known of a run.

        Raises:
            DataError: its file is damaged.
        """
        path = self._status(planned)
        try:
            return _status_of(read_object(path))
        except FileNotFoundError:
            return Status()
        except (DataError, TypeError) as error:
            raise DataError(f"{path} cannot be read ({error}); delete it: the run itself is kept") from error

    def save(self, planned: Planned, status: Status) -> None:
        """Write down what is known of a run."""
        write_text(self._status(planned), json.dumps(asdict(status), indent=1) + "\n")

    def open(self, sweep: Sweep) -> None:
        """Make the folder, or take one that a sweep made.

        Raises:
            StateError: it holds something else.
        """
        plan = self.folder / "plan.json"
        if self.folder.exists() and not plan.exists() and not is_bare(self.folder, "lock"):
            raise StateError(f"{self.folder} is not empty and holds no sweep; give another folder with --out")
        for name in ("runs", "logs", "status"):
            make_folder(self.folder / name)
        runs = [{"folder": run.folder, **asdict(run)} for run in sweep.runs]
        write_text(plan, json.dumps({"file": str(sweep.file), "runs": runs}, indent=1) + "\n")

    def others(self, sweep: Sweep) -> list[str]:
        """Runs in the folder that the present sweep file does not ask for."""
        wanted = {self.run(planned).folder.name for planned in sweep.runs}
        return sorted(path.name for path in self.folder.glob("runs/*") if path.name not in wanted)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other sweeps out of the folder.

        Raises:
            StateError: one is in it.
        """
        make_folder(self.folder)
        with open_lock(self.folder / "lock") as lock:
            hold(
                lock,
                f"{self.folder} is being filled by another `leanthink sweep`; wait for it, stop it, or choose another "
                "folder with --out",
            )
            yield

    def _status(self, planned: Planned) -> Path:
        return self.folder / "status" / f"{self.run(planned).folder.name}.json"


def outcome(run: Run, planned: Planned) -> State | None:
    """How a run ended by its own summary; None where it has not come to its end."""
    steps = run.finished_steps()
    if steps is None:
        return None
    if "stopped" in run.read_summary():
        return "collapsed"
    return "finished" if planned.steps is None or steps >= planned.steps else None
