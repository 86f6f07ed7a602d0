"""One way to write: whole or not at all, by the umask, never through a link; and no other way in the sources."""

from __future__ import annotations

import ast
import errno
import fcntl
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import leanthink
from leanthink.core.errors import DataError, WriteError
from leanthink.files import writing
from leanthink.files.writing import copy_file, is_bare, make_folder, open_lock, open_log, whole_file, whole_folder
from leanthink.files.writing import write_text as write

PACKAGE = Path(leanthink.__file__).parent


def test_the_old_content_stays_where_the_new_one_fails(tmp_path: Path) -> None:
    write(tmp_path / "a", "old")
    with pytest.raises(RuntimeError), whole_file(tmp_path / "a") as part:
        part.write_text("half of the ne")
        raise RuntimeError
    assert (tmp_path / "a").read_text() == "old" and os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails_is_told_in_one_paragraph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    write(tmp_path / "a", "old")

    def fails(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(writing.os, name, fails)
    with pytest.raises(WriteError, match=r"cannot write .*/a: .*; .*run the same command again") as caught:
        write(tmp_path / "a", "new")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "a").read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_files_are_made_by_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "folder" / "a", "x")
        open_log(tmp_path / "log").close()
        open_lock(tmp_path / "lock").close()
        with whole_folder(tmp_path / "whole") as part:
            write(part / "b", "x")
    finally:
        os.umask(before)
    for path in ("folder/a", "log", "lock", "whole/b"):
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o640
    for path in ("folder", "whole"):
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o750


