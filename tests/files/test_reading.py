"""Files of others are read within limits; what is beyond them is an error that names file and line."""

from __future__ import annotations

import csv
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanthink.cli import main
from leanthink.core.errors import ConfigError, DataError
from leanthink.data.records import read_below, read_records
from leanthink.files.reading import (
    DEPTH,
    lines_of,
    parse_json,
    read_jsonl,
    read_object,
    read_text,
    row_of,
    whole_number,
)
from leanthink.recipe.yaml import NODES, SIZE, format_yaml, parse_yaml, read_yaml
from made_runs import write_run

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(PLAIN)
def test_what_is_within_the_limits_is_read_as_json_reads_it(content: Any) -> None:
    assert parse_json(json.dumps(content), "here") == content


@pytest.mark.parametrize("text", ["0.12345678901234567890", "0." + "0" * 300 + "1", "1" * 200 + ".5"])
def test_a_number_of_many_digits_is_read(text: str) -> None:
    assert parse_json(text, "here") == float(text)
    with pytest.raises(DataError, match="1e999 is no finite number"):  # and is not taken for the one that is none
        parse_json(f"[{text}, 1e999]", "here")


WRONG_JSON = [
    ("[" * 100_000, "deep"),
    ("[" * (DEPTH + 1) + "]" * (DEPTH + 1), "deep"),
    ('{"a":' * 500 + "1" + "}" * 500, "deep"),
    ("9" * 400, "400 digits"),
    ("-" + "9" * 100_000, "100001 digits"),
    ("1e999", "no finite number"),
    ("-1e400", "no finite number"),
    ("1" + "0" * 5000 + ".0", "no finite number"),
    ("NaN", "no finite number"),
    ('{"a": [Infinity]}', "no finite number"),
    ("", "no JSON"),
    ("{", "no JSON"),
    ("\x00", "no JSON"),
]


@pytest.mark.parametrize(("text", "what"), WRONG_JSON, ids=lambda value: value[:12])
def test_what_is_beyond_the_limits_is_told_with_the_place(text: str, what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        parse_json(text, "a.json", line=7)
    assert str(caught.value).startswith("a.json, line 7: ") and len(str(caught.value)) < 300
    with pytest.raises(DataError, match=r"a\.json"):
        parse_json(text, "a.json")


def test_the_line_of_a_wrong_number_is_found() -> None:
    with pytest.raises(DataError, match="here, line 3: 1e999"):
        parse_json('{"a": 1,\n"b": 2,\n"c": 1e999}', "here")


def test_as_deep_as_allowed_is_allowed() -> None:
    assert parse_json("[" * DEPTH + "]" * DEPTH, "here")
    assert parse_json(json.dumps([[] for _ in range(1000)]), "here")


def test_not_a_number_is_read_where_trainers_write_it() -> None:
    row = row_of('{"a": NaN, "b": -Infinity}', Path("x"), 1)
    assert row["a"] != row["a"] and row["b"] == float("-inf")


def test_a_line_that_is_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leanthink.files.reading.LINE_BYTES", 100)
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": "' + "x" * 100 + '"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: more than 100 bytes"):
        list(read_jsonl(tmp_path / "a.jsonl"))


def test_a_file_that_is_too_large_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x" * 101)
    assert read_text(tmp_path / "a", 101)
    with pytest.raises(DataError, match="more than 100 bytes"):
        read_text(tmp_path / "a", 100)


def test_a_pipe_nobody_writes_to_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is no file"):
        read_text(tmp_path / "pipe")
    with pytest.raises(DataError, match="is no file"):
        read_text(Path("/dev/zero"))


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_pipe_in_a_folder_does_not_wait(tmp_path: Path, ending: str) -> None:
    pipe = tmp_path / f"1.{ending}"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match=rf"1\.{ending} is no file; give a file"):
        read_below(tmp_path)
    with pytest.raises(DataError, match=r"is no file"):
        next(lines_of(pipe))
    with pytest.raises(DataError, match=r"is no file"):
        next(read_jsonl(pipe))


@pytest.mark.parametrize("given", [["report", "run"], ["score", "run", "--recipe", "trle"], ["score", "run"]])
@pytest.mark.parametrize(
    "pipe", ["validation/3.jsonl", "attempts/003.jsonl", "rollouts/1.jsonl", "rollouts/shaped/1.jsonl"]
)
def test_a_pipe_in_a_runs_folder_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], pipe: str
) -> None:
    write_run(tmp_path / "run", "trle", 1, quality=0.5, tokens=50)
    (tmp_path / "run" / "rollouts" / "shaped").mkdir(parents=True)
    (tmp_path / "run" / "rollouts" / "2.jsonl").write_text('{"group": 1, "length": 3, "correct": 1}\n')
    os.mkfifo(tmp_path / "run" / pipe)
    monkeypatch.chdir(tmp_path)
    main(given)


def test_a_pipe_that_somebody_names_is_read(tmp_path: Path) -> None:
    for ending, text in (("jsonl", '{"a": "1"}\n'), ("csv", "a\n1\n")):
        pipe = tmp_path / f"r.{ending}"
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_text, args=(text,))
        writer.start()
        assert [dict(record.fields) for record in read_below(pipe)] == [{"a": "1"}]
        writer.join()


