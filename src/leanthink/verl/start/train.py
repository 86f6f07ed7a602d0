"""`leanthink train`: starts verl, follows it, and leaves a run's folder behind. Imports no verl itself."""

from __future__ import annotations

import ctypes
import fcntl
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

import yaml

from leanthink.core import code
from leanthink.core.errors import ConfigError, DataError, DependencyError, LeanthinkError, StateError
from leanthink.core.text import storable
from leanthink.files.writing import make_folder, open_lock, open_log, write_text
from leanthink.runs.failure import Cause, cause_of
from leanthink.runs.floor import Floor
from leanthink.runs.folder import Run, evaluation, seconds_by_phase
from leanthink.runs.identity import MODEL, TRAIN_FILES, VAL_FILES, model_fact
from leanthink.verl.cpu import vllm
from leanthink.verl.start.claim import check_folder, compared, forget_position, is_finished, with_migration
from leanthink.verl.start.identity import identity_of, version_of, versions
from leanthink.verl.start.launch import MAINS, Job

POLL_SECONDS: Final = 0.3
PATIENCE_SECONDS: Final = 20.0
LAST_BYTES: Final = 16 * 2**20  # of a log, in which the cause of a failure is looked for

OnStep = Callable[[Mapping[str, Any]], None]
Say = Callable[[str], None]


class TrainingFailedError(LeanthinkError, RuntimeError):
    """verl ended with an error."""


