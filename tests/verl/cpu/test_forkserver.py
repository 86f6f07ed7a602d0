from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from leanthink.verl.cpu import forkclient, forkserver

TRAINER = """
import sys
from leanthink.verl.cpu import forkserver
forkserver.PRELOAD = ("json", "no_such_library")
print(forkserver.start(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def trainer():
    """A process that started a server, and the command it was given."""
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process, process.stdout.readline().strip()
    process.stdin.close()
    process.stdout.close()
    process.wait(timeout=20)


def run(command: str, program: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        f"exec {command} -u {program} {' '.join(arguments)}",
        shell=True,
        executable="/bin/bash",
        env={**os.environ, **environment},
        input="typed",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_another_user_reaches_no_server(trainer) -> None:
    path = Path(trainer[1].split()[-1])
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    if os.getuid() == 0 and shutil.which("setpriv"):
        other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})"
        done = subprocess.run([*other, "/usr/bin/python3", "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode != 0


def test_only_the_same_user_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert forkserver._of_this_user(ours)
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        assert not forkserver._of_this_user(ours)


def write(path: Path, code: str) -> Path:
    path.write_text(textwrap.dedent(code))
    return path


def test_a_fork_is_the_program_that_was_asked_for(trainer, tmp_path: Path) -> None:
    program = write(
        tmp_path / "program.py",
        """
        import atexit, os, sys
        atexit.register(print, "left")
        print(__name__, sys.argv[1:], os.environ["LETTER"], sys.path[0], sys.stdin.read(), os.getcwd())
        print("warned", file=sys.stderr)
        sys.exit(7)
        """,
    )
    done = run(trainer[1], program, "a", "--b", LETTER="x")
    said, left = done.stdout.splitlines()
    assert said == f"__main__ ['a', '--b'] x {tmp_path} typed {os.getcwd()}"
    assert (left, done.stderr, done.returncode) == ("left", "warned\n", 7)


def test_forks_know_what_the_server_imported_and_draw_their_own_numbers(trainer, tmp_path: Path) -> None:
    program = write(
        tmp_path / "program.py",
        """
        import os, random, sys
        print("leanthink.verl.cpu.forkserver" in sys.modules, "ray" in sys.modules, "LETTER" in os.environ)
        print(random.random())
        """,
    )
    first, second = (run(trainer[1], program).stdout.splitlines() for _ in range(2))
    assert first[0] == second[0] == "True False False"
    assert first[1] != second[1]


def test_a_failing_program_fails(trainer, tmp_path: Path) -> None:
    done = run(trainer[1], write(tmp_path / "program.py", "raise RuntimeError('broken')"))
    assert done.returncode == 1
    assert "RuntimeError: broken" in done.stderr


def test_a_signal_reaches_the_fork(trainer, tmp_path: Path) -> None:
    program = write(
        tmp_path / "program.py",
        """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
        print("ready", flush=True)
        time.sleep(60)
        """,
    )
    process = subprocess.Popen(
        f"exec {trainer[1]} {program}", shell=True, executable="/bin/bash", stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 5


def test_a_signal_before_the_fork_is_there_reaches_it_too(tmp_path: Path) -> None:
    """The client is held where it has asked and knows no process yet: a server of our own answers when we like."""
    path, before = str(tmp_path / "fork"), signal.getsignal(signal.SIGUSR1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(1)
        command = [sys.executable, "-I", "-S", forkclient.__file__, path, "program.py"]
        client = subprocess.Popen(command)
        connection, _ = listener.accept()
        with connection, client:
            assert connection.recv(1 << 20)  # it has asked, so its handlers stand
            fork = subprocess.Popen(
                [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(600)"], stdout=-1
            )
            with fork:
                assert fork.stdout is not None and fork.stdout.readline() == b"1\n"
                client.send_signal(signal.SIGTERM)
                with pytest.raises(subprocess.TimeoutExpired):
                    client.wait(1)  # it waits for somebody to pass it on to
                connection.sendall(b"%d\n" % fork.pid)
                assert fork.wait() == -signal.SIGTERM
                connection.sendall(b"7\n")
                assert client.wait() == 7
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_killed_fork_ends_its_client(trainer, tmp_path: Path) -> None:
    done = run(trainer[1], write(tmp_path / "program.py", "import os; os.kill(os.getpid(), 9)"))
    assert done.returncode == 1


def test_the_server_ends_with_its_trainer_and_python_is_itself_again(trainer, tmp_path: Path) -> None:
    process, command = trainer
    folder = Path(command.split()[-1]).parent
    assert folder.is_dir()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()
    done = run(command, write(tmp_path / "program.py", "import sys; print(sys.argv[1:]); sys.exit(3)"), "a")
    assert (done.stdout, done.returncode) == ("['a']\n", 3)


def test_it_is_refused_once_ray_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forkserver, "PRELOAD", ())
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(forkserver.ForkServerError, match=r"Ray is imported.*LEANTHINK_FORK=0"):
        forkserver.start()


def test_what_it_imports_is_not_ray() -> None:
    code = (
        "import sys, importlib, contextlib\n"
        "from leanthink.verl.cpu.forkserver import PRELOAD\n"
        "for name in PRELOAD:\n"
        "    with contextlib.suppress(ImportError): importlib.import_module(name)\n"
        "assert not {'ray', 'verl'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_the_client_needs_the_standard_library_only(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", forkclient.__file__, str(tmp_path / "nothing"), "-c", "print('python')"]
    assert subprocess.run(command, capture_output=True, check=True, timeout=60).stdout == b"python\n"