def test_nothing_goes_through_a_link(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "folder").mkdir()
    for name, to in (("link", target), ("dangling", tmp_path / "none"), ("down", tmp_path / "folder")):
        (tmp_path / name).symlink_to(to)
        for act in (lambda path: write(path, "x"), lambda path: open_log(path), lambda path: open_lock(path)):
            with pytest.raises(WriteError, match=r"not written through|is a folder"):
                act(tmp_path / name)
        with pytest.raises(WriteError, match="not written through"), whole_folder(tmp_path / name):
            pass
    assert target.read_text() == "precious" and not (tmp_path / "none").exists()
    assert sorted(os.listdir(tmp_path)) == ["dangling", "down", "folder", "link", "precious"]


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WriteError, match="device or a pipe"):
        write(tmp_path / "pipe", "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    with pytest.raises(WriteError, match="device or a pipe"):
        write(Path(os.devnull), "x")
    with pytest.raises(WriteError, match="is a folder"):
        write(tmp_path, "x")


def test_a_lock_is_not_emptied_and_a_log_goes_on(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("kept")
    with open_lock(tmp_path / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert (tmp_path / "lock").read_text() == "kept"
    for text in (b"a", b"b"):
        with open_log(tmp_path / "log") as log:
            log.write(text)
    assert (tmp_path / "log").read_bytes() == b"ab"


def test_a_folder_comes_whole_and_replaces_none(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out") as part:
        write(part / "in" / "a", "x")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "in" / "a").read_text() == "x"
    with pytest.raises(WriteError, match="cannot write"), whole_folder(tmp_path / "out") as part:
        write(part / "b", "x")
    assert os.listdir(tmp_path) == ["out"]


KILLED = """
import sys, time
from pathlib import Path
from leanthink.files.writing import whole_file, whole_folder
with whole_file(Path(sys.argv[1]) / "a") as part, whole_folder(Path(sys.argv[1]) / "b"):
    part.write_text("half")
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(("age", "stays"), [(0.0, True), (60.0, False)])
def test_a_part_that_has_just_been_made_may_not_have_its_lock_yet(tmp_path: Path, age: float, stays: bool) -> None:
    part = tmp_path / ".a.01234567.part"
    part.write_text("half")
    os.utime(part, (time.time() - age,) * 2)
    write(tmp_path / "a", "mine")
    assert part.exists() is stays


def test_what_a_killed_process_left_goes_with_the_next_write_and_what_another_writes_stays(tmp_path: Path) -> None:
    line = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(writing.YOUNG)
        parts = sorted(os.listdir(tmp_path))
        assert len(parts) == 2 and is_bare(tmp_path)
        write(tmp_path / "a", "mine")  # while the other is still at it
        assert sorted(os.listdir(tmp_path)) == sorted([*parts, "a"])
        process.send_signal(signal.SIGKILL)
    with whole_folder(tmp_path / "b"):
        pass
    write(tmp_path / "a", "mine")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_killed_at_random_moments_a_file_is_old_or_new(tmp_path: Path) -> None:
    loop = """
import sys
from pathlib import Path
from leanthink.files.writing import whole_folder, write_text
folder, print_ = Path(sys.argv[1]), print
write_text(folder / "a", "0" * 100_000)
print("ready", flush=True)
for number in range(10**6):
    write_text(folder / "a", str(number % 10) * 100_000)
    with whole_folder(folder / f"b{number}") as part:
        for name in "xyz":
            write_text(part / name, name * 1000)
"""
    draw = random.Random(3)
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", loop, str(tmp_path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            time.sleep(draw.uniform(0, 0.05))
            process.kill()
        text = (tmp_path / "a").read_text()
        assert len(text) == 100_000 and len(set(text)) == 1
        for folder in tmp_path.glob("b*"):
            assert {path.name: len(path.read_text()) for path in folder.iterdir()} == dict.fromkeys("xyz", 1000)
            shutil.rmtree(folder)


def test_two_writers_end_with_one_of_both_whole(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as first, whole_file(tmp_path / "a") as second:
        first.write_text("1" * 10)
        second.write_text("2" * 10)
    assert (tmp_path / "a").read_text() == "1" * 10 and os.listdir(tmp_path) == ["a"]


def test_a_copy_is_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "link").symlink_to("a")
    copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "x"
    with pytest.raises(WriteError):
        copy_file(tmp_path / "a", tmp_path / "b")
    with pytest.raises(DataError, match="cannot read"):
        copy_file(tmp_path / "link", tmp_path / "c")
    make_folder(tmp_path / "d")
    with pytest.raises(DataError, match="Is a directory"):
        copy_file(tmp_path / "d", tmp_path / "c")


WRITES = {
    *("write_text", "write_bytes", "mkdir", "makedirs", "rename", "replace", "renames", "copyfile", "copytree", "move"),
    *("copy2", "save", "savez", "savefig", "write_table", "write_csv", "to_csv", "to_json", "to_parquet", "touch"),
    *("symlink_to", "hardlink_to", "link", "symlink", "mkstemp", "NamedTemporaryFile", "save_file", "save_pretrained"),
    *("mkfifo", "truncate"),
}
INSIDE = {  # given a part of `whole_file` or `whole_folder`, or methods that only share the name
    ("data/pairs.py", "write_text"),
    *(("merge/weights.py", name) for name in ("open", "truncate")),
    *(("testbed/build.py", name) for name in ("save", "save_pretrained")),
    *((f"reporting/{file}.py", "savefig") for file in ("pictures", "tables")),
    *((f"{file}.py", "save") for file in ("reporting/build", "reporting/replay_page", "sweep/schedule")),
    *((f"{file}.py", "save") for file in ("training/shaper", "verl/driver/checkpoint", "trl/mixin", "trl/function")),
    ("data/parquet.py", "write_table"),
    ("verl/start/train.py", "replace"),  # puts a file away, within `writing`
}


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every call that may write a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "open":
            name, mode = "open", node.args[1:2]
        elif isinstance(node.func, ast.Attribute):
            name, mode = node.func.attr, node.args[:1]
        else:
            continue
        mode = mode or [word.value for word in node.keywords if word.arg == "mode"]
        if name == "open":
            value = mode[0].value if mode and isinstance(mode[0], ast.Constant) else "r"
            if isinstance(value, str) and set(value) & set("wax+") and set(value) <= set("rwaxbt+"):
                yield node.lineno, name
        elif name == "replace" and (len(node.args) != 1 or node.keywords):
            continue  # of a text, or of fields
        elif name in WRITES:
            yield node.lineno, name


def test_every_place_that_writes_does_it_the_one_way() -> None:
    found = []
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for file in sorted(files):
            path = Path(folder) / file
            name = path.relative_to(PACKAGE).as_posix()
            if path.suffix == ".py" and name != "files/writing.py":
                found += [(f"{name}:{line}", call) for line, call in calls(path) if (name, call) not in INSIDE]
    assert not found, f"write these by leanthink.files.writing: {found}"


@pytest.mark.parametrize(
    "line",
    ["path.write_text('x')", "open('a', 'w')", "path.open('ab')", "path.open(mode='x')", "os.rename('a', 'b')",
     "os.replace('a', 'b') or part.replace(path)", "shutil.copytree('a', 'b')", "path.mkdir()"],
)  # fmt: skip
def test_the_search_finds_other_ways(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.py").write_text(line)
    assert list(calls(tmp_path / "a.py"))
