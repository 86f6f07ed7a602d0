"""Writing files: whole or not at all, by the user's umask, never through a link.

What is written lies beside its place under a hidden name of its own, ``.NAME.XXXXXXXX.part``, until it is whole and on
the disk; then it takes its name in one step. Whoever writes holds a lock on the part, so that what a killed process
left is told from what another one is writing, and is removed by the next.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from leanthink.core.errors import DataError, StateError, WriteError

YOUNG: Final = 1.0
"""Seconds in which a part may not have its lock yet."""

_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

CURES: Final = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some of your quota there",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.EACCES: "you may not write there; choose another folder",
    errno.EPERM: "you may not write there; choose another folder",
    errno.EIO: "the disk fails; choose another one",
    errno.ELOOP: "it is a link, which is not written through; remove it",
    errno.EEXIST: "something else has that name; choose another, or remove it",
    errno.ENOTDIR: "part of its path is a file; choose another folder",
    errno.EISDIR: "it is a folder; give another name",
    errno.ENODEV: "it is a device or a pipe; give a file",
    errno.ENAMETOOLONG: "give a shorter name",
}
"""What helps, by the system's number of the error."""


def write_error(path: Path | str, error: OSError) -> WriteError:
    """What went wrong when writing, and what helps, as one paragraph."""
    cure = CURES.get(error.errno or 0, "check the folder and the space on its disk")
    return WriteError(f"cannot write {path}: {error.strerror or error}; {cure}, and run the same command again")


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Have a failure of the file system within told as one paragraph about ``path``.

    Raises:
        WriteError: the file system failed.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise write_error(path, error) from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A new, empty file to write to, which takes the place of ``path`` when the block ends without an error.

    Whoever writes into it closes it before the block ends.

    Raises:
        WriteError: it cannot be written; what was there before still is.
    """
    with writing(path):
        _refuse_what_is_no_file(path)
        make_folder(path.parent)
        _sweep(path)
        part = _part(path)
        descriptor = os.open(part, os.O_RDWR | _NEW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield part
            os.fsync(descriptor)
            os.replace(part, path)
            _sync_folder(path.parent)
        finally:
            with suppress(OSError):
                part.unlink()
            os.close(descriptor)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the name ``path`` when the block ends without an error.

    Raises:
        WriteError: it cannot be written, or there is something at ``path``, an empty folder aside.
    """
    with writing(path):
        if path.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        make_folder(path.parent)
        _sweep(path)
        part = _part(path)
        part.mkdir()
        descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield part
            for folder, _, names in os.walk(part):
                for name in names:
                    _sync(Path(folder) / name)
            os.rename(part, path)
            _sync_folder(path.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file, so that a reader sees the old content or the new one.

    Raises:
        WriteError: it cannot be written; the old content is still there.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """As `write_text`, for bytes."""
    with whole_file(path) as part, part.open("r+b") as file:
        file.write(content)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content; nothing is at ``target`` yet.

    Raises:
        DataError: ``source`` is a link, or no file.
        WriteError: the copy cannot be written.
    """
    try:
        opened = os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}; check the path and its permissions") from error
    with opened, writing(target):
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise DataError(f"{source} is no file; put the file there, or remove it")
        with os.fdopen(os.open(target, os.O_WRONLY | _NEW, 0o666), "wb") as file:
            shutil.copyfileobj(opened, file)


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        WriteError: it cannot be made.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def open_log(path: Path) -> IO[bytes]:
    """A file to append to; never through a link.

    Raises:
        WriteError: it cannot be written.
    """
    with writing(path):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(path, flags, 0o666), "ab")


def open_lock(path: Path) -> IO[Any]:
    """A file to lock, made where there is none, left as it is where there is one; never through a link.

    Raises:
        WriteError: it cannot be made.
    """
    with writing(path):
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "r+")


def hold(lock: IO[Any], held: str) -> None:
    """Hold a file that `open_lock` gave, as long as it, or a descriptor that a child has of it, is open.

    Raises:
        StateError: somebody else holds it; the text says what that means.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateError(held) from None


def _refuse_what_is_no_file(path: Path) -> None:
    """Refuse to take the place of a link, a device, a pipe or a folder."""
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            code = errno.ELOOP if stat.S_ISLNK(mode) else errno.EISDIR if stat.S_ISDIR(mode) else errno.ENODEV
            raise OSError(code, os.strerror(code), str(path))


def is_bare(folder: Path, *expected: str) -> bool:
    """Whether a folder holds nothing but what is expected, and what killed processes left unfinished."""
    return all(
        entry.name in expected or (entry.name.startswith(".") and entry.name.endswith(".part"))
        for entry in folder.iterdir()
    )


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex[:8]}.part")


def _sweep(path: Path) -> None:
    """Remove what killed processes left of the same output."""
    start = f".{path.name[:200]}."
    with suppress(OSError):
        for entry in os.scandir(path.parent):
            if len(entry.name) == len(start) + 13 and entry.name.startswith(start) and entry.name.endswith(".part"):
                _remove_abandoned(Path(entry.path))


def _remove_abandoned(part: Path) -> None:
    with suppress(OSError):  # a lock that another process holds is one
        descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(descriptor).st_mtime < YOUNG:
                return
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink()
        finally:
            os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    """Have the name on the disk as well; some file systems cannot, and keep it anyway."""
    with suppress(OSError):
        _sync(path)
