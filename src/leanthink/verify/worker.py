"""The program a worker process runs.

It runs as a *file*, and loads the judge as one: never through `leanthink`, so that a worker is small and quick to start
whatever the package's top level imports, and nothing depends on what `__main__` is.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Answer = tuple[str, str, str | None]

WARM_UP = (  # loads what sympy loads late, and builds the tables of the grammar that most answers need
    ("\\frac{1}{2}", "0.5"),
    ("x^2 + 2x", "x(x + 3)"),
    ("\\left( 3, \\frac{\\pi}{2} \\right)", "4:30 \\text{ p.m.}"),
)


def load(setup: Mapping[str, Any]) -> Callable[[Mapping[str, str]], Answer]:
    """What answers the jobs of a task; the first answers are given here, so that no job pays for imports.

    Raises:
        ImportError: math-verify, or the user's function, is not there.
    """
    judge, symbolic = _beside("judge"), _beside("symbolic")
    task, repair, tolerances = setup["task"], frozenset(setup["repair"]), tuple(setup["tolerances"])
    if ":" in task:
        module, _, name = task.partition(":")
        function = importlib.import_module(module)
        for step in name.split("."):
            function = getattr(function, step)
        return lambda job: judge.judge_function(function, job["gold"], job["answer"])
    for gold, answer in WARM_UP:
        judge.judge(gold, answer, "boxed", repair)
    if task == "numeric":
        return lambda job: judge.judge_number(job["gold"], job["answer"], job["form"], tolerances)

    def answer_of(job: Mapping[str, str]) -> Answer:
        if job["form"] == "proof":
            return *symbolic.prove(job["pairs"]), job["answer"]
        told: Answer = judge.judge(job["gold"], job["answer"], job["form"], repair)
        return told

    return answer_of


def _beside(name: str) -> Any:
    """A module that lies beside this file, loaded by its path."""
    spec = importlib.util.spec_from_file_location(f"leanthink_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(descriptor: int, parent: int, memory_mb: int, orphan_seconds: float) -> None:
    """Answer jobs, one JSON line each, until the socket closes or the parent is gone.

    Five things end a worker: its parent's kill, the end of the socket, the kernel when the parent is gone, and where
    the kernel does not, a watchdog thread that sees it gone, or, because an integer power can hold the interpreter's
    lock for hours, the kernel's alarm seconds after the deadline. The alarm enforces no deadline: it only clears up
    what a killed parent left behind.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    threading.Thread(target=watch, daemon=True).start()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    _limit_memory(memory_mb)
    with socket.socket(fileno=descriptor) as channel, channel.makefile("rb") as jobs:

        def send(reply: dict[str, Any]) -> None:
            channel.sendall(json.dumps(reply).encode() + b"\n")

        try:
            setup = json.loads(jobs.readline())
            sys.path.extend(path for path in setup["path"] if path not in sys.path)
            answer_of = load(setup)
        except (ImportError, AttributeError) as error:
            send({"failed": f"{type(error).__name__}: {error}"})
            return
        gc.freeze()
        send({"ready": True})
        for line in jobs:
            job = json.loads(line)
            signal.setitimer(signal.ITIMER_REAL, orphan_seconds)
            start = time.perf_counter()
            try:
                verdict, reason, extracted = answer_of(job)
            except MemoryError:
                verdict, reason, extracted = "unknown", "memory", job["answer"]
            except Exception as error:
                told = f"judge_error: {type(error).__name__}: {error}"[:200]
                verdict, reason, extracted = "unknown", told, job["answer"]
            signal.setitimer(signal.ITIMER_REAL, 0)
            seconds = time.perf_counter() - start
            send({"verdict": verdict, "reason": reason, "extracted": extracted, "seconds": seconds})
            if reason == "memory":
                return


def _die_with_parent() -> None:
    """Have Linux kill this process when the thread that started it ends, however that comes about."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _limit_memory(memory_mb: int) -> None:
    """Make a runaway expression a MemoryError instead of the machine's end, where the system can."""
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
