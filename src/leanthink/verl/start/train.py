"""`leanthink train`: starts verl, follows it, and leaves a run's folder behind. Imports no verl itself."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

import yaml

from leanthink.core import code
from leanthink.core.errors import DataError, DependencyError, LeanthinkError, StateError
from leanthink.files.writing import is_bare, make_folder, open_lock, open_log, write_text
from leanthink.recipe.keys import PARTS
from leanthink.recipe.yaml import read_yaml
from leanthink.runs.floor import Floor
from leanthink.runs.folder import Run, evaluation, seconds_by_phase
from leanthink.verl.cpu import profile as cpu
from leanthink.verl.start.launch import Job

MAINS: Final = {"cpu": "leanthink.verl.cpu.main", "gpu": "verl.trainer.main_ppo"}
POLL_SECONDS: Final = 0.3
PATIENCE_SECONDS: Final = 20.0
VERSIONS_OF: Final = ("leanthink", "verl", "torch", "transformers", "ray", "TransferQueue", "math-verify", "vllm")

OnStep = Callable[[Mapping[str, Any]], None]


class TrainingFailedError(LeanthinkError, RuntimeError):
    """verl ended with an error."""


def train(
    job: Job,
    run: Run,
    on_step: OnStep,
    write_data: Callable[[], None] = lambda: None,
    floor: Floor | None = None,
) -> dict[str, Any]:
    """Run verl to the end, or go on where an earlier start of the same run stopped.

    Args:
        job: what to train; its checkpoints are put into the run's folder.
        run: the folder.
        on_step: called with each step's flat metrics as they appear, earlier steps of a resumed run included.
        write_data: called once the folder is this run's, before verl starts.
        floor: when the run counts as collapsed and is stopped, for good.

    Returns:
        The summary, which also lies in ``summary.json``; with ``stopped`` where the floor ended the run.

    Raises:
        StateError: the folder belongs to another recipe, or is being trained already.
        TrainingFailedError: verl ended with an error; the message holds its last one.
        DependencyError: verl is not installed.
    """
    require_verl()
    make_folder(run.folder)
    with open_lock(run.folder / "lock") as lock:
        _lock(lock, run)
        _claim(job, run)
        run.mend_checkpoints()
        with contextlib.suppress(DataError):  # a damaged summary is written anew at the end
            summary = run.read_summary()
            if "stopped" in summary or (job.steps is not None and summary["steps"] >= job.steps):
                return summary
        write_data()
        started = time.time()
        job = replace(job, checkpoints=str(run.checkpoints.absolute()), extra={**_files(run), **job.extra})
        write_text(run.folder / "command.txt", job.command() + "\n")
        attempt = run.attempts / f"{len(list(run.attempts.glob('*.jsonl'))):03d}.jsonl"
        stopped = _follow(job, run, attempt, lock, on_step, floor)
        return finish(job, run, time.time() - started, stopped)


def require_verl() -> None:
    """Raise unless what training needs is installed.

    Raises:
        DependencyError: naming the missing package and the command that installs it.
    """
    for module in ("verl", "ray", "transfer_queue"):
        if importlib.util.find_spec(module) is None:
            raise DependencyError(
                f"training needs {module}, which is not installed; install it with `pip install 'leanthink[verl]'` "
                "(on GPUs `pip install 'leanthink[gpu]'`)"
            )


def _lock(lock: IO[str], run: Run) -> None:
    """Held by us and, through the inherited descriptor, by verl: it lasts as long as either lives."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateError(
            f"{run.folder} is being trained by another process; wait for it, stop it, or choose another folder "
            "with --out"
        ) from None


def _claim(job: Job, run: Run) -> None:
    """Write the recipe into a new folder; refuse one that holds another recipe's run."""
    node = job.recipe.to_node()
    if run.recipe.exists() and (run.attempts.exists() or run.recipe.stat().st_size):
        before = read_yaml(run.recipe)
        if not isinstance(before, Mapping):
            raise StateError(f"{run.recipe} holds no recipe; delete it, and run the same command again")
        different = [part for part in PARTS if before.get(part) != json.loads(json.dumps(node.get(part)))]
        if different:
            raise StateError(
                f"{run.folder} holds a run of another recipe (its {different[0]} is {before.get(different[0])}, yours "
                f"{node.get(different[0])}); give this run its own folder with --out, or train the recipe of the folder"
            )
    elif not is_bare(run.folder, "lock", run.recipe.name):
        raise StateError(f"{run.folder} is not empty and holds no run; give another folder with --out")
    write_text(run.recipe, yaml.safe_dump(node, sort_keys=False))
    make_folder(run.attempts)


def _files(run: Run) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "trainer.validation_data_dir": str(run.validation.absolute()),
        "hydra.run.dir": str((run.folder / "hydra").absolute()),
    }
    if (run.validation / "0.jsonl").exists():
        keys["trainer.val_before_train"] = False
    return keys


