"""Ray workers as forks of a process that has its imports behind it.

A training run starts about nine Ray workers, most of them one after another, and each imports torch, tensordict,
transformers and verl: on two cores that takes longer than everything else before the first step. So the driver, once it
has imported them and before it starts Ray, forks a server. Ray is told, by its runtime environment's ``py_executable``,
to start Python through `leanthink.verl.cpu.forkclient`, which asks the server for a fork instead.

The server lives as long as the driver; it runs nothing but this loop, and forks before any thread exists.
"""

from __future__ import annotations

import array
import atexit
import gc
import json
import os
import random
import runpy
import select
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import NoReturn

from leanthink.errors import LeanthinkError
from leanthink.verl.cpu import forkclient

_HEADER = 1 << 20


class ForkServerError(LeanthinkError, RuntimeError):
    """The fork server cannot be used in this process."""


def start() -> str:
    """Fork the server; return the command that stands for ``python`` in Ray's runtime environment."""
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate())
        raise ForkServerError(f"fork server: this process has threads already ({names}); start it before they do")
    directory = tempfile.mkdtemp(prefix="leanthink-fork-")
    path = os.path.join(directory, "socket")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(64)
    # The driver holds the writing end and never writes: the server sees its end when the driver is gone.
    driver_gone, alive = os.pipe()
    gc.collect()
    gc.freeze()
    if os.fork() == 0:
        os.close(alive)
        _serve(listener, driver_gone, directory)
    os.close(driver_gone)
    listener.close()
    return shlex.join([sys.executable, "-I", "-S", str(Path(forkclient.__file__).resolve()), path])


def _serve(listener: socket.socket, driver_gone: int, directory: str) -> NoReturn:
    status = 1
    try:
        os.setsid()  # an interrupt from the terminal is the driver's to handle
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
        while True:
            ready, _, _ = select.select([listener, driver_gone], [], [])
            if driver_gone in ready:
                break
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                os.close(driver_gone)
                _become_worker(connection)
            connection.close()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os._exit(status)


def _become_worker(connection: socket.socket) -> NoReturn:
    """Be the program the client was asked to run: its arguments, environment, directory and standard streams."""
    status = 1
    try:
        header, descriptors = _receive(connection)
        for target, source in enumerate(descriptors):
            os.dup2(source, target)
            os.close(source)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(header["environ"])
        os.chdir(header["cwd"])
        sys.argv = header["argv"]
        sys.path[0] = os.path.dirname(sys.argv[0])
        _forget_parent()
        connection.sendall(json.dumps(os.getpid()).encode() + b"\n")
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            connection.sendall(json.dumps(status).encode() + b"\n")
        finally:
            os._exit(status)


def _receive(connection: socket.socket) -> tuple[dict[str, list[str]], array.array[int]]:
    message, descriptors, _, _ = socket.recv_fds(connection, _HEADER, 3)
    while not message.endswith(b"\n"):
        message += connection.recv(_HEADER)
    return json.loads(message), array.array("i", descriptors)


def _forget_parent() -> None:
    """What a fresh process would have of its own: random numbers, and what libraries read from its environment."""
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if raylet := sys.modules.get("ray._raylet"):
        raylet.Config.initialize("")  # Ray's settings come from the environment, once, when it is imported
    if (torch := sys.modules.get("torch")) and os.environ.get("OMP_NUM_THREADS", "").isdigit():
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
