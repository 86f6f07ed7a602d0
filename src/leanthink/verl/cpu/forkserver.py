"""Ray workers as forks of a process that has its imports behind it.

A training run starts about ten Ray workers, most of them one after another, and each imports torch, tensordict,
transformers and much else: on two cores that takes longer than all the rest until the first step. A `ForkServer` is a
process that imports those libraries once. Ray is told, by ``py_executable`` of its runtime environment, to start Python
through `leanthink.verl.cpu.forkclient`, which asks the server for a fork of itself instead.

The server imports neither Ray nor verl: Ray reads its settings from the environment when it is imported, so that every
worker must import it afresh, and verl imports Ray. It ends when the process that started it does.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import random
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from leanthink.verl.cpu import forkclient

PRELOAD = (
    "torch",
    "torch._dynamo",
    "torch.distributed.fsdp",
    "torch.distributed.checkpoint",
    "tensordict",
    "transformers",
    "transformers.generation",
    "transformers.masking_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "accelerate",
    "peft",
    "datasets",
    "pandas",
    "torchdata.stateful_dataloader",
    "hydra",
    "omegaconf",
    "pydantic",
    "fastapi",
    "uvicorn",
    "aiohttp",
    "jsonschema",
    "opentelemetry.sdk.metrics",
    "cachetools",
    "codetiming",
    "msgspec",
    "zmq.asyncio",
)
"""What verl's and Ray's processes import, Ray and verl themselves left out; what is not installed is skipped."""

_HEADER = 1 << 20


class ForkServer:
    """The server as a context: it runs within ``with``, at the longest as long as this process.

    Its `command` stands for ``python`` in ``ray_kwargs.ray_init.runtime_env.py_executable``.
    """

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="leanthink-"))
        self.socket = self._directory / "fork"
        self.command = shlex.join(
            [sys.executable, "-I", "-S", str(Path(forkclient.__file__).resolve()), str(self.socket)]
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ForkServer:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.socket))
        listener.listen(128)
        # The server watches its standard input, which ends when this process closes it or dies.
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(listener.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # an interrupt from the terminal is for those who train
        )
        listener.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:  # it may still be importing
                process.kill()
                process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)


def serve(listener: socket.socket) -> None:
    """Import, then fork for whoever asks, until standard input ends."""
    for name in PRELOAD:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is loaded stays shared between the forks
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _become_worker(connection)
        connection.close()


def _become_worker(connection: socket.socket) -> NoReturn:
    """Be the program the client was asked to run: its arguments, environment, directory and standard streams."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        header, streams = _receive(connection)
        for target, source in enumerate(streams):
            os.dup2(source, target)
            os.close(source)
        os.environ.clear()
        os.environ.update(header["environ"])
        os.chdir(header["cwd"])
        sys.argv = header["argv"]
        sys.path[0] = os.path.dirname(sys.argv[0])
        _forget_parent()
        connection.sendall(b"%d\n" % os.getpid())
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(b"%d\n" % status)
    finally:
        os._exit(status)


def _receive(connection: socket.socket) -> tuple[dict[str, dict[str, str]], list[int]]:
    message, streams, _, _ = socket.recv_fds(connection, _HEADER, 3)
    while not message.endswith(b"\n"):
        message += connection.recv(_HEADER)
    return json.loads(message), streams


def _forget_parent() -> None:
    """What a fresh process would have of its own: random numbers, module paths, the threads its environment grants."""
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    for path in reversed(os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if path and path not in sys.path:
            sys.path.insert(1, path)
    if (torch := sys.modules.get("torch")) and os.environ.get("OMP_NUM_THREADS", "").isdigit():
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
