"""Token budgets of prompts, arXiv 2503.04697."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from leanthink.budgets import Budgets, with_budgets
from leanthink.cli import main
from leanthink.errors import ConfigError
from leanthink.prepare import Prepared, Settings, prepare
from leanthink.records import Record

BOXED = "Please reason step by step, and put your final answer within \\boxed{}."


def prepared(count: int = 400, **settings: Any) -> Prepared:
    records = [
        Record(fields={"question": f"What is {n} + 1?", "answer": n + 1, "budget": 7}, file=Path("d.jsonl"), line=n + 1)
        for n in range(count)
    ]
    return prepare(records, Settings(data_source="sums", **settings))


def rows_of(kind: str, count: int = 400, **settings: Any) -> list[dict[str, Any]]:
    result = with_budgets(prepared(count), Budgets(kind=kind, **settings))  # type: ignore[arg-type]
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
    after = with_budgets(before, Budgets(kind="exact"))
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
        with_budgets(prepared(keep=("budget",)), Budgets(kind="max"))


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
