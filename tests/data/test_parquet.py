"""Parquet files are read within limits, whatever they stand for; odd columns are read or told in one paragraph."""

from __future__ import annotations

import datetime
import decimal
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanthink.cli import main
from leanthink.core.errors import DataError
from leanthink.data import parquet
from leanthink.data.prepare import prepare
from leanthink.data.questions import Settings
from leanthink.data.records import read_records
from leanthink.data.rollouts import read_rollouts

ROWS = 64


def shared(value: Any, count: int) -> pa.Array:
    """One value that many rows share, which is in the file once."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([value]))


def one_list(values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, len(values)]), values)


def written(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path / "r.parquet", compression="zstd", **options)
    return path / "r.parquet"


def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WHOLE_BYTES": 1 << 20, "ROW_BYTES": 1 << 16, "ROWS": 10_000, "BATCH_BYTES": 1 << 18}.items():
        monkeypatch.setattr(parquet, name, value)


TEXT = "a" * (1 << 15)
TOO_LARGE = r"r\.parquet: its values take more than 1,048,576 bytes in memory, .*; write its rows into several files"
BOMBS: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "a text that all rows share": (lambda: {"a": shared(TEXT, ROWS)}, TOO_LARGE),
    "a text that a list repeats": (lambda: {"a": one_list(shared(TEXT, ROWS))}, TOO_LARGE),
    "a text deep in a row": (
        lambda: {"a": one_list(pa.StructArray.from_arrays([shared(TEXT, ROWS)], names=["b"]))},
        TOO_LARGE,
    ),
    "bytes of one length": (lambda: {"a": pa.array([b"a" * (1 << 15)] * ROWS, pa.binary(1 << 15))}, TOO_LARGE),
    "numbers in a list": (lambda: {"a": one_list(pa.array([1] * 200_000))}, TOO_LARGE),
    "rows": (
        lambda: {"a": pa.array([1] * 10_001)},
        "has 10,001 rows in .* bytes; up to 10,000 are read, .*; write fewer",
    ),
    "a row": (lambda: {"a": ["a", "a" * (1 << 16)]}, r"r\.parquet, row 2: more than 65,536 bytes; give shorter rows"),
    "a row's list": (lambda: {"a": one_list(pa.array([1] * 9000))}, "row 1: more than 65,536 bytes"),
}


@pytest.mark.parametrize("make, message", BOMBS.values(), ids=BOMBS)
def test_a_small_file_that_stands_for_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], dict[str, Any]], message: str
) -> None:
    small_limits(monkeypatch)
    path = written(tmp_path, make())
    assert path.stat().st_size < 5000
    with pytest.raises(DataError, match=message):
        read_records(path)


def test_no_batch_is_larger_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_limits(monkeypatch)
    monkeypatch.setattr(parquet, "WHOLE_BYTES", 1 << 30)
    sizes = []

    def noted(batch: pa.RecordBatch, *rest: Any) -> Any:
        sizes.append(batch.nbytes)
        return in_python(batch, *rest)

    in_python = parquet._in_python
    monkeypatch.setattr(parquet, "_in_python", noted)
    same = [f"{TEXT}{row % 2}" for row in range(ROWS)]
    assert len(read_records(written(tmp_path, {"a": same}))) == ROWS
    assert len(
        read_records(written(tmp_path, {"a": same}, use_dictionary=False, column_encoding={"a": "DELTA_BYTE_ARRAY"}))
    )
    assert max(sizes) < 1 << 19 and len(sizes) > 16


def test_many_rows_of_many_groups_and_batches_keep_their_order_and_number(tmp_path: Path) -> None:
    columns = {
        "text": [f"{row}" * (row % 50) for row in range(5000)],
        "prompt": [f"p{row // 8}" for row in range(5000)],
        "messages": [[{"role": "user", "content": f"q{row}"}] * (row % 3) for row in range(5000)],
        "a.b": [row / 2 for row in range(5000)],
    }
    plain = {"use_dictionary": False}
    deltas = [{**plain, "column_encoding": {"text": f"DELTA_{kind}"}} for kind in ("BYTE_ARRAY", "LENGTH_BYTE_ARRAY")]
    for options in ({}, {"row_group_size": 700}, {"data_page_size": 200}, plain, *deltas):
        records = read_records(written(tmp_path, columns, **options))
        assert [record.line for record in records] == list(range(1, 5001))
        assert [dict(record.fields) for record in records] == pa.table(columns).to_pylist()


def test_files_whose_rows_are_as_many_as_their_bytes_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_limits(monkeypatch)
    monkeypatch.setattr(parquet, "ROWS", 10)
    assert len(read_records(written(tmp_path, {"a": list(range(500))}))) == 500


BAD_TEXT = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff"))
UNREADABLE = {
    "timestamp": (pa.array([1, 10**15], pa.timestamp("s")), "row 2"),
    "duration": (pa.array([2**62] * 2, pa.duration("ms")), "row 1"),
    "date32": (pa.array([1, 2**31 - 1], pa.int32()).view(pa.date32()), "row 2"),
    "date64": (pa.array([1, 2**62], pa.int64()).view(pa.date64()), "row 2"),
    "a zone": (pa.array([1, 1], pa.timestamp("us", tz="Nowhere/Else")), "row 1"),
    "text": (BAD_TEXT, "row 2"),
    "text of a list": (one_list(BAD_TEXT), "row 1"),
}


@pytest.mark.parametrize("column, row", UNREADABLE.values(), ids=UNREADABLE)
def test_a_value_that_python_has_none_for_is_named(tmp_path: Path, column: pa.Array, row: str) -> None:
    with pytest.raises(DataError, match=rf"r\.parquet, {row}: 'odd' is a .* that cannot be read .*; write it as UTF-8"):
        read_records(written(tmp_path, {"odd": column}))


DAMAGED_HEADS = """
import random, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from leanthink.core.errors import DataError
from leanthink.data.prepare import prepare
from leanthink.data.questions import Settings
from leanthink.data.records import read_records
from leanthink.data.rollouts import read_rollouts
path, draw = Path(sys.argv[1]), random.Random(5)
columns = {"a": ["x", "y"] * 9, "b": [[{"c": "z"}], []] * 9, "d": [True, None] * 9, "e": [1, 2] * 9}
pq.write_table(pa.table(columns), path, store_schema=False, row_group_size=9)
whole, head = path.read_bytes(), pq.read_metadata(path).serialized_size
for _ in range(3000):
    content = bytearray(whole)
    for _ in range(draw.choice((1, 1, 2, 5))):
        content[-draw.randrange(1, head + 9)] = draw.choice((0, 127, 128, 255, draw.randrange(256)))
    path.write_bytes(content)
    try:
        read_records(path)
    except DataError as error:
        assert "\\n" not in str(error)
