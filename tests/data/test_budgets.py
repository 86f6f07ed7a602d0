"""Token budgets of prompts, arXiv 2503.04697."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from leanthink.cli import main
from leanthink.core.errors import ConfigError
from leanthink.data.budgets import LEVELS, Budgets, Levels, with_lengths
from leanthink.data.prepare import Prepared, prepare
from leanthink.data.questions import Settings
from leanthink.data.records import Record

BOXED = "Please reason step by step, and put your final answer within \\boxed{}."


def prepared(count: int = 400, **settings: Any) -> Prepared:
    records = [
        Record(fields={"question": f"What is {n} + 1?", "answer": n + 1, "budget": 7}, file=Path("d.jsonl"), line=n + 1)
        for n in range(count)
    ]
    return prepare(records, Settings(data_source="sums", **settings))


def rows_of(kind: str, count: int = 400, **settings: Any) -> list[dict[str, Any]]:
    result = with_lengths(prepared(count), Budgets(kind=kind, **settings))  # type: ignore[arg-type]
    return [dict(row) for rows in result.rows.values() for row in rows]


def budgets_of(rows: list[dict[str, Any]]) -> dict[str, int]:
    return {row["prompt"][0]["content"].partition("?")[0]: row["extra_info"]["budget"] for row in rows}


@pytest.mark.parametrize(
    ("kind", "sentence"), [("exact", "Think for {} tokens."), ("max", "Think for maximum {} tokens.")]
)
def test_the_prompt_ends_with_its_budget(kind: str, sentence: str) -> None:
    for row in rows_of(kind, 20):
        content, info = row["prompt"][-1]["content"], row["extra_info"]
        assert content.endswith(f"?\n\n{BOXED} {sentence.format(info['budget'])}")
        assert info["at_most"] == (kind == "max") and isinstance(info["budget"], int)


def test_budgets_are_uniform_and_of_both_kinds() -> None:
    rows = rows_of("both", 4000, low=1, high=4)
    budgets = [row["extra_info"]["budget"] for row in rows]
    for budget in (1, 2, 3, 4):  # both ends included; 5 standard deviations
        assert abs(budgets.count(budget) - 1000) < 137
    for budget in (1, 4):  # the kind is drawn independently of the size
        kinds = [row["extra_info"]["at_most"] for row in rows if row["extra_info"]["budget"] == budget]
        assert 0.42 < sum(kinds) / len(kinds) < 0.58
    assert all(("maximum" in row["prompt"][0]["content"]) == row["extra_info"]["at_most"] for row in rows)
    default = budgets_of(rows_of("exact", 4000)).values()
    assert 100 <= min(default) < 110 and 3990 < max(default) <= 4000


def test_a_prompt_keeps_its_budget_whatever_stands_around_it() -> None:
    few, many = budgets_of(rows_of("exact", 50)), budgets_of(rows_of("max", 400))
    assert few == {question: many[question] for question in few}
    other = budgets_of(rows_of("exact", 50, seed=1))
    assert sum(few[question] == other[question] for question in few) < 5


def test_the_budgets_are_the_same_for_all_time() -> None:
    """Written down once: another value would give data that were prepared again other budgets."""
    budgets = Budgets(kind="both")
    columns = [budgets.columns(f"What is {n} + 1?") for n in range(3)]
    assert [tuple(of_one.values()) for of_one in columns] == [(3022, 0), (3963, 1), (644, 0)]


def test_nothing_else_changes() -> None:
    before = prepared(50)
    after = with_lengths(before, Budgets(kind="exact"))
    assert {split: len(rows) for split, rows in after.rows.items()} == {s: len(rows) for s, rows in before.rows.items()}
    old, new = before.rows["train"][0], after.rows["train"][0]
    assert {key: new[key] for key in new if key not in ("prompt", "extra_info")} == {
        key: old[key] for key in old if key not in ("prompt", "extra_info")
    }
    assert set(old["extra_info"]) == {"index", "split"} and new["extra_info"].items() > old["extra_info"].items()


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"kind": "maximum"}, "budget is 'maximum'; give one of exact, max, both"),
        ({"kind": "max", "low": 0}, "from 0 to 4000"),
        ({"kind": "max", "low": 9, "high": 8}, "from 9 to 8"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        Budgets(**settings)


def test_data_with_a_budget_of_their_own_are_left_alone() -> None:
    with pytest.raises(ConfigError, match="bring 'budget' of their own; leave out --keep budget, or --budget"):
        with_lengths(prepared(keep=("budget",)), Budgets(kind="max"))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "sums.jsonl"
    source.write_text("".join(json.dumps({"question": f"{n} + 1?", "answer": n + 1}) + "\n" for n in range(60)))
    command = ["prepare", str(source), "--out", str(tmp_path / "data"), "--template", "raw", "--test-size", "10"]
    assert main([*command, "--budget", "max", "--budget-range", "64", "64"]) == 0
    assert "Think for maximum 64 tokens." in capsys.readouterr().out
    for split in ("train", "test"):
        for row in pq.read_table(tmp_path / "data" / f"{split}.parquet").to_pylist():
            assert row["prompt"][0]["content"].endswith("? Think for maximum 64 tokens.")
            assert (row["extra_info"]["budget"], row["extra_info"]["at_most"]) == (64, 1)
    for option in (["--budget-range", "1", "2"], ["--budget-seed", "1"]):
        assert main([*command, "--force", *option]) == 1
        assert f"{option[0]} without --budget; say which kind: --budget exact, max, both" in capsys.readouterr().err
    assert main([*command, "--force", "--budget", "exact", "--budget-range", "9", "1"]) == 1
    assert "budgets go from 9 to 1" in capsys.readouterr().err


def test_levels_are_uniform_and_said() -> None:
    rows = [row for rows in with_lengths(prepared(3000), Levels()).rows.values() for row in rows]
    levels = [row["extra_info"]["length_level"] for row in rows]
    for level in range(3):
        assert abs(levels.count(level) - 1000) < 130  # 5 standard deviations
    for row, level in zip(rows, levels, strict=True):
        assert row["prompt"][0]["content"].endswith(f" {LEVELS[level]}")
    few = [row for rows in with_lengths(prepared(30), Levels(seed=1)).rows.values() for row in rows]
    assert [row["extra_info"]["length_level"] for row in few] != levels[:30]


def test_the_levels_are_the_same_for_all_time() -> None:
    assert [Levels().columns(f"What is {n} + 1?")["length_level"] for n in range(6)] == [0, 0, 1, 1, 0, 1]


@pytest.mark.parametrize("sentences", [(), ("one",), ("one", "one"), ("one", "")])
def test_levels_that_are_none_are_refused(sentences: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="two sentences or more, each another"):
        Levels(sentences=sentences)


def test_command_for_levels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "sums.jsonl"
    source.write_text("".join(json.dumps({"question": f"{n} + 1?", "answer": n + 1}) + "\n" for n in range(40)))
    command = ["prepare", str(source), "--out", str(tmp_path / "data"), "--template", "raw", "--test-size", "10"]
    assert main([*command, "--level", "In short:", "--level", "At length:"]) == 0
    sentences = ("In short:", "At length:")
    found = set()
    for row in pq.read_table(tmp_path / "data" / "train.parquet").to_pylist():
        level = row["extra_info"]["length_level"]
        assert row["prompt"][0]["content"].endswith(f"? {sentences[level]}")
        found.add(level)
    assert found == {0, 1}
    assert main([*command, "--force", "--level-seed", "1"]) == 1
    assert "--level-seed without --levels" in capsys.readouterr().err
    assert main([*command, "--force", "--level", "One."]) == 1
    assert "two sentences or more" in capsys.readouterr().err
