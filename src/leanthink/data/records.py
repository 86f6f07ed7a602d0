"""Rows of a JSONL or parquet file, each with the place it came from, so that an error can name it."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from leanthink.core.errors import DataError
from leanthink.core.text import REPLACEMENT, storable
from leanthink.data.parquet import rows_of
from leanthink.files.reading import LINE_BYTES, lines_of, repeated, row_of

ENDINGS: Final = (".jsonl", ".parquet", ".csv")
ROLLOUTS: Final = "rollouts"
"""Where a run's folder has the dumps of its training rollouts; ``shaped`` in it holds their facts and rewards."""
SHAPED: Final = "shaped"
_Read = TypeVar("_Read")
_STEP: Final = re.compile(r"(?:^|\.)([^.\[\]]+)|\[(-?\d+)\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One row: its fields, its file, and its line there (in parquet its row), from 1.

    A field that is there but null counts as absent. ``response`` is which of its line's it is, from 1, where a line
    has several; else 0.
    """

    fields: Mapping[str, Any]
    file: Path
    line: int
    response: int = 0

    @property
    def place(self) -> str:
        """Where the row stands, for errors.

        >>> Record(fields={}, file=Path("a.jsonl"), line=3).place
        'a.jsonl, line 3'
        """
        line = f"{self.file}, {'row' if self.file.suffix.lower() in ('.parquet', '.csv') else 'line'} {self.line}"
        return f"{line}, response {self.response}" if self.response else line

    def get(self, name: str) -> Any:
        """A field by its name, or by a path into nested ones; None where there is none.

        >>> fields = {"messages": [{"content": "1 + 1 ="}, {"content": "2"}], "a.b": 3}
        >>> record = Record(fields=fields, file=Path("a.jsonl"), line=1)
        >>> record.get("messages[-1].content"), record.get("a.b"), record.get("messages[7].content")
        ('2', 3, None)
        """
        if name in self.fields:
            return self.fields[name]
        steps = _STEP.findall(name)
        value: Any = self.fields if steps else None
        for key, place in steps:
            if key and isinstance(value, Mapping):
                value = value.get(key)
            elif place and isinstance(value, Sequence) and not isinstance(value, str):
                value = value[int(place)] if -len(value) <= int(place) < len(value) else None
            else:
                return None
        return value

    def having(self, name: str, value: Any) -> Record:
        """The row with another value in a field, or at a path that :meth:`get` finds.

        >>> record = Record(fields={"choices": [{"text": "2"}]}, file=Path("a.jsonl"), line=1)
        >>> record.having("choices[0].text", "3").fields, record.fields
        ({'choices': [{'text': '3'}]}, {'choices': [{'text': '2'}]})
        """
        steps = [] if name in self.fields else _STEP.findall(name)
        return replace(self, fields=_put(self.fields, steps or [(name, "")], value))

    def has(self, name: str) -> bool:
        """Whether there is such a field, by name or path, and it is not null."""
        return self.get(name) is not None


def _put(held: Any, steps: Sequence[tuple[str, str]], value: Any) -> Any:
    """A copy of nested fields with another value at a path."""
    if not steps:
        return value
    (key, place), *rest = steps
    if key:
        return {**held, key: _put(held.get(key), rest, value)}
    copied = list(held)
    copied[int(place)] = _put(copied[int(place)], rest, value)
    return copied


def files_of(path: Path) -> list[Path]:
    """The file itself; of a folder, its JSONL and parquet files, numbers in the names in numeric order.

    Raises:
        DataError: there is nothing to read.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; check the path")
    if not path.is_dir():
        return [path]
    if (path / ROLLOUTS).is_dir():  # a run's folder
        path = path / ROLLOUTS
    files = sorted((file for file in path.iterdir() if file.suffix.lower() in ENDINGS), key=_natural)
    if not files:
        raise DataError(f"{path} is a folder without {' or '.join(ENDINGS)} files; give a file, or a folder of them")
    return files


def read_records(path: Path) -> list[Record]:
    """The rows of a file.

    Raises:
        DataError: no such file, an unknown ending, no rows, or a line that is no JSON object, named.
    """
    return list(iter_records(path))


def read_below(path: Path) -> list[Record]:
    """The rows of a file, or of all files of a folder (see :func:`files_of`), in order.

    Raises:
        DataError: as :func:`read_records`.
    """
    return list(iter_below(path))


def iter_below(path: Path) -> Iterator[Record]:
    """The rows of `read_below` one by one.

    Raises:
        DataError: as :func:`read_records`.
    """
    for file in files_of(path):
        yield from iter_records(file, named=file == path)


def iter_records(path: Path, *, named: bool = True) -> Iterator[Record]:
    """The rows of a file one by one; never more of them in memory than a batch of a parquet file.

    Args:
        path: the file.
        named: whether somebody named it: then it may be a pipe, but of parquet; else it was found in a folder.

    Raises:
        DataError: as :func:`read_records`.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        cure = "; `jq -c '.[]'` makes lines of a JSON list" if ending == ".json" else ""
        raise DataError(f"{path}: cannot read {ending or 'a file without ending'}; allowed: {', '.join(ENDINGS)}{cure}")
    empty = True
    try:
        read = {".parquet": _read_parquet, ".csv": _read_csv}.get(ending, _read_jsonl)
        shaped = _shaped(path)
        for record in read(path, named):
            empty = False
            yield record if shaped is None else _joined(record, shaped)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; check the path") from None
    except OSError as error:
        what = " ".join(str(error).split())
        raise DataError(f"cannot read {path}: {what:.300}; check the path and its permissions") from error
    if empty:
        raise DataError(f"{path} is empty; give at least one row")


def _shaped(path: Path) -> dict[str, Mapping[str, Any]] | None:
    """What a run wrote beside its dump of a step about each response, by uid; None where it wrote nothing."""
    beside = path.parent / SHAPED / path.name
    if path.suffix.lower() != ".jsonl" or not beside.is_file():
        return None
    return {str(record.fields.get("uid")): record.fields for record in _read_jsonl(beside, named=False)}


def _joined(record: Record, shaped: Mapping[str, Mapping[str, Any]]) -> Record:
    """A response of a dump with its facts, and the reward it had."""
    facts = dict(shaped.get(str(record.fields.get("uid")), {}))
    reward = facts.pop("reward", None)
    for name in ("advantage", "parts"):
        facts.pop(name, None)
    return replace(record, fields={**record.fields, **facts, "shaped_reward": reward})


def _read_jsonl(path: Path, named: bool) -> Iterator[Record]:
    for line in lines_of(path, named=named):
        if line.text.strip():
            yield Record(fields=row_of(line.text, path, line.number), file=path, line=line.number)


def _read_csv(path: Path, named: bool) -> Iterator[Record]:
    lines = (line.text for line in lines_of(path, named=named))
    try:
        for number, fields in enumerate(_csv_rows(lines, path), 1):
            if None in fields or None in fields.values():
                raise DataError(f"{path}, row {number}: more or fewer cells than names in the first line; quote commas")
            yield Record(fields={name: value or None for name, value in fields.items()}, file=path, line=number)
    except csv.Error as error:
        raise DataError(f"{path} is no CSV ({error}); write it again, or as JSONL") from error


def _csv_rows(lines: Iterator[str], path: Path) -> Iterator[dict[str, str]]:
    rows = csv.DictReader(lines)
    named = filter(None, _with_long_cells(lambda: rows.fieldnames or ()))  # a sheet's empty columns have empty names
    if (name := repeated(named)) is not None:
        raise DataError(f"{path}: the first line names {name!r:.80} twice; give each column a name of its own")
    while (row := _with_long_cells(lambda: next(rows, None))) is not None:
        yield row


def _with_long_cells(read: Callable[[], _Read]) -> _Read:
    """What is read where cells may be as long as lines: csv's own limit is one for all readers, so it is put back."""
    most = csv.field_size_limit(LINE_BYTES)
    try:
        return read()
    finally:
        csv.field_size_limit(most)


def _read_parquet(path: Path, named: bool) -> Iterator[Record]:
    for number, fields in enumerate(rows_of(path), 1):
        yield Record(fields=fields, file=path, line=number)


def storable_records(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """The rows as files can hold them, and a notice where signs had to be replaced for that."""
    cleaned, found = [], []
    for record in records:
        fields, count = storable(record.fields)
        cleaned.append(replace(record, fields=fields) if count else record)
        if count:
            found.append(record)
    if not found:
        return cleaned, []
    rows = "1 row holds" if len(found) == 1 else f"{len(found)} rows hold"
    return cleaned, [
        f"{rows} halves of surrogate pairs, which no file can hold: written as {REPLACEMENT} (first: {found[0].place})"
    ]


def source_of(records: Sequence[Record], alternatives: Iterable[str | tuple[str, str]]) -> str | tuple[str, str] | None:
    """The first alternative that a row has: a field, or a pair of fields. Every row must then have it.

    Raises:
        DataError: some rows have it and others do not.
    """
    for names in alternatives:
        wanted = (names,) if isinstance(names, str) else names
        having = [record for record in records if all(record.has(name) for name in wanted)]
        if not having:
            continue
        if len(having) < len(records):
            bare = next(record for record in records if not all(record.has(name) for name in wanted))
            lacking = next(name for name in wanted if not bare.has(name))
            raise DataError(f"{bare.place}: no {lacking!r}, which {having[0].place} has; give it in every row")
        return names
    return None


def number_of(record: Record, name: str, allowed: str) -> float:
    """A field as a finite number.

    Raises:
        DataError: it is none.
    """
    value = record.get(name)
    if isinstance(value, str) and record.file.suffix.lower() == ".csv":  # where all is text
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    raise DataError(f"{record.place}: {name!r} is {value!r:.80}; give {allowed}")


def text_of(record: Record, name: str) -> str:
    """A field as text.

    Raises:
        DataError: it is none.
    """
    value = record.get(name)
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        value = value[-1].get("content")  # a conversation: what was said last
    if not isinstance(value, str):
        raise DataError(f"{record.place}: {name!r} is {value!r:.80}; give text")
    return value


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that puts 2.jsonl before 10.jsonl."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.name)]