def _follow(
    job: Job, run: Run, attempt: Path, lock: IO[str], on_step: OnStep, floor: Floor | None
) -> dict[str, Any] | None:
    """Run verl to its end, or to the floor; then returns why it was stopped."""
    loggers = job.keys().get("trainer.logger", ["console"])
    extra = {**job.extra, "trainer.logger": [*(name for name in loggers if name != "file"), "file"]}
    arguments = replace(job, extra=extra).arguments()
    environment = dict(os.environ)
    if job.profile == "cpu":
        environment = {**cpu.ENVIRONMENT, **environment, "VERL_PLATFORM": "cpu"}
    environment |= {
        "VERL_FILE_LOGGER_PATH": str(attempt.absolute()),
        code.FOLDERS: os.pathsep.join(code.folders()),
    }
    environment.setdefault("TENSORBOARD_DIR", str((run.folder / "tensorboard").absolute()))
    if job.profile == "cpu":
        environment.pop("RAY_ADDRESS", None)  # the profile's logical CPUs and GPUs need a Ray of their own
    with open_log(run.log) as log:
        log_start = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", MAINS[job.profile], *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            pass_fds=[lock.fileno()],
            preexec_fn=_end_with_parent,
        )
    seen, size, evaluated, stopped = 0, -1, 0, None
    try:
        while stopped is None:
            ended = process.poll() is not None
            grown = attempt.stat().st_size if attempt.exists() else 0
            if grown != size:  # reading every step again costs the trainer its cores
                seen, size = _report(run, seen, on_step), grown
                # verl logs a step after it has written the step's evaluation.
                last = max((step for step in run.evaluated_steps() if step <= seen), default=0)
                if floor is not None and last > evaluated:
                    stopped, evaluated = floor.reached(run, seen), last
            if ended:
                break
            time.sleep(POLL_SECONDS)
    except BaseException:
        _stop(process)
        raise
    if stopped is not None:
        _stop(process)
        return stopped
    if process.returncode != 0:
        raise TrainingFailedError(
            f"verl ended with exit code {process.returncode}: {_last_error(run.log, log_start)} "
            f"(everything it printed: {run.log}); run the same command again to go on from the last checkpoint"
        )
    return None


def _report(run: Run, seen: int, on_step: OnStep) -> int:
    """Pass on the steps after ``seen`` and keep ``metrics.jsonl`` up to date."""
    rows = run.read_metrics()
    new = [row for row in rows if row["step"] > seen]
    if new:
        write_text(run.metrics, "".join(json.dumps(row) + "\n" for row in rows))
    for row in new:
        on_step(row)
    return max([seen, *(int(row["step"]) for row in new)])


def _end_with_parent() -> None:
    """Ask Linux to end verl when this process dies, however it dies; elsewhere nothing can be asked."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(PATIENCE_SECONDS)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _last_error(log: Path, start: int) -> str:
    """The last line of the log that names an error of this start, without Ray's colours and prefixes."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", "replace").splitlines()
    # Hydra says what is wrong with an override first and mentions no error.
    wanted = [line for line in lines if line.startswith("Could not override")] or [
        line for line in lines if "Error" in line and "Traceback" not in line
    ]
    # Our own errors say what to do; Ray repeats them wrapped in its own.
    own = [line for line in wanted if "leanthink.core.errors." in line]
    chosen = (own or wanted or lines or ["it printed nothing"])[-1]
    return chosen.split("\x1b[0m")[-1].replace("leanthink.core.errors.", "").strip()


def finish(job: Job, run: Run, seconds: float, stopped: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Compute and write the summary of a run that reached its end, or was stopped for a reason.

    Raises:
        TrainingFailedError: there is no step, or no evaluation to compare.
    """
    metrics = run.read_metrics()
    evaluations = run.evaluations()
    steps = max((row["step"] for row in metrics), default=0)
    if not steps or not evaluations:
        raise TrainingFailedError(f"{run.folder}: verl ended without a step or an evaluation; see {run.log}")
    first, last = min(evaluations), max(evaluations)
    summary = {
        "recipe": job.recipe.name,
        "profile": job.profile,
        "steps": steps,
        "before": {"step": first, **evaluation(evaluations[first])},
        "after": {"step": last, **evaluation(evaluations[last])},
        "seconds": {"total": seconds, "per_step": seconds_by_phase(metrics)},
        "versions": {name: version for name in VERSIONS_OF if (version := _version(name)) is not None},
    }
    if "data.seed" in job.extra:
        summary["seed"] = job.extra["data.seed"]
    if stopped is not None:
        summary["stopped"] = dict(stopped)
    write_text(run.summary, json.dumps(summary, indent=1) + "\n")
    return summary


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
