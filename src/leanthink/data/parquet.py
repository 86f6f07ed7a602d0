"""Rows of a parquet file: read within limits, for a file of some kilobytes can stand for terabytes; and written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from leanthink.core.errors import DataError
from leanthink.files.reading import DEPTH, LINE_BYTES, regular_file, repeated

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

ROW_BYTES: Final = LINE_BYTES
"""The most that a row may hold, as a line of JSONL."""
WHOLE_BYTES: Final = 1 << 30
"""What the values of a file may take in memory whatever its size,"""
GROWTH: Final = 64
"""and how many times its size they may take. Text seldom grows by more than 20."""
ROWS: Final = 1_000_000
"""Rows that a file may have whatever its size; else no more of them than bytes."""
BATCH_ROWS: Final = 1024
BATCH_BYTES: Final = 256 << 20  # what a batch may take where each value is the longest of its column

TABLED: Final = frozenset({"PLAIN", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "RLE", "BIT_PACKED"})
"""Encodings that pyarrow can read as numbers in a table of the values that differ."""

_VALUE: Final = 8  # bytes of a value, at the least


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a parquet file, one by one; never more than a batch of them in memory.

    Raises:
        DataError: it is no parquet file, or goes beyond the limits, or has a value that Python has none for.
        OSError: it cannot be read.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with regular_file(path) as content:
            size = content.seek(0, 2)
            most = max(WHOLE_BYTES, GROWTH * size)
            with pyarrow.parquet.ParquetFile(content) as file:
                _check_head(file, path, size, most)
                texts = _texts(file)
                lengths = pyarrow.parquet.ParquetFile(content, read_dictionary=texts, metadata=file.metadata)
                number, taken = 0, 0
                for group in range(file.metadata.num_row_groups):
                    at_once = _rows_at_once(file, lengths, group, path, most)
                    for batch in file.iter_batches(at_once, row_groups=[group]):
                        taken += batch.nbytes
                        if taken > most:
                            raise _too_large(path, most)
                        if batch.nbytes > ROW_BYTES:
                            _check_rows(batch, path, number)
                        yield from _in_python(batch, path, number)
                        number += batch.num_rows
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:  # a name of a column may be no text
        raise DataError(f"{path} is no parquet file ({' '.join(str(error).split()):.300}); write it again") from error
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory; write its rows into several files") from error


def write_parquet(rows: Sequence[Mapping[str, Any]], path: Path, place: str, what: str, cure: str) -> None:
    """Write rows, each name a column.

    Args:
        rows: their values, plain ones.
        path: the file.
        place: what it will be called, for errors.
        what: what it is where a column has values of different types.
        cure: what to do then.

    Raises:
        DataError: they do not fit into columns: a whole number is wider than a column's, or types differ.
        UnicodeEncodeError: a text is none.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), path)
    except (pyarrow.ArrowException, OverflowError) as error:
        for number, row in enumerate(rows, 1):
            for name, value in _wide(row):
                raise DataError(
                    f"{place}, row {number}: {name!r:.80} is {value!s:.40}, which takes more than the 64 bits of "
                    "a column; write it as text, or leave it out"
                ) from error
        raise DataError(f"{place}: {what} ({' '.join(str(error).split()):.300}); {cure}") from error


def is_wide(number: int) -> bool:
    """Whether a whole number takes more than the 64 bits that a column has for one."""
    return not -(1 << 63) <= number < 1 << 63


