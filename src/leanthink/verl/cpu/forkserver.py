"""Ray workers as forks of a process that has its imports behind it.

A training run starts about ten Ray workers, most of them one after another, and each imports torch, tensordict,
transformers and much else: on two cores that takes longer than all the rest until the first step. So the process that
trains imports those libraries first and forks a server. Ray is told, by ``py_executable`` of its runtime environment,
to start Python through `leanthink.verl.cpu.forkclient`, which asks the server for a fork of itself instead.

The server imports neither Ray nor verl: Ray reads its settings from the environment when it is imported, so that every
worker must import it afresh, and verl imports Ray.
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
import struct
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

from leanthink.core.errors import LeanthinkError
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


class ForkServerError(LeanthinkError, RuntimeError):
    """The fork server cannot be used in this process."""


def start() -> str:
    """Import what workers need, fork the server, and return the command that stands for ``python``.

    The command goes into ``ray_kwargs.ray_init.runtime_env.py_executable``. To be called first thing, in the process
    that will train: it profits from the imports as well, and the server lives as long as it does.
    """
    inherited = _open_descriptors()
    for name in PRELOAD:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if "ray" in sys.modules or threading.active_count() > 1:
        raise ForkServerError(
            f"fork server: Ray is imported ({'ray' in sys.modules}) or there is more than one thread "
            f"({[thread.name for thread in threading.enumerate()]}); start the server before either, or set "
            "LEANTHINK_FORK=0 to do without"
        )
    directory = tempfile.mkdtemp(prefix="leanthink-")
    path = os.path.join(directory, "fork")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(128)
    # The trainer keeps the writing end and never writes: its end is what the server sees when the trainer is gone.
    trainer, alive = os.pipe()
    gc.collect()
    gc.freeze()  # what is loaded stays shared between the forks
    if os.fork() == 0:
        for descriptor in (alive, *inherited):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        _serve(listener, trainer, directory)
    os.close(trainer)
    listener.close()
    atexit.register(shutil.rmtree, directory, ignore_errors=True)  # Ray kills the children of a driver that ends
    return shlex.join([sys.executable, "-I", "-S", str(Path(forkclient.__file__).resolve()), path])


def _open_descriptors() -> list[int]:
    """What this process was given beside its standard streams, such as a lock: none of the workers' business."""
    found = []
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):  # the listing itself was one
            os.fstat(int(name))
            found.append(int(name))
    return [descriptor for descriptor in found if descriptor > 2]


def _serve(listener: socket.socket, trainer: int, directory: str) -> NoReturn:
    """Fork for whoever asks, until the trainer is gone."""
    status = 1
    try:
        os.setsid()  # an interrupt from the terminal is for the trainer
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
        while True:
            ready, _, _ = select.select([listener.fileno(), trainer], [], [])
            if trainer in ready:
                break
            connection, _ = listener.accept()
            if not _of_this_user(connection):
                connection.close()
                continue
            if os.fork() == 0:
                listener.close()
                os.close(trainer)
                _become_worker(connection)
            connection.close()
        shutil.rmtree(directory, ignore_errors=True)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _of_this_user(connection: socket.socket) -> bool:
    """Whether who asks runs as we do: a fork does whatever it is told. The folder keeps all but root out anyway."""
    if not hasattr(socket, "SO_PEERCRED"):  # Linux has it
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[1] == os.getuid())


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


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    message, streams, _, _ = socket.recv_fds(connection, _HEADER, 3)
    while not message.endswith(b"\n"):
        message += connection.recv(_HEADER)
    return json.loads(message), streams


def _forget_parent() -> None:
    """What a fresh process would have of its own: random numbers and module paths."""
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    for path in reversed(os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if path and path not in sys.path:
            sys.path.insert(1, path)
