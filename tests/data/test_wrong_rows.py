"""Rows and files that are none: the error names file, line and cure."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leanthink.cli import main
from leanthink.core.errors import DataError, LeanthinkError
from leanthink.data.records import files_of, read_records
from leanthink.data.rollouts import read_rollouts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "r.jsonl is empty; give at least one row"),
        ("\n \n", "r.jsonl is empty"),
        ('{"group": 1}\nnonsense\n', "r.jsonl, line 2: no JSON .*write one JSON object a line"),
        ("\n[1, 2]\n", "r.jsonl, line 2: list instead of an object"),
        ('{"length": 3, "correct": 1}', "line 1: no prompt group .group, prompt_id or uid.*has: length, correct"),
        ('{"group": [1], "length": 3, "correct": 1}', r"line 1: 'group' is \[1\]; give text or a number"),
        ('{"group": Infinity, "length": 3, "correct": 1}', "line 1: 'group' is inf; give text or a number"),
        (
            '{"group": 1, "length": 3, "correct": 1}\n{"group": null, "length": 3, "correct": 1}',
            "line 2: no 'group', which .*line 1 has; give it in every row",
        ),
        ('{"group": 1, "correct": 1}', "line 1: no length .length or response_ids, or response"),
        ('{"group": 1, "length": -3, "correct": 1}', "line 1: 'length' is -3; give a number of tokens, 0 or more"),
        ('{"group": 1, "length": "3", "correct": 1}', "line 1: 'length' is '3'; give a number"),
        ('{"group": 1, "length": NaN, "correct": 1}', "line 1: 'length' is nan; give a number"),
        ('{"group": 1, "response_ids": "12", "correct": 1}', "line 1: 'response_ids' is '12'; give a list"),
        ('{"group": 1, "response": 12, "correct": 1}', "line 1: 'response' is 12; give text"),
        ('{"group": 1, "length": 3}', "line 1: no verdict .correct or acc, or gold and response"),
        ('{"group": 1, "length": 3, "gold": "4"}', "line 1: no verdict"),
        ('{"group": 1, "length": 3, "correct": 0.5}', "line 1: 'correct' is 0.5; give 0 or 1.*binarise"),
        ('{"group": 1, "length": 3, "correct": "yes"}', "line 1: 'correct' is 'yes'; give 0 or 1"),
        (
            '{"group": 1, "gold": {"a": "4"}, "response": "4"}',
            r"line 1: 'gold' is .*a mapping; name the field within it",
        ),
        ('{"group": 1, "length": 3, "correct": 1, "truncated": 2}', "line 1: 'truncated' is 2; give 0 or 1"),
        ('{"group": 1, "length": 3, "correct": 1, "step": 1.5}', "line 1: 'step' is 1.5; give a whole number from 0"),
        ('{"group": 1, "length": 3, "correct": 1, "step": -1}', "line 1: 'step' is -1; give a whole number from 0"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_rollouts(read_records(path))


def test_a_name_given_twice_is_refused_in_files_of_every_kind(tmp_path: Path) -> None:
    """The last would win without a word."""
    (tmp_path / "r.csv").write_text("group,length,correct,correct\na,3,1,0\n")
    (tmp_path / "r.jsonl").write_text('\n{"group": "a", "length": 3, "correct": 1, "correct": 0}\n')
    (tmp_path / "deep.jsonl").write_text('{"group": "a", "length": 3, "correct": 1, "more": [{"x": 1e999, "x": 0}]}\n')
    columns = [pa.array([one]) for one in ("a", 3, 1, 0)]
    pq.write_table(pa.table(columns, ["group", "length", "correct", "correct"]), tmp_path / "r.parquet")
    for name, told in (
        ("r.csv", "r.csv: the first line names 'correct' twice; give each column a name of its own"),
        ("r.jsonl", "r.jsonl, line 2: key 'correct' is given twice in an object; keep one"),
        ("deep.jsonl", "deep.jsonl, line 1: key 'x' is given twice in an object; keep one"),
        ("r.parquet", "r.parquet: two columns are called 'correct'; give each a name of its own"),
    ):
        with pytest.raises(DataError, match=re.escape(told)):
            read_records(tmp_path / name)


def test_columns_without_a_name_are_none_that_is_given_twice(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("group,length,correct,,\na,3,1,,\n")
    assert read_records(tmp_path / "r.csv")[0].get("correct") == "1"


@pytest.mark.parametrize("names", [["2.jsonl", "10.jsonl", "1²2.jsonl", "²³.jsonl", "٣.jsonl"]])
def test_files_are_sorted_by_the_numbers_in_their_names_alone(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text('{"group": 1}\n')
    found = [file.name for file in files_of(tmp_path)]
    assert sorted(found) == sorted(names) and found.index("2.jsonl") < found.index("10.jsonl")


def test_wrong_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.tsv").write_text("a,b\n")
    (tmp_path / "r.json").write_text("[]\n")
    (tmp_path / "r.parquet").write_text("no parquet")
    (tmp_path / "latin.jsonl").write_bytes(b'{"a": "\xe9"}\n')
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("r.tsv", "cannot read .tsv; allowed: .jsonl, .parquet, .csv"),
        ("r.json", "makes lines of a JSON list"),
        ("r.parquet", "is no parquet file"),
        ("latin.jsonl", "is no UTF-8 text"),
        ("missing.jsonl", "does not exist; check the path"),
        ("empty", "is a folder without .jsonl or .parquet or .csv files"),
    ):
        assert main(["score", str(tmp_path / name)]) == 1
        out, err = capsys.readouterr()
        assert message in err and str(tmp_path) in err and not out
    rows = tmp_path / "r.jsonl"
    rows.write_text('{"group": 1, "length": 3, "correct": 1}\n')
    assert main(["score", str(rows), "--step", "-1"]) == 1
    assert "--step is -1" in capsys.readouterr().err
    assert issubclass(DataError, LeanthinkError)


@pytest.mark.parametrize(
    ("pred", "told"), [("NaN", "nan"), ("Infinity", "inf"), ("18", "18"), ("[1]", "[1]"), ("0", "0"), ('""', None)]
)
def test_an_answer_in_the_file_is_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pred: str, told: str | None
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(f'{{"group": 1, "length": 3, "correct": 1, "pred": {pred}}}\n' * 2)
    assert main(["score", str(path), "--recipe", "trle", "--json"]) == 0
    assert [json.loads(line)["extracted"] for line in capsys.readouterr().out.splitlines()] == [told] * 2
