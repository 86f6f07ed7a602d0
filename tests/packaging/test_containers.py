"""The Dockerfiles: linted where hadolint is, and held against the project; no Docker has built them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ["Dockerfile", "Dockerfile.gpu"]


def instructions(file: str) -> list[tuple[str, str]]:
    """Each instruction with its argument, continued lines together, comments left out."""
    lines = [line for line in (ROOT / file).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    return [
        (word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in whole.splitlines() if line)
    ]


@pytest.mark.parametrize("file", FILES)
def test_hadolint_has_nothing_to_say(file: str) -> None:
    hadolint = shutil.which("hadolint", path=sysconfig.get_path("scripts"))
    if hadolint is None:
        pytest.skip("hadolint is not installed: make setup brings it")
    done = subprocess.run([hadolint, str(ROOT / file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES)
def test_it_installs_extras_that_there_are_and_starts_the_program(file: str) -> None:
    found = instructions(file)
    (run,) = (rest for word, rest in found if word == "RUN")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", run)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert dict(found)["ENTRYPOINT"] == '["leanthink"]' and "leanthink" in project["scripts"]
    words = [word for word, _ in found]
    assert words.index("COPY") < words.index("RUN") < words.index("ENTRYPOINT")


def test_the_cpu_image_has_a_torch_that_fits_and_no_root() -> None:
    found = instructions("Dockerfile")
    (run,) = (rest for word, rest in found if word == "RUN")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert re.search(r"'(torch[^']+)' --index-url \S+/cpu", run).group(1) in project["dependencies"]
    assert "--constraint constraints.txt" in run and run.index("torch") < run.index("'.[")
    assert dict(found)["USER"] == "1000"
    assert dict(found)["FROM"].startswith("python:3.11-")


def test_what_is_copied_holds_what_is_installed() -> None:
    ignored = set((ROOT / ".dockerignore").read_text(encoding="utf-8").split())
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "constraints.txt",
        "src",
        "rewards",
        "algorithms",
        "recipes",
    ):
        assert (ROOT / name).exists() and name not in ignored
    assert {".git", ".venv", "runs"} <= ignored
