"""What stands around the code: citation, forms, workflows, links, and the release check itself."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from leanthink import __version__

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCHEMAS = {
    "CITATION.cff": "vendor.citation-file-format",
    ".github/dependabot.yml": "vendor.dependabot",
    ".github/ISSUE_TEMPLATE/config.yml": "vendor.github-issue-config",
    ".github/ISSUE_TEMPLATE/fault.yml": "vendor.github-issue-forms",
    ".github/ISSUE_TEMPLATE/method.yml": "vendor.github-issue-forms",
    **{str(path.relative_to(ROOT)): "vendor.github-workflows" for path in WORKFLOWS},
}


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(name: str) -> str:
    """A program of this environment; without it the test has nothing to say."""
    found = shutil.which(name, path=sysconfig.get_path("scripts"))
    if found is None:
        pytest.skip(f"{name} is not installed: make setup brings it")
    return found


@pytest.mark.parametrize("file", SCHEMAS)
def test_files_that_others_read_fit_their_schema(file: str) -> None:
    command = [program("check-jsonschema"), "--builtin-schema", SCHEMAS[file], str(ROOT / file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_workflow_does_not(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text(encoding="utf-8").replace("runs-on", "run-on"), encoding="utf-8")
    command = [program("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", str(broken)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_workflows_run_what_people_run() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    seen = set()
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
            assert job["timeout-minutes"]
            for command in filter(None, (step.get("run") for step in job["steps"])):
                words = command.split()
                seen.add(command)
                assert words[0] != "make" or words[1] in targets, f"{path.name}: make has no {words[1]}"
                assert words[0] in ("make", "bash", "git"), f"{path.name}: {command} is written nowhere else"
    assert {"bash .ci/run", "make docs"} <= seen and any("release-check" in one for one in seen)


def test_only_the_jobs_that_publish_may_sign() -> None:
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        signing = {name for name, job in workflow["jobs"].items() if "id-token" in job.get("permissions", {})}
        assert signing <= {"publish"} and "secrets." not in path.read_text(encoding="utf-8")


def test_links_within_the_checkout_lead_somewhere() -> None:
    links = tool("links")
    files = links.pages(ROOT)
    assert ROOT / "README.md" in files and len(files) > 10
    assert list(links.broken(ROOT, files)) == []


def test_broken_links_are_named(tmp_path: Path) -> None:
    links = tool("links")
    page = tmp_path / "a.md"
    page.write_text(
        "# One `x`\n[good](#one-x) [again](b.md#two-1) [away](https://x.org/none.md#a) `[code](none)`\n"
        "```\n[fenced](none.md)\n```\n[no file](c.md) [no heading](b.md#three) [out](../../etc/passwd)\n",
        encoding="utf-8",
    )
    (tmp_path / "b.md").write_text("## Two\n\n## Two\n", encoding="utf-8")
    told = list(links.broken(tmp_path, [page]))
    assert told[:2] == ["a.md, line 6: c.md: no such file", "a.md, line 6: b.md#three: b.md has no heading three"]
    assert len(told) == 3 and "passwd" in told[2]


def test_the_version_is_the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    check = tool("release_check")
    assert check.version() == check.check_versions(None) == __version__
    with pytest.raises(check.CheckError, match=f"the tag is v9, the version {re.escape(__version__)}"):
        check.check_versions("v9")
    monkeypatch.setattr(check, "version", lambda: "9.9.9")
    with pytest.raises(check.CheckError, match=r"CHANGELOG\.md has no line"):
        check.check_versions(None)


def test_a_wheel_that_lacks_or_adds_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = tool("release_check")
    wanted = check.expected(ROOT)
    assert {
        "leanthink/cli.py",
        "leanthink/rewards/correct.py",
        "leanthink/recipes/trle.yaml",
        "leanthink/py.typed",
    } <= wanted
    assert not any(name in wanted for name in ("leanthink/rewards", "leanthink/recipes"))
    monkeypatch.setattr(check, "DIST", tmp_path)
    monkeypatch.setattr(check, "expected", lambda clone: {"leanthink/a.py", "leanthink/b.py"})
    with tarfile.open(tmp_path / "leanthink-1.tar.gz", "w:gz") as sdist:
        for name in ("a.py", "b.py"):
            (tmp_path / name).write_text("")
            sdist.add(tmp_path / name, f"leanthink-1/src/leanthink/{name}")
    wheel = tmp_path / "leanthink-1.whl"
    for names, told in (
        (["a.py"], "missing: leanthink/b.py"),
        (["a.py", "b.py", "../tests/x.py"], "beside the package"),
    ):
        with zipfile.ZipFile(wheel, "w") as archive:
            for name in names:
                archive.writestr(f"leanthink/{name}" if ".." not in name else "tests/x.py", "")
        with pytest.raises(check.CheckError, match=re.escape(told)):
            check.check_contents(None)
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("leanthink/a.py", "leanthink/b.py", f"leanthink-{__version__}.dist-info/RECORD"):
            archive.writestr(name, "")
    assert check.check_contents(None) == "2 files of the package in both"


def test_steps_are_taken_in_order_and_a_failure_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check = tool("release_check")
    taken: list[str] = []

    def step(name: str):
        def take(tag: str | None) -> str:
            taken.append(name)
            if name == "links":
                raise check.CheckError("a.md, line 1: c.md: no such file")
            return f"{name} {tag}"

        return take

    monkeypatch.setattr(check, "STEPS", {name: step(name) for name in check.STEPS})
    assert check.main(["--skip", "installs", "--tag", "v1"]) == 1
    out = capsys.readouterr().out
    assert taken == [name for name in check.STEPS if name != "installs"]
    assert (
        re.search(r"links +FAILED .* a\.md, line 1", out) and re.search(r"installs +skipped", out) and "build v1" in out
    )
    taken.clear()
    assert check.main(["--only", "tree", "twine"]) == 0 and taken == ["tree", "twine"]
