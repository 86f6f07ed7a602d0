"""From questions and answers to the parquet files verl reads: prompts by a template, and a split that stays put.

A question's split depends on a hash of its text alone: rows added later move no other, and the same question lands on
one side however often it stands in the data.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from leanthink.core.errors import DataError, DependencyError
from leanthink.core.text import first_unstorable
from leanthink.data.fields import SOURCE
from leanthink.data.parquet import is_wide, write_parquet
from leanthink.data.questions import (
    ANSWERS,
    DIFFICULTY,
    QUESTIONS,
    Settings,
    Split,
    answers_of,
    audited,
    field_of,
    messages_of,
    question_of,
)
from leanthink.data.records import ENDINGS, Record, read_records
from leanthink.files.writing import whole_file

TYPES: Final = ("a field has values of different types", "give every field that is kept one type")

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The rows of each split and what happened on the way.

    Attributes:
        rows: verl's rows by split; a split that was not asked for is not there.
        read: rows read.
        duplicates: rows left out because an earlier one has their question.
        notices: what the reader should know.
    """

    rows: Mapping[Split, Sequence[Mapping[str, Any]]]
    read: int
    duplicates: int
    notices: Sequence[str] = field(default_factory=tuple)


def verl_row(
    *, prompt: str, answer: str, split: Split, index: int, data_source: str, extra_info: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """One question as verl reads it; ``extra_info`` joins the row's index and split.

    >>> verl_row(prompt="1 + 1 =", answer="2", split="train", index=0, data_source="sums")["reward_model"]
    {'style': 'rule', 'ground_truth': '2'}
    """
    return {
        "data_source": data_source,
        "prompt": [{"role": "user", "content": prompt}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": answer},
        "extra_info": {"index": index, "split": split, **(extra_info or {})},
    }


def free_paths(folder: Path, splits: Iterable[Split], *, force: bool = False) -> dict[Split, Path]:
    """Where the splits go.

    Raises:
        DataError: a file is there already and ``force`` is not set.
    """
    paths = {split: folder / f"{split}.parquet" for split in splits}
    standing = [path for path in paths.values() if path.exists()]
    if standing and not force:
        raise DataError(f"{standing[0]} is there already; give another folder, or --force to overwrite it")
    return paths


def write_rows(
    folder: Path, rows: Mapping[Split, Sequence[Mapping[str, Any]]], *, force: bool = False
) -> dict[Split, Path]:
    """Write ``train.parquet`` and ``test.parquet`` into a folder, made if missing; whole files or none.

    Raises:
        DataError: a file is there already and ``force`` is not set, or a field has values of different types, or whole
            numbers that are too wide.
        WriteError: the folder cannot be written.
    """
    paths = free_paths(folder, rows, force=force)
    try:
        with ExitStack() as stack:
            parts = {split: stack.enter_context(whole_file(path)) for split, path in paths.items()}
            for split, part in parts.items():
                write_parquet(rows[split], part, f"cannot write {paths[split]}", *TYPES)
    except UnicodeEncodeError as error:
        split, place = next(
            (split, place) for split, own in rows.items() if (place := first_unstorable(own)) is not None
        )
        raise DataError(
            f"cannot write to {folder}: row {place + 1} of {split} holds half of a surrogate pair ({error.reason}); "
            "replace it, as leanthink.core.text.storable does"
        ) from error
    return paths


def read_source(source: str, *, subset: str | None = None, split: str = "train") -> list[Record]:
    """The rows of a JSONL or parquet file, or of a data set on the Hub.

    Raises:
        DataError: it is neither, or it cannot be read.
        DependencyError: a Hub name, and the library ``datasets`` is missing.
    """
    path = Path(source)
    if path.is_dir():
        raise DataError(f"{source} is a folder; give one file ending in {' or '.join(ENDINGS)}")
    if path.exists() or path.suffix.lower() in ENDINGS or not _HUB_NAME.fullmatch(source):
        return read_records(path)
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise DependencyError(
            f"no file {source}, and reading it from the Hub needs datasets, which is not installed; "
            "run `pip install datasets`, or give a file"
        ) from error
    try:
        rows = datasets.load_dataset(source, subset, split=split, **_without_code(datasets.load_dataset))
    except Exception as error:  # of every kind: no network, no such name, a subset to choose, a broken file
        raise DataError(
            f"no file {source}, and no data set from the Hub (subset {subset!r}, split {split!r}): "
            f"{type(error).__name__}: {' '.join(str(error).split())[:300]}; check name, --subset, --split and the "
            "network, or download the data and give the file"
        ) from error
    records = [Record(fields=dict(row), file=path, line=number) for number, row in enumerate(rows, 1)]
    if not records:
        raise DataError(f"{source}, split {split!r}, is empty; choose another split")
    return records


def _without_code(load: Callable[..., Any]) -> dict[str, bool]:
    """What keeps ``datasets`` from offering to run a script of the data set's; its newer versions run none."""
    name = "trust_remote_code"
    return {name: False} if name in inspect.signature(load).parameters else {}


def prepare(records: Sequence[Record], settings: Settings) -> Prepared:
    """Rows for verl, split and without repeated questions.

    Raises:
        DataError: a row without question or answer, named; or a split that would be empty.
    """
    settings = replace(
        settings,
        question_field=field_of(records, settings.question_field, QUESTIONS, "question"),
        answer_field=field_of(records, settings.answer_field, ANSWERS, "answer"),
    )
    answers, notices = answers_of(records, settings)
    read = len(records)
    places, told = audited(records, answers, settings)
    records, answers = [records[place] for place in places], [answers[place] for place in places]
    notices += told
    for name in settings.keep:
        if lacking := sum(not record.has(name) for record in records):
            notices.append(f"{lacking} of {len(records)} rows have no {name!r}, which --keep asks for: null there")
    questions = [question_of(record, str(settings.question_field)) for record in records]
    extra = _extra_info(records, settings)
    first: dict[str, int] = {}
    other_answer: list[tuple[int, int]] = []
    for row, question in enumerate(questions):
        kept = first.setdefault(_plain(question), row)
        if answers[kept] != answers[row]:
            other_answer.append((kept, row))
    if other_answer:
        kept, row = other_answer[0]
        notices.append(
            f"{len(other_answer)} duplicates answer differently from the row that was kept, as {records[row].place} "
            f"({answers[row]!r}) from line {records[kept].line} ({answers[kept]!r}): check which is right"
        )
    test = _test_side(list(first), settings)
    splits: dict[Split, list[dict[str, Any]]] = {split: [] for split in settings.splits}
    for question, row in first.items():
        split: Split = "test" if question in test else "train"
        splits[split].append(_row(records[row], questions[row], answers[row], split, places[row], extra[row], settings))
    for split, rows in splits.items():
        if not rows:
            raise DataError(
                f"no question of {len(first)} falls into the {split} split with test share {settings.test_share:g}; "
                "choose another --test-share, or give --test-size"
            )
    return Prepared(rows=splits, read=read, duplicates=len(records) - len(first), notices=notices)


def _row(
    record: Record,
    question: str,
    answer: str,
    split: Split,
    index: int,
    extra: Mapping[str, Any],
    settings: Settings,
) -> dict[str, Any]:
    """A row for verl; of one that is in verl's schema already, its messages, source and further facts stay."""
    given = record.get("extra_info")
    known = dict(given) if isinstance(given, Mapping) else {}
    row = verl_row(
        prompt=settings.prompt(question),
        answer=answer,
        split=split,
        index=index,
        data_source=settings.data_source,
        extra_info={**{name: value for name, value in known.items() if name not in ("index", "split")}, **extra},
    )
    messages = messages_of(record, str(settings.question_field))
    if messages is not None:
        row["prompt"] = messages
        row["data_source"] = str(record.get(SOURCE) or settings.data_source)
        row["ability"] = str(record.get("ability") or row["ability"])
    return row


def held_out(question: str, test_share: float, seed_text: str = "leanthink") -> bool:
    """Whether a question belongs to the test split: a hash of its text, so the same wherever and whenever it is asked.

    >>> held_out("What is 1 + 1?", 1.0), held_out("What is 1 + 1?", 0.0)
    (True, False)
    """
    return share_of(question, seed_text) < test_share


def share_of(text: str, seed_text: str) -> float:
    """A number in [0, 1) that a text stands for, uniform over texts; blanks do not count."""
    return _hash(_plain(text), seed_text)


def _test_side(questions: Sequence[str], settings: Settings) -> set[str]:
    """The questions that are held out."""
    if settings.test_size is None:
        return {question for question in questions if held_out(question, settings.test_share, settings.seed_text)}
    if settings.test_size >= len(questions):
        raise DataError(
            f"test size {settings.test_size} leaves nothing to train on: there are {len(questions)} questions; "
            "give less"
        )
    order = partial(_hash, seed_text=settings.seed_text)
    return set(sorted(questions, key=order)[: settings.test_size])


def _hash(question: str, seed_text: str) -> float:
    """A number in [0, 1) that a text stands for."""
    digest = hashlib.sha256(f"{seed_text}\0{question}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48  # 48 bits divide exactly


def _plain(question: str) -> str:
    """The text by which questions are told apart: blanks do not count."""
    return " ".join(question.split())


def _extra_info(records: Sequence[Record], settings: Settings) -> list[dict[str, Any]]:
    """What goes into ``extra_info``: the difficulty and the fields to keep, the same for every row."""
    columns: dict[str, list[Any]] = {}
    for name in settings.keep:
        if not any(record.has(name) for record in records):
            bare = records[0]
            raise DataError(f"{bare.place}: no {name!r}, which --keep asks for (the row has: {', '.join(bare.fields)})")
        columns[name] = [record.get(name) for record in records]
    source = next((name for name in DIFFICULTY if any(record.has(name) for record in records)), None)
    if source is not None:
        columns["difficulty"] = _one_type(record.fields.get(source) for record in records)
    return [{name: values[row] for name, values in columns.items()} for row in range(len(records))]


def _one_type(values: Iterable[Any]) -> list[Any]:
    """Whole numbers of 64 bits where all are, else text; empty where there is none: a parquet column has one type."""
    values = list(values)
    if all(isinstance(value, int) and not isinstance(value, bool) and not is_wide(value) for value in values):
        return values
    return ["" if value is None else str(value) for value in values]
