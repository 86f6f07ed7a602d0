"""Damaged files of every kind are read, or refused by an error of ours; `make fuzz` tries many more."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzzing import SEEDS, faults


@pytest.mark.parametrize("kind", SEEDS)
def test_a_damaged_file_is_told(tmp_path: Path, kind: str) -> None:
    slow = kind in ("metrics", "validation", "summary", "tokenizer")
    assert list(faults(tmp_path, kind, 60 if slow else 500, 1))[:5] == []
