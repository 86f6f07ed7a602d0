"""What a row of a data set says of its prompt: messages, gold answer, columns; and verl's parquet files as TRL's data.

A row is verl's (``prompt``, ``reward_model.ground_truth``, ``extra_info``), or one of TRL's usual ones, with the answer
under a name of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from leanthink.core.errors import ConfigError, DependencyError
from leanthink.core.text import listed

VERLS: Final = "reward_model"
GOLDS: Final = ("answer", "solution", "gold", "ground_truth", "target")
"""The names that the gold answer is known by, the first that a row has; before them verl's."""


def messages_of(prompt: Any) -> list[Mapping[str, Any]]:
    """The messages of a prompt; a plain text is what a user says.

    >>> messages_of("1 + 1 =")
    [{'role': 'user', 'content': '1 + 1 ='}]
    """
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [dict(message) for message in prompt]


def gold_of(row: Mapping[str, Any], name: str | None = None) -> Any:
    """The gold answer of a row; None where it has none.

    Args:
        row: of the data set.
        name: its column, where it is none of the usual.

    Raises:
        ConfigError: there is no such column.

    >>> gold_of({"prompt": "1 + 1 =", "answer": "2"})
    '2'
    """
    if name is not None:
        if name not in row:
            raise ConfigError(f"gold: the data have no column {name!r}; they have {listed(row)}")
        return row[name]
    if isinstance(held := row.get(VERLS), Mapping):
        return held.get("ground_truth")
    found = next((known for known in GOLDS if known in row), None)
    if found is None:
        raise ConfigError(
            f"the data have no gold answer: none of {VERLS}.ground_truth, {', '.join(GOLDS)} among {listed(row)}; "
            "name its column with gold="
        )
    return row[found]


def columns_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says beside prompt and answer: its columns, and those below ``extra_info``, which win."""
    extra = row.get("extra_info")
    own = {name: value for name, value in row.items() if name not in ("prompt", VERLS, "extra_info")}
    return {**own, **(extra if isinstance(extra, Mapping) else {})}


def dataset(files: str | Path | Sequence[str | Path] | Iterable[Mapping[str, Any]], limit: int | None = None) -> Any:
    """A data set for TRL from parquet files as `leanthink prepare` writes them, or from rows.

    Args:
        files: a path, several, or rows as mappings.
        limit: how many of the first rows, at most; None, or below 0 as verl has it, for all.

    Raises:
        DependencyError: ``datasets`` is not installed.
    """
    try:
        from datasets import Dataset  # type: ignore[import-untyped]
    except ImportError as error:
        raise DependencyError("TRL's data need `datasets`; install it with `pip install 'leanthink[trl]'`") from error
    from leanthink.data.records import read_records

    given = [files] if isinstance(files, str | Path) else list(files)
    rows: list[dict[str, Any]] = []
    for one in given:
        if isinstance(one, Mapping):
            rows.append(dict(one))
        else:
            rows += [dict(record.fields) for record in read_records(Path(one))]
    return Dataset.from_list(rows if limit is None or limit < 0 else rows[:limit])
