"""The git commit of a folder, read so that nothing that the repository's own configuration names is run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from leanthink.files.writing import make_folder, write_text

PLACES: Final = ("--show-toplevel", "--show-object-format", "HEAD", "--git-path", "index", "--git-path", "objects")
"""What `git rev-parse` tells: it reads the configuration, and runs nothing of it."""


def commit_of(folder: Path) -> str:
    """The git commit of a folder, with ``+`` where files differ from it; empty outside of a repository.

    `git status` runs what a repository's configuration names: its monitor of files, filters, hooks, and programs that
    fetch what is missing. So it is asked from a folder of git's that is made here, with a configuration of our own,
    which borrows the repository's index and objects.
    """
    try:
        told = _git(["rev-parse", "--path-format=absolute", *PLACES], folder, os.environ)
        tree, form, head, index, objects = told.splitlines()
        with TemporaryDirectory(prefix="leanthink-") as own:
            make_folder(Path(own) / "refs")
            write_text(Path(own) / "HEAD", f"{head}\n")
            kind = f"[core]\nrepositoryformatversion = 1\nbare = false\n[extensions]\nobjectFormat = {form}\n"
            write_text(Path(own) / "config", kind)
            places = {"GIT_DIR": own, "GIT_WORK_TREE": tree, "GIT_INDEX_FILE": index, "GIT_OBJECT_DIRECTORY": objects}
            status = ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty"]
            words = ["--no-optional-locks", "-c", "core.fsmonitor=false", *status]
            changed = _git(words, folder, {**os.environ, **places})
    except (OSError, ValueError, subprocess.SubprocessError):  # not what was asked for is a ValueError
        return ""
    return head + ("+" if changed.strip() else "")


def _git(words: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        ["git", *words], cwd=folder, env=dict(environment), capture_output=True, check=True, timeout=30
    )
    return os.fsdecode(done.stdout)
