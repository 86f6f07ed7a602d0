"""Reading other people's files within limits: size, depth, aliases, finite numbers; errors with file and line."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, NoReturn

from leanthink.core.errors import DataError

TEXT_BYTES: Final = 64 << 20
"""The most that a JSON file may hold: a summary, a manifest, an index."""
LINE_BYTES: Final = 64 << 20
"""The most that a line of a JSONL file may hold: a response with all that is known of it."""
DEPTH: Final = 64
"""How deep lists and mappings may lie in each other."""
BYTE_ORDER_MARK: Final = "\ufeff"  # which Windows programs write before a text, and which is no part of it
DIGITS: Final = 300
"""The most digits of a number: what has more is no float."""


def regular_file(path: Path) -> BinaryIO:
    """A file, opened to read its bytes.

    Raises:
        DataError: it is a folder, a pipe or a device.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for a writer
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError(f"{path} is no file; give a file")
    return open(descriptor, "rb")


def read_text(path: Path, most: int = TEXT_BYTES) -> str:
    """The text of a file.

    Raises:
        DataError: it is no file, cannot be read, is larger than ``most`` bytes, or no UTF-8.
        FileNotFoundError: there is none.
    """
    try:
        with regular_file(path) as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # a path with a null byte is a ValueError
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}; check the path") from error
    if len(content) > most:
        raise DataError(f"{path} holds more than {most:,} bytes, the most that is read of such a file; check the path")
    try:
        return content.decode("utf-8").removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line} is no UTF-8 text; save it as UTF-8") from error


def parse_json(text: str, place: str, *, line: int | None = None, nan: bool = False) -> Any:
    """The content of a JSON text.

    Args:
        text: one value.
        place: the file, for errors.
        line: where in the file the text stands; None where it is the whole file.
        nan: whether ``NaN`` and ``Infinity`` may stand for numbers, as Python writes them.

    Raises:
        DataError: naming file and line, what is wrong and what is allowed.

    >>> parse_json('{"step": 3}', "here")
    {'step': 3}
    """

    def refuse(what: str, at: int | None = None) -> NoReturn:
        number = line if line is not None else at
        where = place if number is None else f"{place}, line {number}"
        raise DataError(f"{where}: {what}")

    def whole(digits: str) -> int:
        if len(digits) > DIGITS:
            refuse(f"a number of {len(digits)} digits; give up to {DIGITS}", _line_of(text, digits))
        return int(digits)

    def decimal(digits: str) -> float:
        if len(digits) > 10 * DIGITS or not math.isfinite(value := float(digits)):
            refuse(f"{digits:.40} is no finite number; give one up to 1e308", _line_of(text, digits))
        return value

    def constant(word: str) -> float:
        if not nan:
            refuse(f"{word} is no finite number; give one, or null", _line_of(text, word))
        return float(word.lower().replace("infinity", "inf"))

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            refuse(f"key {repeated(name for name, _ in pairs)!r:.80} is given twice in an object; keep one")
        return made

    try:
        content = json.loads(text, parse_constant=constant, object_pairs_hook=unique)
        if not _plain(content):  # a call for each number would take most of the time, so only where one is strange
            content = json.loads(text, parse_int=whole, parse_float=decimal, parse_constant=constant)
    except DataError:
        raise
    except RecursionError:
        refuse(f"lists and objects lie more than {DEPTH} deep in each other; write them flatter")
    except ValueError as error:
        if "int_max_str_digits" in str(error):
            json.loads(text, parse_int=whole)  # which tells the number
        if line is None:
            raise DataError(f"{place} is no JSON ({error})") from error
        refuse(f"no JSON ({error}); write one JSON object a line")
    return content


def repeated(names: Iterable[str]) -> str | None:
    """The first name that comes a second time; None where each comes once.

    >>> repeated("abcb"), repeated("abc")
    ('b', None)
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _plain(content: Any) -> bool:
    """Whether all numbers are those of a float.

    Raises:
        RecursionError: lists and objects lie deeper than is allowed.
    """
    level, depth = [content], 0
    while level:
        below: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is float:
                if value - value != 0:
                    return False
            elif kind is int:
                if value.bit_length() > 996:  # 300 digits
                    return False
            elif kind is dict:
                below.append(value.values())
            elif kind is list:
                below.append(value)
        if below:
            depth += 1
            if depth > DEPTH:
                raise RecursionError
        level = [inner for outer in below for inner in outer]
    return True


def _line_of(text: str, piece: str) -> int:
    return text.count("\n", 0, max(text.find(piece), 0)) + 1


def read_json(path: Path, *, nan: bool = False) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: as `read_text` and `parse_json`.
        FileNotFoundError: there is none.
    """
    return parse_json(read_text(path), str(path), nan=nan)


def read_object(path: Path, *, nan: bool = False) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        DataError: as `read_json`; also where it holds something else.
        FileNotFoundError: there is none.
    """
    content = read_json(path, nan=nan)
    if not isinstance(content, dict):
        raise DataError(f"{path} holds {_called(content)} instead of an object; write {{...}}")
    return content


def read_jsonl(path: Path, *, whole: bool = True, nan: bool = True) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file, one by one.

    Args:
        path: the file.
        whole: whether the file is complete; else a last line that is still being written is left out.
        nan: whether ``NaN`` may stand for a number, as trainers write it.

    Raises:
        DataError: naming file and line, or it is no file.
        OSError: the file cannot be read.
    """
    for line in lines_of(path, whole=whole):
        if line.text.strip():
            yield row_of(line.text, path, line.number, nan=nan)


def row_of(line: str, path: Path, number: int, *, nan: bool = True) -> dict[str, Any]:
    """The object of one line.

    Raises:
        DataError: naming file and line.
    """
    row = parse_json(line, str(path), line=number, nan=nan)
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number}: {_called(row)} instead of an object; write {{...}}")
    return row


class Line(NamedTuple):
    """A line of a file: its number, from 1, the bytes ``[begin, end)`` it takes, and its text."""

    number: int
    begin: int
    end: int
    text: str


def lines_of(path: Path, *, whole: bool = True, begin: int = 0, number: int = 0, named: bool = False) -> Iterator[Line]:
    """The lines of a text file; from the byte ``begin`` on, before which there are ``number`` lines.

    Where somebody ``named`` it, it may be a pipe; what is found in a folder may not, for nobody may ever write to it.

    Raises:
        DataError: a line is too long, or no UTF-8; or it is no file.
        OSError: the file cannot be read.
    """
    with path.open("rb") if named else regular_file(path) as file:
        if begin:
            file.seek(begin)
        while line := file.readline(LINE_BYTES + 1):
            number += 1
            if len(line) > LINE_BYTES:
                raise DataError(f"{path}, line {number}: more than {LINE_BYTES:,} bytes; give shorter lines")
            if not whole and not line.endswith(b"\n"):
                return
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{path}, line {number} is no UTF-8 text ({error}); save it as UTF-8") from error
            yield Line(number, begin, begin + len(line), text if begin else text.removeprefix(BYTE_ORDER_MARK))
            begin += len(line)


def whole_number(value: Any, place: str) -> int:
    """A whole number, which may be written as a float.

    Raises:
        DataError: it is none.

    >>> whole_number(3.0, "here")
    3
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value % 1 != 0:
        raise DataError(f"{place}: {value!r:.80} is no whole number; give one")
    return int(value)


def _called(content: Any) -> str:
    return {list: "list", str: "str", int: "int", float: "float", bool: "bool"}.get(type(content), "null")
