"""What a check of the recipes records is what the table of evidence reads."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pages import ROOT


def loaded(path: str, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHECK = loaded("benchmarks/check_recipes.py", "check_recipes")
if str(ROOT / "docs") not in sys.path:
    sys.path.insert(0, str(ROOT / "docs"))
from site_pages import evidence  # noqa: E402 - beside docs/build.py

VERSIONS = {"leanthink": "0.1.0", "verl": "0.9.1", "torch": "2.13.0", "vllm": "0.27.1"}


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ("tiny", "3 steps; leanthink 0.1.0, verl 0.9.1, tiny, torch 2.13.0"),
        ("vllm", "3 steps; leanthink 0.1.0, verl 0.9.1, vllm 0.27.1"),
    ],
)
def test_a_record_is_read_as_it_was_written(tmp_path: Path, engine: str, told: str) -> None:
    path = tmp_path / "evidence.yaml"
    path.write_text(
        "# What has been run.\n# Of each.\n" + "trle:\n  gpu: {steps: 9, leanthink: a, verl: b, engine: c}\n"
    )
    column = CHECK.COLUMNS[engine]
    CHECK.record("dler", column, CHECK.facts_of(VERSIONS, 3, engine), path)
    CHECK.record("dler", column, CHECK.facts_of(VERSIONS, 3, engine), path)  # again: the newest run stands
    found = evidence.records(path)
    assert list(found) == ["dler", "trle"] and list(found["dler"]) == [column]
    assert evidence.told(found["dler"][column]) == told
    assert evidence.told(found["trle"]["gpu"]) == "9 steps; leanthink a, verl b, c"
    assert path.read_text(encoding="utf-8").startswith("# What has been run.\n# Of each.\ndler:\n  ")


def test_the_shipped_records_are_in_the_form_that_is_written(tmp_path: Path) -> None:
    shipped = evidence.RECORDS.read_text(encoding="utf-8")
    path = tmp_path / "evidence.yaml"
    path.write_text(shipped, encoding="utf-8")
    name, columns = next(iter(evidence.records().items()))
    column, facts = next(iter(columns.items()))
    CHECK.record(name, column, facts, path)
    assert path.read_text(encoding="utf-8") == shipped
