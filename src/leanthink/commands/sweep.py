"""``leanthink sweep``: many runs from one file, with a plan, progress, and one table of results."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from leanthink.commands import jobs, train, trust
from leanthink.core.errors import ConfigError
from leanthink.recipe.yaml import parse_yaml
from leanthink.runs.folder import Run
from leanthink.sweep.cost import Cost, clock, measured, plan_table, result_table
from leanthink.sweep.local import Launcher, Local
from leanthink.sweep.plan import Planned, Resolve, Resolved, Sweep, load_sweep
from leanthink.sweep.schedule import Scheduler, steps_done
from leanthink.sweep.store import ENDED, FOR_GOOD, Status, Store
from leanthink.verl.start.identity import identity_of
from leanthink.verl.start.train import require_verl

SOME_FAILED: Final = 3
TESTBED: Final = Path("the testbed's")
"""Where its questions lie, for a run that has no folder yet."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add = parser.add_argument
    trust.add_argument(parser)
    add("file", type=Path, metavar="SWEEP.yaml", help="what to train; docs/howto/sweep.md says how")
    add("--out", type=Path, help="the sweep's folder (default: runs/NAME of the file); what is there goes on")
    add("--dry-run", action="store_true", help="check every key, print the plan and what it costs, start nothing")
    add(
        "--allow-changed",
        action="append",
        default=[],
        metavar="NAMES",
        help="let unfinished runs go on although these differ, as `leanthink train` takes it; versions, say",
    )
    add("--jobs", type=int, metavar="N", help="runs at a time (default: 1; on a cluster all at once)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--ray", metavar="ADDRESS", help="as jobs of this Ray cluster, as in http://HEAD:8265")
    where.add_argument(
        "--slurm",
        nargs="*",
        metavar="key=value",
        help="as SLURM jobs, with submitit's parameters, as in timeout_min=600 gpus_per_node=8 slurm_partition=gpu",
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Plan, and run the plan; 0 where every run is finished or collapsed, 3 where some failed."""
    if args.jobs is not None and args.jobs < 1:
        raise ConfigError(f"--jobs is {args.jobs}; give 1 or more")
    if not args.dry_run:
        require_verl()
    sweep = load_sweep(args.file, resolver())
    store = Store(folder=args.out or Path("runs") / args.file.stem)
    folders = [store.folder, *store.folder.absolute().parent.glob("*")]
    cost = measured(runs_in(folders), sweep.runs[0].profile)
    parallel = args.jobs or (len(sweep.runs) if args.ray or args.slurm is not None else 1)
    console.print(plan_table(sweep, store, cost, parallel, console.width))
    if args.dry_run:
        return 0
    launcher = launcher_of(args, store)
    words = ["--trust-code"] * args.trust_code
    words += [word for names in args.allow_changed for word in ("--allow-changed", names)]
    with store.locked(), _terminated_like_interrupted():
        store.open(sweep)
        if others := store.others(sweep):
            console.print(
                f"{len(others)} runs in {store.folder / 'runs'} are not of this plan and stay out of the table: "
                f"{', '.join(others[:3])}{', ...' if len(others) > 3 else ''}",
                highlight=False,
            )
        try:
            with _Board(console, sweep, store) as board:
                statuses = Scheduler(
                    sweep=sweep,
                    store=store,
                    launcher=launcher,
                    command=partial(command, words=words),
                    watcher=board,
                    jobs=parallel,
                ).run()
        except KeyboardInterrupt:
            jobs_left = "its jobs run on, and " if launcher.outlives else ""
            console.print(
                f"interrupted: {jobs_left}the same command goes on; results so far: {store.folder / 'results.csv'}",
                soft_wrap=True,
            )
            raise
    console.print(result_table(sweep, statuses, console.width))
    told = f"results: {store.folder / 'results.parquet'} and results.csv; runs: {store.folder / 'runs'}"
    console.print(told, highlight=False, soft_wrap=True)
    return 0 if all(status.state in FOR_GOOD for status in statuses.values()) else SOME_FAILED


def resolver() -> Resolve:
    """How the arguments of a run are checked, and turned into what the run is."""
    program = _Parser(prog="leanthink train", add_help=False, allow_abbrev=False)
    train.add_arguments(program)
    told: set[str] = set()

    def resolve(arguments: Sequence[str]) -> Resolved:
        args, rest = program.parse_known_args(list(arguments))
        args.overrides += rest  # argparse gives up on key=value behind an option
        floor = train.floor_of(args)
        job = jobs.job_of(args, jobs.folder_of(args), TESTBED)
        jobs.check(job)
        jobs.warn_of(job, told)
        return Resolved(steps=job.steps, profile=job.profile, facts=identity_of(job, floor))

    return resolve


class _Parser(argparse.ArgumentParser):
    """Of what a file says: what is wrong is an error to be told with its place, and no end of the program."""

    def error(self, message: str) -> NoReturn:
        """Raise it."""
        raise ConfigError(f"{message:.300}; give what `leanthink train --help` says")


def command(planned: Planned, run: Run, words: Sequence[str] = ()) -> list[str]:
    """The command that trains a run; ``words`` are options that the sweep itself was given."""
    recipe, *rest = planned.arguments
    out = ["--out", str(run.folder.absolute())]
    return [sys.executable, "-P", "-m", "leanthink", "train", recipe, *out, *words, *rest]


def launcher_of(args: argparse.Namespace, store: Store) -> Launcher:
    """Where the runs are started."""
    if args.ray:
        from leanthink.verl.start.rayjobs import RayJobs

        return RayJobs(args.ray)
    if args.slurm is not None:
        from leanthink.sweep.slurm import Slurm

        return Slurm(store.folder / "slurm", _parameters(args.slurm))
    return Local()


def _parameters(texts: Sequence[str]) -> dict[str, Any]:
    parameters = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--slurm {text}: no key=value; write timeout_min=600 gpus_per_node=8")
        parameters[key] = parse_yaml(value, f"--slurm {key}")
    return parameters


def runs_in(folders: Sequence[Path]) -> Iterator[Run]:
    """The finished runs in folders of runs and of sweeps; a broken one is none."""
    for folder in dict.fromkeys(folder.absolute() for folder in folders):
        for path in sorted([*folder.glob("summary.json"), *folder.glob("runs/*/summary.json")]):
            yield Run(folder=path.parent)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Take SIGTERM, and Ctrl-C even where a shell has us ignore it, as a KeyboardInterrupt."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Board:
    """Progress bars on a terminal, for all runs and for each that goes on; elsewhere a line for each change."""

    def __init__(self, console: Console, sweep: Sweep, store: Store) -> None:
        self._console, self._sweep, self._store = console, sweep, store
        self._done: dict[str, int] = {}
        self._tasks: dict[str, TaskID] = {}
        self._left = Cost.remaining(sweep)
        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
        )  # fmt: skip
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._all = self._progress.add_task("all runs, steps", total=self._left.total, left="")

    def __enter__(self) -> _Board:
        for planned in self._sweep.runs:
            run = self._store.run(planned)
            over = self._store.status(planned).state in FOR_GOOD
            # steps behind the last checkpoint are done again
            self._done[planned.key] = (planned.steps or steps_done(run)) if over else run.last_checkpoint()
        self._left.begin(sum(self._done.values()), time.monotonic())
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_change(self, planned: Planned, status: Status) -> None:
        """Say it."""
        if status.state in ENDED:
            missing = (planned.steps or 0) - self._done[planned.key]
            if status.state in FOR_GOOD:
                self._done[planned.key] += max(0, missing)
            elif self._left.total is not None:  # a failed run is over for now
                self._left.total -= missing
                self._progress.update(self._all, total=self._left.total)
            if (task := self._tasks.pop(planned.key, None)) is not None:
                self._progress.remove_task(task)
        number = 1 + self._sweep.runs.index(planned)
        text = f"[{number}/{len(self._sweep.runs)}] {planned.name}: {status.state}"
        if status.state == "running" and status.attempts > 1:
            text += f", attempt {status.attempts}, from step {self._store.run(planned).last_checkpoint()}"
        elif status.state in ENDED:
            left = self._time_left()
            text += f" after {clock(status.seconds)}{f', {left}' if left else ''}"
        if status.error:
            text += f"; {status.error} (all it printed: {self._store.log(planned)})"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def on_tick(self, running: Sequence[tuple[Planned, int]]) -> None:
        """Move the bars."""
        for planned, step in running:
            if planned.key not in self._tasks:
                self._tasks[planned.key] = self._progress.add_task(planned.name, total=planned.steps, left="")
            self._done[planned.key] = step
            self._progress.update(self._tasks[planned.key], completed=step)
        self._progress.update(self._all, completed=sum(self._done.values()), left=self._time_left())

    def _time_left(self) -> str:
        seconds = self._left.seconds(sum(self._done.values()), time.monotonic())
        return "" if not seconds else f"{clock(seconds)} left"