def test_a_cell_of_a_csv_may_be_as_long_as_a_line(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    (tmp_path / "a.csv").write_text(f"a,b\n{'x' * 200_000},1\ny,2\n")
    first, second = read_below(tmp_path / "a.csv")
    assert len(first.get("a")) == 200_000 and second.line == 2
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("name", "text"), [("r.csv", "id,length\na,7\nb,8\n"), ("r.jsonl", '{"id": "a"}\n{"id": "b"}\n')]
)
def test_the_mark_that_windows_programs_put_before_a_text_is_no_part_of_it(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [record.fields["id"] for record in read_records(tmp_path / name)] == ["a", "b"]
    (tmp_path / "r.json").write_bytes(b'\xef\xbb\xbf{"id": 3}')
    assert read_object(tmp_path / "r.json") == {"id": 3}


def test_a_folder_a_missing_file_and_other_letters(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read|no file"):
        read_text(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"a\nb\xe9\n")
    with pytest.raises(DataError, match="latin, line 2 is no UTF-8 text"):
        read_text(tmp_path / "latin")
    with pytest.raises(DataError, match=r"cannot read .*null byte"):
        read_text(Path("a\0b"))
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match=r"cannot read .*: Too many levels of symbolic links; check the path"):
        read_text(tmp_path / "loop")


def test_an_object_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(DataError, match="holds list instead of an object"):
        read_object(tmp_path / "a.json")


@pytest.mark.parametrize("value", [True, None, "1", 1.5, float("nan"), float("inf"), [1]])
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(DataError, match="no whole number"):
        whole_number(value, "here")


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines)


def merges(levels: int) -> str:
    lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, levels)]
    return "\n".join(lines)


WRONG_YAML: list[tuple[str, str]] = [
    (bomb(8), "aliases stand for more"),
    (bomb(60), "aliases stand for more|deep"),
    (merges(8), "aliases stand for more"),
    ("a: &a [*a]", "line 1: an alias inside of what it names"),
    ("a: 1\nb: &b {c: {d: *b}}", "line 2: an alias inside of what it names"),
    ("[" * 400 + "]" * 400, "line 1: more than 64 deep"),
    ("[" * 100_000, "more than 64 deep"),
    ("{a: " * 400 + "1" + "}" * 400, "more than 64 deep"),
    ("- " * 5000 + "x", "more than 64 deep"),
    ("a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40, "deep with what aliases name"),
    ("[" + "1," * 30_000 + "]", "more than 20,000 values"),
    ("x" * (SIZE + 1), "more than"),
    ("x: 1\na: .inf", "line 2: .inf is no finite number"),
    ("a: -.INF", "no finite number"),
    ("a: .nan", "no finite number"),
    ("a: 1e999", "no finite number"),
    ("a: " + "9" * 400, "400 signs"),
    ("a: " + "9" * 5000, "5000 signs"),
    ("a: 0x" + "f" * 290, "no finite number"),
    ("a: 2020-01-01", "line 1: '2020-01-01' is a timestamp to YAML; put it in quotes"),
    ("a: !!binary aGk=", "is a binary"),
    ("a: !!set {x}", "is a set"),
    ("a: !!python/object/apply:os.system [ls]", "os.system"),
    ("a: !!int x", "no valid YAML"),
    ("a: !!bool x", "no valid YAML"),
    ("a: !!int ''", "no valid YAML"),
    ("!!map [1]", "no valid YAML"),
    ('a: "\\ud800"', "no sign of a text"),
    ('a: "\\0"', "no sign of a text"),
    ("a: *b", "undefined alias"),
    ("? [1]\n: 2", "no valid YAML"),
    ("a: 1\n---\nb: 2", "no valid YAML"),
    ("a: 1\na: 2", "line 2: key 'a' is given twice"),
]


@pytest.mark.parametrize(("text", "what"), WRONG_YAML, ids=[text[:20] for text, _ in WRONG_YAML])
def test_yaml_beyond_the_limits_is_an_error_at_once(text: str, what: str) -> None:
    started = time.monotonic()
    with pytest.raises(ConfigError, match=what) as caught:
        parse_yaml(text, "a.yaml")
    assert str(caught.value).startswith("a.yaml") and len(str(caught.value)) < 800
    assert time.monotonic() - started < 20


@settings(deadline=None)
@given(PLAIN.filter(lambda content: "\\x00" not in repr(content)))
def test_what_is_written_as_yaml_is_read_again(content: Any) -> None:
    whole = json.loads(json.dumps(content), parse_int=lambda digits: int(digits[:200]))
    assert parse_yaml(format_yaml(whole), "here") == whole


def test_aliases_within_the_limits_are_fine() -> None:
    assert parse_yaml("a: &a [1, 2]\nb: [*a, *a]", "here") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}
    assert NODES >= 10_000


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_recipe_that_is_no_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match=r"no file|cannot read"):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize(("given", "read"), [(0, 0), (-3, -3), (3.0, 3), (-0.0, 0), (2**60, 2**60)])
def test_a_whole_number_is_read_however_it_is_written(given: Any, read: int) -> None:
    assert whole_number(given, "here") == read and isinstance(whole_number(given, "here"), int)
