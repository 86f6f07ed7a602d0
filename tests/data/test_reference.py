"""Reference values of a policy: measured on stored rollouts and joined to the rows to train on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from leanthink.cli import main
from leanthink.core.errors import ConfigError, DataError
from leanthink.data.prepare import Prepared, prepare
from leanthink.data.questions import Settings
from leanthink.data.records import Record
from leanthink.data.reference import read_reference, reference_values, with_reference
from leanthink.rewards import HarmonizingLength

Row = dict[str, Any]

QUESTIONS: list[Row] = [{"question": f"What is {n} + {n}?", "answer": 2 * n, "id": f"sum-{n}"} for n in range(4)]
ROLLOUTS: list[Row] = [
    {"prompt_id": 0, "length": 100, "correct": 1},
    {"prompt_id": 0, "length": 300, "correct": 0},
    {"prompt_id": 0, "length": 9000, "correct": 0, "unknown": 1},
    {"prompt_id": 1, "length": 50, "correct": 0},
    {"prompt_id": 2, "length": 7, "correct": True},
    {"prompt_id": 3, "length": 8, "correct": True},
]


def write(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def questions(**settings: Any) -> Prepared:
    records = [Record(fields=row, file=Path("q.jsonl"), line=line) for line, row in enumerate(QUESTIONS, 1)]
    return prepare(records, Settings(data_source="sums", **{"test_share": 0, **settings}))


def test_means_are_by_prompt_over_what_has_a_verdict(tmp_path: Path) -> None:
    values = reference_values(read_reference(write(tmp_path / "r.jsonl", ROLLOUTS)))
    assert values["0"] == {"reference_length": 200.0, "reference_accuracy": 0.5, "reference_count": 2.0}
    assert values["1"] == {"reference_length": 50.0, "reference_accuracy": 0.0, "reference_count": 1.0}
    assert set(values) == {"0", "1", "2", "3"}
    assert HarmonizingLength().requires <= values["0"].keys()


def test_rows_to_train_on_get_them_and_rows_to_test_on_do_not(tmp_path: Path) -> None:
    values = reference_values(read_reference(write(tmp_path / "r.jsonl", ROLLOUTS)))
    joined = with_reference(questions(test_size=1, test_share=0.05), values)
    assert len(joined.rows["train"]) == 3
    for row in joined.rows["train"]:
        info = row["extra_info"]
        assert {name: info[name] for name in values["0"]} == values[str(info["index"])]
    assert "reference_length" not in joined.rows["test"][0]["extra_info"]
    assert joined.notices == ["reference values: means of 1 to 2 rollouts a prompt"]


def test_values_go_to_the_question_that_the_rollouts_answered(tmp_path: Path) -> None:
    """Each rollout is as long as its question's own number, so that no shift by a split or a duplicate goes unseen."""
    asked = [{"question": f"{n}", "answer": "1"} for n in (0, 1, 1, 3, 4, 5, 6, 7, 8, 9)]
    records = [Record(fields=row, file=Path("q.jsonl"), line=line) for line, row in enumerate(asked, 1)]
    rollouts = [{"prompt_id": n, "length": 10 * n + 1, "correct": n % 2} for n in range(10)]
    values = reference_values(read_reference(write(tmp_path / "r.jsonl", rollouts)))
    for share in (0.0, 0.3, 0.6):
        joined = with_reference(prepare(records, Settings(data_source="s", template="raw", test_share=share)), values)
        assert joined.rows["train"]
        for row in joined.rows["train"]:
            number = int(row["prompt"][0]["content"])
            assert row["extra_info"]["reference_length"] == 10 * number + 1
            assert row["extra_info"]["reference_accuracy"] == number % 2


def test_prompts_may_have_ids_of_their_own(tmp_path: Path) -> None:
    named = [row | {"prompt_id": f"sum-{row['prompt_id']}"} for row in ROLLOUTS]
    values = reference_values(read_reference(write(tmp_path / "r.jsonl", named)))
    rows = with_reference(questions(keep=("id",)), values, "id").rows["train"]
    assert [row["extra_info"]["reference_length"] for row in rows] == [200, 50, 7, 8]
    with pytest.raises(ConfigError, match="--reference-key id: no such field; carry it with --keep id"):
        with_reference(questions(), values, "id")
    with pytest.raises(DataError, match=r"prompt with index 0 \('What is 0 \+ 0\?.*the rollouts have: sum-0, sum-1"):
        with_reference(questions(), values)


def test_a_prompt_without_a_verdict_is_named(tmp_path: Path) -> None:
    unknown = [row | {"unknown": int(row["prompt_id"] == 2)} for row in ROLLOUTS]
    with pytest.raises(DataError, match="no rollout with a verdict for the prompt with index 2"):
        with_reference(questions(), reference_values(read_reference(write(tmp_path / "r.jsonl", unknown))))


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--reference is for rows to train on, and there are none"):
        with_reference(questions(test_share=1), {})


def test_text_needs_the_policys_tokenizer(tmp_path: Path) -> None:
    rows = [{"prompt_id": 0, "response": "so it is 0", "correct": 1}]
    with pytest.raises(ConfigError, match="training compares tokens; give the policy's tokenizer with --tokenizer"):
        read_reference(write(tmp_path / "r.jsonl", rows))


def test_the_command_writes_what_a_recipe_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "q.jsonl", QUESTIONS)
    reference = write(tmp_path / "r.jsonl", ROLLOUTS)
    command = ["prepare", str(source), "--out", str(tmp_path / "data"), "--test-share", "0"]
    assert main([*command, "--reference", str(reference)]) == 0
    assert "note: reference values: means of 1 to 2 rollouts a prompt" in capsys.readouterr().out
    rows = pq.read_table(tmp_path / "data" / "train.parquet").to_pylist()
    assert [row["extra_info"]["reference_accuracy"] for row in rows] == [0.5, 0.0, 1.0, 1.0]
    write(reference, ROLLOUTS[:4])
    assert main([*command, "--force", "--reference", str(reference)]) == 1
    assert "prompt with index 2" in capsys.readouterr().err


def test_a_reference_length_is_the_mean_not_the_middle(tmp_path: Path) -> None:
    rollouts = [{"prompt_id": 0, "length": length, "correct": 1} for length in (100, 200, 900)]
    values = reference_values(read_reference(write(tmp_path / "r.jsonl", rollouts)))
    assert values["0"]["reference_length"] == 400.0