def _wide(value: Any, path: str = "") -> Iterator[tuple[str, int]]:
    """The whole numbers in a value that no column can hold, each with the path to it."""
    if isinstance(value, int):
        if is_wide(value):
            yield path, value
    elif isinstance(value, Mapping):
        for name, below in value.items():
            yield from _wide(below, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for place, below in enumerate(value):
            yield from _wide(below, f"{path}[{place}]")


def _check_head(file: pyarrow.parquet.ParquetFile, path: Path, size: int, most: int) -> None:
    """Refuse what the file itself says to be beyond the limits, before any of it is read."""
    head = file.metadata
    if head.num_rows > max(ROWS, size):
        raise DataError(
            f"{path} has {head.num_rows:,} rows in {size:,} bytes; up to {ROWS:,} are read, or as many as the file has "
            "bytes; write fewer rows a file"
        )
    if (name := repeated(file.schema_arrow.names)) is not None:
        raise DataError(f"{path}: two columns are called {name!r:.80}; give each a name of its own")
    if _depth(file.schema_arrow) > DEPTH:
        raise DataError(f"{path}: lists and structs lie more than {DEPTH} deep in each other; write them flatter")
    for group in range(head.num_row_groups):  # what is damaged is an error here, and below the end of the process
        list(file.reader.iter_batches(0, row_groups=[group], use_threads=False))
    groups = [head.row_group(group) for group in range(head.num_row_groups)]
    chunks = [group.column(leaf) for group in groups for leaf in range(head.num_columns)]
    if max(sum(one.total_uncompressed_size for one in chunks), _VALUE * sum(one.num_values for one in chunks)) > most:
        raise _too_large(path, most)


def _too_large(path: Path, most: int) -> DataError:
    return DataError(
        f"{path}: its values take more than {most:,} bytes in memory, the most that is read of a file of its size; "
        "write its rows into several files"
    )


def _depth(schema: pyarrow.Schema) -> int:
    level, depth = list(schema.types), 0
    while level := [kind.field(place).type for kind in level for place in range(kind.num_fields)]:
        depth += 1
    return depth


def _texts(file: pyarrow.parquet.ParquetFile) -> list[str]:
    """The paths of columns whose values have any length."""
    columns = (file.schema.column(leaf) for leaf in range(len(file.schema)))
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]


