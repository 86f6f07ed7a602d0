"""Stands in for ``python`` when Ray starts a worker: ``forkclient.py SOCKET OPTION... PROGRAM ARGUMENT...``.

Asks the fork server for the worker, passes signals on to it, and ends when it ends, with its status; without a server
it is ``python`` itself. Standard library only: it is run by path, without the site packages, to be quick.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys


def main(path: str, argv: list[str]) -> int:
    """Run ``argv`` in a fork of the server; return its exit status."""
    pid = 0
    early = []  # signals that came before there was anyone to pass them on to

    def pass_on(received: int, _frame: object) -> None:
        if not pid:
            early.append(received)
            return
        with contextlib.suppress(ProcessLookupError):  # it may have ended: then its status is on its way
            os.kill(pid, received)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)  # before the fork can say anything that somebody answers with a signal
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
        except OSError:
            for missed in early:
                signal.signal(missed, signal.SIG_DFL)
                os.kill(os.getpid(), missed)
            os.execv(sys.executable, [sys.executable, *argv])
        # Options such as -u are python's own; the fork's streams are what they are.
        program = next(place for place, argument in enumerate(argv) if not argument.startswith("-"))
        header = {"argv": argv[program:], "environ": dict(os.environ), "cwd": os.getcwd()}
        message = json.dumps(header).encode() + b"\n"
        sent = socket.send_fds(connection, [message], [0, 1, 2])
        connection.sendall(message[sent:])
        answers = connection.makefile("rb")
        pid = int(answers.readline() or 0)
        if not pid:
            return 1
        while early:
            pass_on(early.pop(0), None)
        return int(answers.readline() or 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
