"""Half a surrogate pair is valid in JSON and no text: no file that is written holds one, and none is half written."""

import csv
import json

import pyarrow.parquet
import pytest

import made_runs as made
from leanthink.cli import main
from leanthink.core.errors import DataError, WriteError
from leanthink.core.text import first_unstorable, storable
from leanthink.data.pairs import write_pairs
from leanthink.data.prepare import verl_row, write_rows
from leanthink.sweep.table import _column

HALF = "\ud835"


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    ("value", "expected", "count"),
    [
        ("plain", "plain", 0),
        ("\U0001d49c is a pair", "\U0001d49c is a pair", 0),
        (f"{HALF}\udc9c", "\ufffd\ufffd", 2),
        (
            {f"k{HALF}": [f"{HALF}x", {"y": ("\udfff", 1, None)}]},
            {"k\ufffd": ["\ufffdx", {"y": ["\ufffd", 1, None]}]},
            3,
        ),
    ],
)
def test_each_half_is_replaced_and_counted(value, expected, count):
    assert storable(value) == (expected, count)
    assert storable(expected) == (expected, 0)


def test_a_value_without_one_is_returned_itself():
    value = [{"a": ["b"]}]
    assert storable(value)[0] is value
    assert first_unstorable([*value, {"a": HALF}]) == 1
    assert first_unstorable(value) is None


@pytest.mark.parametrize("field", ["question", "answer", "note"])
def test_prepare_replaces_and_tells_where(tmp_path, capsys, field):
    rows = [{"question": f"What is {n} + 1?", "answer": str(n), "note": "x"} for n in range(3)]
    rows[1][field] += HALF
    source = lines(tmp_path / "in.jsonl", rows)
    arguments = ["prepare", source, "--out", str(tmp_path / "out"), "--test-share", "0", "--keep", "note"]
    assert main(arguments) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "1 row holds halves of surrogate pairs" in out and "in.jsonl, line 2)" in out
    written = pyarrow.parquet.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    assert len(written) == 3
    assert json.dumps(written, ensure_ascii=False).count("\ufffd") == 1


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_pairs_replaces_and_tells_where(tmp_path, capsys, ending):
    files = []
    for name, right in (("long", 1), ("short", 0)):
        rows = [
            {"prompt_id": "p", "prompt": f"a{HALF}", "response": f"{name}{n}{HALF}", "length": n, "correct": right}
            for n in (1, 2)
        ]
        files.append(lines(tmp_path / f"{name}.jsonl", rows))
    out = tmp_path / f"pairs{ending}"
    assert main(["pairs", *files, "--out", str(out)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("2 rows hold halves of surrogate pairs") == 2
    content = (
        out.read_text(encoding="utf-8") if ending == ".jsonl" else str(pyarrow.parquet.read_table(out).to_pylist())
    )
    assert "a\ufffd" in content and HALF not in content


def test_writers_name_the_row_and_leave_nothing(tmp_path):
    rows = [verl_row(prompt=f"a{half}", answer="1", split="test", index=0, data_source="s") for half in ("", HALF)]
    with pytest.raises(DataError, match="row 2 of test holds half of a surrogate pair"):
        write_rows(tmp_path, {"train": rows[:1], "test": rows})
    for ending in (".jsonl", ".parquet"):
        with pytest.raises(DataError, match="row 2 holds half of a surrogate pair"):
            write_pairs([{"prompt": "a"}, {"prompt": HALF}], tmp_path / f"pairs{ending}")
    assert list(tmp_path.iterdir()) == []


def test_pairs_without_a_place_is_one_paragraph(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"cannot write .*pairs\.jsonl: .*part of its path is a file"):
        write_pairs([{"prompt": "a"}], tmp_path / "file" / "pairs.jsonl")


def test_a_report_shows_and_counts_it(tmp_path, capsys):
    run = made.write_run(tmp_path / "run", "short", 1, quality=0.9, tokens=20)
    dump = run / "validation" / "12.jsonl"
    rows = [json.loads(line) for line in dump.read_text().splitlines()]
    for row in rows[:2]:
        row |= {"difficulty": f"2{HALF}", "pred": HALF, "input": HALF, "output": HALF}
    lines(dump, rows)
    assert main(["report", str(run), "--out", str(tmp_path / "out")]) == 0
    assert "as at" in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "halves of surrogate pairs" in page
    assert not list((tmp_path / "out").glob("*.part"))


def test_a_folder_whose_name_is_no_text_is_reported_on(tmp_path, capsys):
    made.write_run(tmp_path / "run\udcff", "short", 1, quality=0.9, tokens=20)
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "out\udcff")]) == 0
    assert "\ufffd" in (tmp_path / "out\udcff" / "report.html").read_text(encoding="utf-8")


def test_a_table_of_results_holds_it(tmp_path):
    column = pyarrow.table({"error": _column([f"bad {HALF}", None])})
    assert column.to_pylist() == [{"error": "bad \ufffd"}, {"error": None}]
    pyarrow.csv.write_csv(column, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as text:
        assert next(csv.DictReader(text))["error"] == "bad \ufffd"


def test_verdicts_are_printed(tmp_path, capsys):
    for arguments in (["7", f"\\boxed{{{HALF}}}"], ["--json", f"7{HALF}", f"\\boxed{{7{HALF}}}"]):
        assert main(["verify", *arguments]) in (0, 1)
        assert "ud835" in capsys.readouterr().out