"""


def test_a_damaged_head_does_not_end_the_process(tmp_path: Path) -> None:
    given = [sys.executable, "-P", "-c", DAMAGED_HEADS, str(tmp_path / "r.parquet")]
    done = subprocess.run(given, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = written(tmp_path, {"letters": ["a"]}, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"letters", b"le\xffters"))
    with pytest.raises(DataError, match=r"r\.parquet is no parquet file .*; write it again"):
        read_records(path)


def nested(levels: int, *, lists: bool = True) -> pa.Array:
    column = pa.array([1, 2])
    for _ in range(levels):
        if lists:
            column = pa.ListArray.from_arrays(pa.array([0, 1, 2]), column)
        else:
            column = pa.StructArray.from_arrays([column], names=["a"])
    return column


def test_what_lies_too_deep_is_refused(tmp_path: Path) -> None:
    assert len(read_records(written(tmp_path, {"a": nested(40)}))) == 2
    assert len(read_records(written(tmp_path, {"a": nested(64, lists=False)}))) == 2
    with pytest.raises(DataError, match=r"r\.parquet: lists and structs lie more than 64 deep in each other"):
        read_records(written(tmp_path, {"a": nested(65, lists=False)}))
    with pytest.raises(DataError, match=r"r\.parquet: .* too deeply nested"):  # pyarrow's own limit
        read_records(written(tmp_path, {"a": nested(60)}))


ODD = {
    **{name: column for name, (column, _) in UNREADABLE.items() if len(column) == 2},
    "a list of structs": pa.array([[{"content": "a", "b": None}], None]),
    "an empty struct's list": pa.array([[], [{"content": "x"}]]),
    "a map": pa.array([[("a", 1), ("a", 2)], []], pa.map_(pa.string(), pa.int64())),
    "a decimal": pa.array([decimal.Decimal("1.5"), None]),
    "a long decimal": pa.array([decimal.Decimal("9" * 70)] * 2, pa.decimal256(76, 0)),
    "binary": pa.array([b"\xff", b""]),
    "large binary": pa.array([b"\xff", b""], pa.large_binary()),
    "large text": pa.array(["a", None], pa.large_string()),
    "a view of text": pa.array(["a", None], pa.string_view()),
    "nulls": pa.nulls(2),
    "a dictionary": shared("a", 2),
    "a dictionary of numbers": shared(1, 2),
    "a fixed list": pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)),
    "a large list": pa.array([[1, 2], None], pa.large_list(pa.int8())),
    "40 lists": nested(40),
    "60 lists": nested(60),
    "60 structs": nested(60, lists=False),
    "half a float": pa.array([1.5, float("nan")], pa.float16()),
    "infinity": pa.array([float("inf"), float("-inf")]),
    "unsigned": pa.array([2**64 - 1, 0], pa.uint64()),
    "a time": pa.array([datetime.time(1), None]),
    "a moment": pa.array([1, 2], pa.timestamp("ns", tz="UTC")),
    "a truth": pa.array([True, None]),
}
FIELDS = ("group", "prompt", "response", "length", "correct", "pred", "gold", "step", "truncated", "messages", "reason")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("kind", ODD)
def test_odd_columns_are_read_or_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, field: str
) -> None:
    columns = {"group": pa.array(["g", "g"]), "length": pa.array([1, 2]), "correct": pa.array([0, 1])}
    path = written(tmp_path, {**columns, field: ODD[kind]})
    code = main(["score", str(path), "--recipe", "trle", "--json"])
    assert code == 0 or "leanthink score: " in capsys.readouterr().err


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 10_000), st.booleans())
def test_damaged_bytes_are_told(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int, dictionary: bool
) -> None:
    path = written(
        tmp_path_factory.mktemp("p"), {"a": [["x"], ["y", "z"]], "b": ["c", None]}, use_dictionary=dictionary
    )
    content = bytearray(path.read_bytes())
    at %= len(content)
    content[at : at + len(junk)] = junk
    path.write_bytes(content)
    try:
        read_records(path)
    except DataError as error:
        assert "\n" not in str(error)


FEW_BITS: dict[str, tuple[pa.Array, list[Any]]] = {
    "32 bits": (pa.array([0.1, None, 3.7, math.inf], pa.float32()), [0.1, None, 3.7, math.inf]),
    "16 bits": (pa.array([numpy.float16(0.1), None], pa.float16()), [0.1, None]),
    "in a struct": (
        pa.array([{"a": 0.1, "b": 1}, None], pa.struct({"a": pa.float32(), "b": pa.int64()})),
        [{"a": 0.1, "b": 1}, None],
    ),
    "in a list": (pa.array([[0.1, None], None, []], pa.list_(pa.float32())), [[0.1, None], None, []]),
    "in lists of structs": (pa.array([[{"a": 0.1}]], pa.large_list(pa.struct({"a": pa.float32()}))), [[{"a": 0.1}]]),
    "in lists of one length": (pa.array([[0.1, 0.2]], pa.list_(pa.float32(), 2)), [[0.1, 0.2]]),
    "in a map": (pa.array([[("k", 0.1)]], pa.map_(pa.string(), pa.float32())), [[("k", 0.1)]]),
    "in a table of values": (pa.array([0.1, 0.1], pa.float32()).dictionary_encode(), [0.1, 0.1]),
    "64 bits": (pa.array([0.1, 0.10000000149011612]), [0.1, 0.10000000149011612]),
}


@pytest.mark.parametrize("column, read", FEW_BITS.values(), ids=FEW_BITS)
def test_numbers_of_few_bits_are_the_decimals_that_were_written(
    tmp_path: Path, column: pa.Array, read: list[Any]
) -> None:
    records = read_records(written(tmp_path, {"a": column, "b": ["x"] * len(column)}))
    assert [record.fields for record in records] == [{"a": value, "b": "x"} for value in read]


def test_a_gold_of_32_bits_is_matched(tmp_path: Path) -> None:
    golds = pa.array([0.1, 3.7], pa.float32())
    boxed = [r"\boxed{0.1}", r"\boxed{3.7}"]
    path = written(tmp_path, {"group": [1, 1], "gold": golds, "response": boxed, "question": ["a?", "b?"]})
    assert [str(one.verdict) for one in read_rollouts(read_records(path), workers=1).judgements] == ["correct"] * 2
    rows = prepare(read_records(path), Settings(data_source="d", test_share=0)).rows["train"]
    assert [row["reward_model"]["ground_truth"] for row in rows] == ["0.1", "3.7"]
