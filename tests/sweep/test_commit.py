"""The commit that a run is noted with, and that a repository of somebody else runs nothing while it is read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from leanthink.sweep.commit import commit_of


def git(folder: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@y", *words], cwd=folder, check=True, capture_output=True
    )


def repository(folder: Path, *options: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text("a")
    for words in (["init", "-q", *options], ["add", "file"], ["commit", "-qm", "x"]):
        git(folder, *words)
    return folder


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_the_commit_says_whether_files_differ(tmp_path, form):
    assert commit_of(tmp_path) == ""
    repository(tmp_path, f"--object-format={form}")
    clean = commit_of(tmp_path)
    assert len(clean) == {"sha1": 40, "sha256": 64}[form]
    (tmp_path / "below").mkdir()
    (tmp_path / "new").write_text("not git's")
    assert commit_of(tmp_path / "below") == clean
    os.utime(tmp_path / "file", (1, 1))  # another time, the same content
    assert commit_of(tmp_path) == clean
    (tmp_path / "file").write_text("b")
    assert commit_of(tmp_path) == commit_of(tmp_path / "below") == clean + "+"
    git(tmp_path, "add", "file")
    assert commit_of(tmp_path) == clean + "+"


def test_a_second_tree_of_a_repository_has_a_commit_of_its_own(tmp_path):
    first = repository(tmp_path / "first")
    git(first, "worktree", "add", "-q", str(tmp_path / "second"))
    (tmp_path / "second" / "file").write_text("b")
    git(tmp_path / "second", "commit", "-qam", "y")
    assert "" != commit_of(first) != commit_of(tmp_path / "second") != ""
    (first / "file").write_text("c")
    assert commit_of(first).endswith("+") and not commit_of(tmp_path / "second").endswith("+")


def test_nothing_that_a_repository_names_is_run(tmp_path):
    """Its monitor, filters, hooks, and what fetches objects that are not there; git itself would run them."""
    work = repository(tmp_path / "work")
    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho run >> '{ran}'\nexec cat\n")
    program.chmod(0o755)
    clean = commit_of(work)
    (work / ".gitattributes").write_text("* filter=mine diff=mine\n")
    for key in ("core.fsmonitor", "filter.mine.clean", "filter.mine.smudge", "diff.mine.textconv", "core.sshCommand"):
        git(work, "config", key, str(program))
    for hook in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (work / ".git" / "hooks" / hook).write_bytes(program.read_bytes())
        (work / ".git" / "hooks" / hook).chmod(0o755)
    os.utime(work / "file", (1, 1))
    assert commit_of(work) == clean and not ran.exists()
    git(work, "status")
    assert ran.exists()  # it would have been

    ran.unlink()
    for key, value in (
        ("remote.far.url", "ssh://far/x"),
        ("remote.far.promisor", "true"),
        ("extensions.partialClone", "far"),
    ):
        git(work, "config", key, value)
    ran.unlink(missing_ok=True)
    for path in (work / ".git" / "objects").glob("??/*"):  # the tree of the commit is among them
        path.unlink()
    assert commit_of(work) in ("", clean)
    assert not ran.exists()
