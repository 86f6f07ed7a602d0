"""Worker processes that can be killed one by one: a thread for each holds its socket and its deadline."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from leanthink.core.errors import DependencyError, LeanthinkError

_PROGRAM = Path(__file__).with_name("worker.py")
_START_SECONDS = 180.0  # importing sympy on a loaded machine
_STARTS = 3  # a worker may die while it starts, but not for ever
_ORPHAN_SECONDS = 5.0  # past the deadline; see worker.main

Job = dict[str, str]


class VerifierError(LeanthinkError, RuntimeError):
    """The verifier's workers cannot be used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A worker's answer to a job, or what became of the worker instead."""

    verdict: str
    reason: str
    extracted: str | None
    seconds: float

    @property
    def lasting(self) -> bool:
        """Whether the same job would get the same reply again: not after a time-out or a death."""
        return self.reason.split(":", 1)[0] not in ("timeout", "worker_died", "memory", "closed")


class Pool:
    """Jobs in, futures of replies out.

    The deadline of a job runs from the moment a ready worker gets it: neither waiting in the queue nor starting a
    worker counts. A worker past its deadline is killed and replaced; the others never notice, for workers share no
    lock and no pipe. A job whose worker dies has a second one for the rest of its time. Processes are plain programs
    (no fork of the parent, no `__main__` import, and they may be started inside daemonic processes).
    """

    def __init__(self, *, workers: int, deadline: float, memory_mb: int, setup: Mapping[str, Any]) -> None:
        """``setup`` tells the workers their task: see `worker.load`."""
        self.owner = os.getpid()
        self.replaced = 0
        self._deadline = deadline
        self._memory_mb = memory_mb
        self._setup = setup
        self._jobs: SimpleQueue[tuple[Job, Future[Reply]] | None] = SimpleQueue()
        self._closing = False
        self._lock = threading.RLock()  # the collector may call `close` in a lane; guards all that is written later
        self._processes: set[_Process] = set()
        self._lanes = [
            threading.Thread(target=self._serve, name=f"leanthink-verify-{lane}", daemon=True)
            for lane in range(workers)
        ]
        for lane in self._lanes:
            lane.start()

    def submit(self, job: Job) -> Future[Reply]:
        """Queue a job. The future cannot be cancelled: others may wait for the same answer."""
        future: Future[Reply] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._closing:
                raise VerifierError("verifier: it is closed; build a new one")
            self._jobs.put((job, future))
        return future

    def pids(self) -> tuple[int, ...]:
        """The workers alive now."""
        with self._lock:
            return tuple(process.pid for process in self._processes)

    def close(self) -> None:
        """Kill the workers and answer what waits with "closed". Safe to repeat, and from any thread."""
        if os.getpid() != self.owner:
            return  # a forked copy does not own the workers
        with self._lock:
            self._closing = True
            processes = tuple(self._processes)
        with suppress(Empty):
            while True:
                waiting = self._jobs.get_nowait()
                if waiting is not None:
                    waiting[1].set_result(_reply("closed"))
        for _ in self._lanes:
            self._jobs.put(None)
        for process in processes:
            process.kill()
        for lane in self._lanes:
            if lane is not threading.current_thread():
                lane.join(timeout=10)

    def _serve(self) -> None:
        """One lane: take a job, have a ready worker, ask it, replace it if it is lost."""
        process: _Process | None = None
        while (item := self._jobs.get()) is not None:
            job, future = item
            reply: Reply | Exception
            try:
                process, reply = self._answer(process, job)
            except Exception as error:  # goes to whoever waits for the job
                reply = error
            if lost := process is not None and process.lost:
                self._drop(process)
                process = None
            if isinstance(reply, Reply):
                future.set_result(reply)
            else:
                future.set_exception(reply)
            del item, job, future, reply
            if lost:
                with suppress(OSError):  # the next job tries again, and reports it
                    process = self._start()
        self._drop(process)

    def _answer(self, process: _Process | None, job: Job) -> tuple[_Process | None, Reply]:
        """The reply to a job, and the worker it came from; one worker may die over it, or in the instant before it."""
        process = self._ready(process)
        reply = self._ask(process, job, self._deadline)
        if reply.reason.startswith("worker_died"):
            spent = reply.seconds
            process = self._ready(process)
            reply = self._ask(process, job, self._deadline - spent)
            reply = replace(reply, seconds=reply.seconds + spent)
        return process, reply

    def _ready(self, process: _Process | None) -> _Process | None:
        """A worker that waits for a job; None when the pool closes."""
        if process is not None and process.ready():
            return process
        self._drop(process)
        for _ in range(_STARTS):
            process = self._start()
            if process is None:
                return None
            ready = False
            try:
                ready = process.ready()
            finally:
                if not ready:
                    self._drop(process)
            if ready:
                return process
        raise VerifierError(
            f"verifier: {_STARTS} worker processes in a row died before their first job; is memory short?"
        )

    def _ask(self, process: _Process | None, job: Job, time_left: float) -> Reply:
        if process is None:
            return _reply("closed")
        start = time.monotonic()
        try:
            return Reply(**process.ask(job, time_left))
        except (OSError, EOFError, ValueError):  # among them TimeoutError; ValueError: what came is no answer
            seconds = time.monotonic() - start
            if self._closing:
                return _reply("closed", seconds)
            if seconds >= time_left:
                return _reply(f"timeout: {self._deadline:g} s", seconds)
            return _reply(f"worker_died: exit status {process.kill()}", seconds)

    def _start(self) -> _Process | None:
        with self._lock:
            if self._closing:
                return None
            process = _Process(self._setup, self._memory_mb, self._deadline + _ORPHAN_SECONDS)
            self._processes.add(process)
        return process

    def _drop(self, process: _Process | None) -> None:
        if process is None:
            return
        process.close()
        with self._lock:
            self.replaced += process in self._processes and not self._closing
            self._processes.discard(process)


class _Process:
    """One worker process and our end of its socket."""

    def __init__(self, setup: Mapping[str, Any], memory_mb: int, orphan_seconds: float) -> None:
        self._setup = setup
        self.lost = False
        self._buffer = b""
        self._is_ready = False
        self._socket, theirs = socket.socketpair()
        arguments = (theirs.fileno(), os.getpid(), memory_mb, orphan_seconds)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", str(_PROGRAM), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "PYTHONHASHSEED": "0"},  # the same verdicts in every worker
            )
        self.pid = self._process.pid

    def ready(self) -> bool:
        """Wait for the worker's imports; False when it is dead. A worker that cannot import raises."""
        if self.lost or self._process.poll() is not None:
            return False
        if self._is_ready:
            return True
        try:
            answer = self._exchange({**self._setup, "path": sys.path}, _START_SECONDS)
        except (OSError, EOFError):
            return False
        if "failed" in answer:
            self.lost = True
            raise DependencyError(
                f"verifier: its worker cannot import what task {self._setup['task']!r} needs ({answer['failed']}); "
                f"install leanthink's dependencies, and those of your own function, for {sys.executable}"
            )
        self._is_ready = True
        return True

    def ask(self, job: Job, seconds: float) -> dict[str, Any]:
        """The worker's answer; after any error, and after it says that its memory is spent, the worker is lost."""
        answer = self._exchange(job, seconds)
        self.lost = answer["reason"] == "memory"
        return answer

    def kill(self) -> int:
        """End the process; the exit status, negative for a signal."""
        self._process.kill()
        return self._process.wait()

    def close(self) -> None:
        """End the process and the socket."""
        self.lost = True
        self.kill()
        self._socket.close()

    def _exchange(self, message: Any, seconds: float) -> dict[str, Any]:
        """Send a line, wait for a line. An answer that is there is taken, however late this thread comes to look."""
        self.lost = True
        end = time.monotonic() + seconds
        self._socket.settimeout(seconds)
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        while not self._buffer.endswith(b"\n"):
            self._socket.settimeout(max(end - time.monotonic(), 0.001))
            received = self._socket.recv(65536)
            if not received:
                raise EOFError
            self._buffer += received
        answer: dict[str, Any] = json.loads(self._buffer)
        self._buffer = b""
        self.lost = False
        return answer


def _reply(reason: str, seconds: float = 0.0) -> Reply:
    return Reply(verdict="unknown", reason=reason, extracted=None, seconds=seconds)
