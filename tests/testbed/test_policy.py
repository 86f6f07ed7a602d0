from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from leanthink.core.errors import DataError
from leanthink.testbed import policy_path, verify_policy
from leanthink.testbed.evaluate import evaluate
from leanthink.testbed.evaluate import main as evaluate_main
from leanthink.testbed.task import Task, questions


def test_the_manifest_matches_the_shipped_files_and_the_task() -> None:
    folder = policy_path()
    manifest = verify_policy(folder)
    shipped = {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert set(manifest["sha256"]) == shipped
    assert manifest["task"] == {name: getattr(Task(), name) for name in manifest["task"]}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5_000_000
    assert "leanthink.testbed.build" in manifest["command"]


def test_the_manifest_says_what_the_testbed_promises() -> None:
    manifest = verify_policy(policy_path())
    free, banned = manifest["free"], manifest["wait_banned"]
    assert manifest["held_out"]["questions"] >= 512
    assert 0.6 <= free["overall"]["accuracy"] <= 0.9
    assert free["overall"]["recheck_share"] >= 0.4
    assert free["overall"]["truncation_rate"] < 0.01
    for short in ("2", "3"):
        assert banned["by_difficulty"][short]["accuracy"] > free["by_difficulty"][short]["accuracy"] - 0.03
    for long in ("5", "6"):
        assert banned["by_difficulty"][long]["accuracy"] < free["by_difficulty"][long]["accuracy"] - 0.3


def test_the_shipped_policy_does_what_its_manifest_says(policy: Any, tokenizer: Any) -> None:
    items = list(questions("test", 200, 5))
    free = evaluate(policy, tokenizer, items=items)
    assert 0.6 <= free.overall.accuracy <= 0.9
    assert free.overall.recheck_share >= 0.4
    assert free.overall.count == 200 and {f.count for f in free.by_difficulty.values()} == {40}
    stated = verify_policy(policy_path())["free"]["overall"]
    assert abs(free.overall.accuracy - stated["accuracy"]) < 4 * free.overall.accuracy_error
    assert abs(free.overall.mean_tokens - stated["mean_tokens"]) < 4 * free.overall.mean_tokens_error
    banned = evaluate(policy, tokenizer, items=items, ban_wait=True)
    assert banned.overall.recheck_share == 0
    assert banned.by_difficulty[2].accuracy > 0.85
    assert banned.by_difficulty[6].accuracy < free.by_difficulty[6].accuracy - 0.2
    assert len(free.table().splitlines()) == 7


def test_evaluation_is_seeded(policy: Any, tokenizer: Any) -> None:
    items = list(questions("test", 10, 5))
    assert evaluate(policy, tokenizer, items=items, seed=1) == evaluate(policy, tokenizer, items=items, seed=1)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(policy_path(), tmp_path / "policy"))


def test_a_damaged_policy_is_refused(copy: Path) -> None:
    verify_policy(copy)
    config = copy / "config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(DataError, match=r"config\.json has sha256 .* python -m leanthink\.testbed\.build"):
        verify_policy(copy)
    config.unlink()
    with pytest.raises(DataError, match=r"config\.json cannot be read"):
        verify_policy(copy)


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", "[" * 100_000])
def test_a_policy_without_a_manifest_is_refused(copy: Path, text: str | None) -> None:
    (copy / "manifest.json").unlink()
    if text is not None:
        (copy / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json"):
        verify_policy(copy)


def test_the_command_prints_tables_and_json(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leanthink.testbed.evaluate.TEST_ROWS", 10)
    evaluate_main(["--policy", str(copy)])
    assert "wait banned" in capsys.readouterr().out
    evaluate_main(["--json"])
    assert json.loads(capsys.readouterr().out)["free"]["overall"]["count"] == 10


def test_importing_the_testbed_is_light() -> None:
    code = (
        "import sys, leanthink.testbed, leanthink.testbed.rows;"
        "print([name for name in ('transformers', 'verl', 'ray') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