def train(
    job: Job,
    run: Run,
    on_step: OnStep,
    write_data: Callable[[], None] = lambda: None,
    floor: Floor | None = None,
    allowed: Sequence[str] = (),
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Run verl to the end, or go on where an earlier start of the same run stopped.

    What the run is, its data, model, keys and versions, is written into ``run.json`` and compared at the next start
    (`leanthink.runs.identity`).

    Args:
        job: what to train.
        run: the job's folder.
        on_step: called with each step's flat metrics as they appear, earlier steps of a resumed run included.
        write_data: called once the folder is this run's, before verl starts.
        floor: when the run counts as collapsed and is stopped, for good.
        allowed: names of what may differ from the folder's run (`leanthink.runs.identity.allows`).
        say: called with what the caller should know, a line each.

    Returns:
        The summary, which also lies in ``summary.json``; with ``stopped`` where the floor ended the run.

    Raises:
        StateError: the folder's run, going on or finished, is another one, or it is being trained already.
        ConfigError: ``allowed`` holds a name that nothing of a run has.
        TrainingFailedError: verl ended with an error; the message holds its last one.
        DependencyError: verl is not installed.
    """
    require_verl()
    make_folder(run.folder)
    with open_lock(run.folder / "lock") as lock:
        _lock(lock, run)
        check_folder(run)
        run.mend_checkpoints()
        write_data()
        facts = identity_of(job, floor)
        record, differing = compared(job, run, facts, allowed)
        if is_finished(job, run, differing):
            told = f"; differing now, and without effect: {'; '.join(map(str, differing))}" if differing else ""
            say(f"{run.folder} is finished: {run.finished_steps()} steps are done, nothing was trained{told}")
            return run.read_summary()
        resumed = run.last_checkpoint()
        for one in differing:
            say(f"changed: {one}")
        if resumed and any(one.name == TRAIN_FILES for one in differing):
            forget_position(job, run)
            say("the new training files are read from their first row")
        where = f"from step {resumed}" if resumed else "from the start"
        say(f"training {job.recipe.name} ({job.profile} profile) in {run.folder}, {where}; verl prints to {run.log}")
        write_text(run.recipe, yaml.safe_dump(job.recipe.to_node(), sort_keys=False))
        make_folder(run.attempts)
        record = record.started(facts, resumed, differing)
        record.write(run.record)
        job = replace(job, options={**with_migration(record, resumed), **job.options})
        started = time.time()
        evaluated = not any(one.name in (MODEL, VAL_FILES) for one in differing) or resumed > 0
        if evaluated and (run.validation / "0.jsonl").exists():
            job = replace(job, extra={"trainer.val_before_train": False, **job.extra})
        write_text(run.folder / "command.txt", storable(job.command())[0] + "\n")
        stopped = _follow(job, run, run.next_attempt(), lock, on_step, floor)
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


def require_engine(job: Job) -> None:
    """Raise unless the engine that the job asks for can run here.

    Raises:
        DependencyError: naming what is missing and the cure.
    """
    if job.engine == "vllm" and (lack := vllm.lacking(version_of)):
        raise DependencyError(f"--engine vllm: {lack}; {vllm.CURE}, or train with --engine tiny")


def check_model(job: Job) -> None:
    """Refuse a model that verl would look for in vain, a quarter of a minute later.

    Raises:
        DataError: it is a path without a model, or, where nothing is looked up on the network, not in the Hub's cache.
    """
    name = str(job.keys()[MODEL])
    cure = "give --model a folder that holds config.json, weights and tokenizer, or a name of the Hub"
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise DataError(f"--model {name}: the folder holds no config.json; {cure}")
    elif "://" in name:
        return  # verl fetches it
    elif name.startswith(("/", ".", "~")) or name.count("/") > 1 or folder.exists():
        raise DataError(f"--model {name}: no such folder; {cure}")
    elif job.profile == "cpu" and "commit" not in model_fact(name):
        raise DataError(
            f"--model {name}: no such folder, and it is not in the Hub's cache; the CPU profile looks nothing up on "
            f"the network: run `hf download {name}` first, or {cure}"
        )


def check_accelerator(job: Job) -> None:
    """Refuse GPUs that this machine does not have, unless the run goes to a Ray cluster elsewhere.

    Raises:
        ConfigError: torch sees too few.
    """
    device = job.keys().get("trainer.device")
    if device != "cuda" or job.options.get("check_cluster") is False or os.environ.get("RAY_ADDRESS"):
        return
    import torch

    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if seen < job.gpus:
        raise ConfigError(
            f"the run wants {job.gpus} GPUs on this machine, and torch {torch.__version__} sees {seen}; give --gpus "
            f"{seen or 'N'}, set RAY_ADDRESS to the cluster that has them, or train with --profile cpu (`leanthink "
            "doctor` tells what is missing)"
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


def _follow(
    job: Job, run: Run, attempt: Path, lock: IO[str], on_step: OnStep, floor: Floor | None
) -> dict[str, Any] | None:
    """Run verl to its end, or to the floor; then returns why it was stopped."""
    arguments = job.arguments()
    environment = dict(os.environ)
    if job.profile == "cpu":
        environment = {**job.environment, **environment, "VERL_PLATFORM": "cpu"}
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
            [sys.executable, "-P", "-m", MAINS[job.kind], *arguments],
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
        cause = _cause(run, log_start, process.returncode)
        raise TrainingFailedError(
            f"verl ended with exit code {process.returncode}: {cause}. Everything it printed: {run.log}, this in line "
            f"{cause.line}. Then run the same command again: it goes on from the last checkpoint"
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


def _cause(run: Run, start: int, code: int) -> Cause:
    """Why this start failed, as the log tells it from ``start`` on."""
    start, before = max(start, run.log.stat().st_size - LAST_BYTES), 0
    with run.log.open("rb") as file:
        while left := start - file.tell():
            before += file.read(min(left, 2**20)).count(b"\n")
        text = file.read(LAST_BYTES).decode("utf-8", "replace")
    cause = cause_of(text, code, shutil.disk_usage(run.folder).free)
    return replace(cause, line=before + cause.line)


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
        "validation": job.validation(),
        "versions": versions(),
    }
    if "data.seed" in job.extra:
        summary["seed"] = job.extra["data.seed"]
    if stopped is not None:
        summary["stopped"] = dict(stopped)
    write_text(run.summary, json.dumps(summary, indent=1) + "\n")
    return summary