def _rows_at_once(
    file: pyarrow.parquet.ParquetFile,
    lengths: pyarrow.parquet.ParquetFile,
    group: int,
    path: Path,
    most: int,
) -> int:
    """How many rows of a group to read at once, so that they stay small though each has the longest values.

    A text that many rows share is in the file once, with a number in each row.
    """
    head = file.metadata.row_group(group)
    leaves = [(file.schema.column(leaf), head.column(leaf)) for leaf in range(head.num_columns)]
    longest = sum(leaf.length for leaf, _ in leaves if leaf.physical_type == "FIXED_LEN_BYTE_ARRAY")
    texts = [chunk for leaf, chunk in leaves if leaf.physical_type == "BYTE_ARRAY"]
    tables = [chunk for chunk in texts if TABLED.issuperset(chunk.encodings)]
    # where there is no table of the values, one may be as long as all, and repeat all of the one before it
    longest += sum(chunk.total_uncompressed_size for chunk in texts if not TABLED.issuperset(chunk.encodings))
    if tables and head.num_rows:
        names = [chunk.path_in_schema for chunk in tables]
        first = next(lengths.iter_batches(1, row_groups=[group], columns=names), None)
        longest += sum(_longest(column) for column in first.columns) if first is not None else 0
        if longest * sum(chunk.num_values for chunk in tables) > most:
            _check_texts(lengths, group, head.num_rows, names, path, most)
    return max(1, min(BATCH_ROWS, BATCH_BYTES // (int(longest) + 1)))


def _check_texts(
    lengths: pyarrow.parquet.ParquetFile, group: int, rows: int, names: list[str], path: Path, most: int
) -> None:
    """Refuse texts that are short in the file and long in memory; one row may have any number of them in a list."""
    import pyarrow

    try:
        taken = 0
        for batch in lengths.iter_batches(rows, row_groups=[group], columns=names):
            taken += sum(_taken(column) for column in batch.columns)
            if taken > most:
                raise _too_large(path, most)
    except pyarrow.ArrowCapacityError:  # more than 2 GB of texts that all differ: these do not grow
        return


def _encoded(column: pyarrow.Array) -> Iterator[pyarrow.DictionaryArray]:
    """The texts in a column, however nested, each with the table of those that differ."""
    import pyarrow

    level = [column]
    while level:
        array = level.pop()
        if pyarrow.types.is_dictionary(array.type):
            yield array
        elif pyarrow.types.is_struct(array.type):
            level += array.flatten()
        elif pyarrow.types.is_map(array.type):
            level += [array.keys, array.items]
        elif array.type.num_fields:
            level.append(array.flatten())


def _longest(column: pyarrow.Array) -> int:
    import pyarrow.compute

    tables = (array.dictionary for array in _encoded(column))
    return max((pyarrow.compute.max(pyarrow.compute.binary_length(table)).as_py() or 0 for table in tables), default=0)


def _taken(column: pyarrow.Array) -> int:
    import pyarrow.compute

    return sum(
        pyarrow.compute.sum(pyarrow.compute.binary_length(array.dictionary).cast("int64").take(array.indices)).as_py()
        or 0
        for array in _encoded(column)
    )


def _check_rows(batch: pyarrow.RecordBatch, path: Path, before: int) -> None:
    for row in range(batch.num_rows):
        if batch.slice(row, 1).nbytes > ROW_BYTES:
            raise DataError(f"{path}, row {before + row + 1}: more than {ROW_BYTES:,} bytes; give shorter rows")


def _in_python(batch: pyarrow.RecordBatch, path: Path, before: int) -> Iterator[dict[str, Any]]:
    import pyarrow

    # what pyarrow raises for values that Python has none for: dates beyond its years, unknown time zones, no UTF-8
    refused = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError, pyarrow.ArrowException)
    try:
        rows = _as_written(batch).to_pylist()
    except refused as unknown:
        for row in range(batch.num_rows):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                try:
                    column[row].as_py()
                except refused as error:
                    what = " ".join(str(error).split())
                    raise DataError(
                        f"{path}, row {before + row + 1}: {name!r:.80} is a {column.type!s:.80} that cannot be read "
                        f"({what:.200}); write it as UTF-8 text or a number, or leave the column out"
                    ) from error
        raise DataError(f"{path}, row {before + 1} or soon after cannot be read; write it again") from unknown
    yield from rows


def _as_written(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    """The batch with its numbers of 16 and 32 bits in 64, as the shortest decimals that they stand for.

    Python would make 0.1 of 32 bits 0.10000000149011612, which is another answer.
    """
    import pyarrow

    given = batch.columns
    columns = list(given)
    for place, column in enumerate(given):
        if pyarrow.types.is_float16(column.type):
            decimals = column.to_numpy(zero_copy_only=False).astype(str).astype(float)
            columns[place] = pyarrow.array(decimals, mask=column.is_null().to_numpy(zero_copy_only=False))
        elif (text := _of_type(column.type, pyarrow.string())) != column.type:
            with suppress(pyarrow.ArrowException):  # too many, or an old pyarrow: they stay as they are
                columns[place] = column.cast(text).cast(_of_type(column.type, pyarrow.float64()))
    changed = any(new is not old for new, old in zip(columns, given, strict=True))
    return pyarrow.RecordBatch.from_arrays(columns, names=batch.schema.names) if changed else batch


def _of_type(kind: pyarrow.DataType, wide: pyarrow.DataType) -> pyarrow.DataType:
    """A type with another one in place of its numbers of 32 bits, however nested."""
    import pyarrow

    types = pyarrow.types
    if types.is_float32(kind):
        return wide
    if types.is_dictionary(kind):
        return wide if types.is_float32(kind.value_type) else kind
    if types.is_struct(kind):
        return pyarrow.struct([field.with_type(_of_type(field.type, wide)) for field in kind])
    if types.is_map(kind):
        return pyarrow.map_(_of_type(kind.key_type, wide), _of_type(kind.item_type, wide))
    if types.is_list(kind):
        return pyarrow.list_(kind.value_field.with_type(_of_type(kind.value_type, wide)))
    if types.is_large_list(kind):
        return pyarrow.large_list(kind.value_field.with_type(_of_type(kind.value_type, wide)))
    if types.is_fixed_size_list(kind):
        return pyarrow.list_(kind.value_field.with_type(_of_type(kind.value_type, wide)), kind.list_size)
    return kind
