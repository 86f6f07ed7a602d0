"""The task's questions as rows of verl's data format, and as parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leanthink.testbed.task import Question, Split, Task, answer, questions

DATA_SOURCE = "leanthink/testbed"
TRAIN_ROWS, TEST_ROWS = 8192, 640


def row(question: Question, split: Split, index: int) -> dict[str, Any]:
    """One question as verl reads it.

    >>> row(Question(numbers=(30, 12), operators=("+",)), "train", 0)["reward_model"]
    {'style': 'rule', 'ground_truth': '42'}
    """
    return {
        "data_source": DATA_SOURCE,
        "prompt": [{"role": "user", "content": question.text}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": str(answer(question))},
        "extra_info": {"index": index, "split": split, "difficulty": question.difficulty},
    }


def rows(split: Split, count: int, seed: int, task: Task | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a split: a random mix of difficulties to train on, a balanced and distinct set to test on."""
    for index, question in enumerate(questions(split, count, seed, task)):
        yield row(question, split, index)


def write_parquet(
    folder: Path, *, train: int = TRAIN_ROWS, test: int = TEST_ROWS, seed: int = 0, task: Task | None = None
) -> tuple[Path, Path]:
    """Write ``train.parquet`` and ``test.parquet`` into a folder, made if missing; return their paths."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "train.parquet", folder / "test.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows("train", train, seed, task))), paths[0])
    pq.write_table(pa.Table.from_pylist(list(rows("test", test, seed, task))), paths[1])
    return paths
