"""Model folders of others, as transformers reads them: damaged ones are told, and no program in one is run."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from leanthink.core.errors import ConfigError
from leanthink.data.records import read_records
from leanthink.data.rollouts import read_rollouts
from leanthink.files.models import config_of, tokenizer_of
from leanthink.testbed import policy_path
from leanthink.training.responses import end_ids
from leanthink.verl.rollout.room import model_context
from model_folders import save_program

DEEP = "[" * 100_000


def damaged(folder: Path, **files: Any) -> Path:
    """The testbed's policy with other files, as objects or as text; by name without ending."""
    shutil.copytree(policy_path(), folder)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


TOKENIZER = json.loads((policy_path() / "tokenizer.json").read_text())
DAMAGED = {
    "settings that are a list": {"tokenizer_config": []},
    "a class that is a number": {"tokenizer_config": {"tokenizer_class": 5}},
    "a vocabulary that is a number": {"tokenizer": {**TOKENIZER, "model": {**TOKENIZER["model"], "vocab": 5}}},
    "a model of no kind": {"tokenizer": {"model": {"type": "BPE", "vocab": [], "merges": []}}},
    "an empty tokenizer": {"tokenizer": {}},
    "settings too deep": {"tokenizer_config": DEEP},
    "half a file": {"tokenizer": '{"ver'},
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_tokenizer_is_told(tmp_path: Path, kind: str) -> None:
    folder = damaged(tmp_path / "m", **DAMAGED[kind])
    (tmp_path / "r.jsonl").write_text('{"group": "a", "response": "1 + 2", "correct": 1}\n')
    with pytest.raises(ConfigError) as caught:
        read_rollouts(read_records(tmp_path / "r.jsonl"), tokenizer=str(folder))
    told = str(caught.value)
    kind_of_error = type(caught.value.__cause__).__name__
    assert told.startswith(f"--tokenizer {folder}: no tokenizer there that can be read ({kind_of_error}: ")
    assert "\n" not in told and "give a folder that holds tokenizer.json" in told and len(told) < 700


def test_a_tokenizer_that_breaks_when_it_is_used_is_told(tmp_path: Path) -> None:
    settings = json.loads((policy_path() / "tokenizer_config.json").read_text())
    folder = damaged(tmp_path / "m", tokenizer_config={**settings, "model_max_length": "x"})
    (tmp_path / "r.jsonl").write_text('{"group": "a", "response": "1 + 2", "correct": 1}\n')
    with pytest.raises(ConfigError, match=r"--tokenizer .*m: no tokenizer there that can be read \(TypeError: '>'"):
        read_rollouts(read_records(tmp_path / "r.jsonl"), tokenizer=str(folder))


@pytest.mark.parametrize(
    "content", ["[]", "5", DEEP, '{"model_type": 5}', '{"model_type": "qwen2", "hidden_size": "x"}']
)
def test_a_damaged_configuration_is_told(tmp_path: Path, content: str) -> None:
    folder = damaged(tmp_path / "m", config=content)
    with pytest.raises(ConfigError, match=r"^model .*m: no configuration there that can be read \(\w+"):
        model_context(str(folder))


def test_a_context_that_is_no_number_is_told(tmp_path: Path) -> None:
    folder = damaged(tmp_path / "m", config={"model_type": "bloom", "max_position_embeddings": [1]})
    with pytest.raises(ConfigError, match=r"no context there that can be read \(TypeError.*has to be a whole number"):
        model_context(str(folder))


def test_a_program_of_the_model_is_run_for_who_trusts_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_program(tmp_path / "m")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody is asked whether to run it"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "copies"))
    monkeypatch.setattr("sys.path", [*sys.path])
    for read, what in ((tokenizer_of, "tokenizer"), (config_of, "configuration")):
        with pytest.raises(ConfigError, match=rf"here: no {what} there .*contains custom code"):
            read(str(folder), "here")
    with pytest.raises(ConfigError, match="contains custom code"):
        model_context(str(folder))
    assert end_ids(str(folder), 1) == {1, 4}
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ConfigError):  # what is run is no tokenizer
        tokenizer_of(str(folder), "here", trust_remote_code=True)
    assert (tmp_path / "ran").exists()
