"""The task's questions as rows of verl's data format, and as parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leanthink.budgets import Budgets
from leanthink.prepare import verl_row, write_rows
from leanthink.testbed.task import Question, Split, Task, answer, questions

DATA_SOURCE = "leanthink/testbed"
TRAIN_ROWS, TEST_ROWS = 8192, 640
BUDGETS = Budgets(kind="both", low=12, high=84)
"""Columns only: the policy's vocabulary has no words for a budget, so no prompt says it."""


def row(question: Question, split: Split, index: int) -> dict[str, Any]:
    """One question as verl reads it, with a token budget for the recipes that need one.

    >>> row(Question(numbers=(30, 12), operators=("+",)), "train", 0)["reward_model"]
    {'style': 'rule', 'ground_truth': '42'}
    """
    return verl_row(
        prompt=question.text,
        answer=str(answer(question)),
        split=split,
        index=index,
        data_source=DATA_SOURCE,
        extra_info={"difficulty": question.difficulty, **BUDGETS.columns(question.text)},
    )


def rows(split: Split, count: int, seed: int, task: Task | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a split: a random mix of difficulties to train on, a balanced and distinct set to test on."""
    for index, question in enumerate(questions(split, count, seed, task)):
        yield row(question, split, index)


def write_parquet(
    folder: Path, *, train: int = TRAIN_ROWS, test: int = TEST_ROWS, seed: int = 0, task: Task | None = None
) -> dict[Split, Path]:
    """Write ``train.parquet`` and ``test.parquet`` into a folder, made if missing; return their paths by split."""
    counts: dict[Split, int] = {"train": train, "test": test}
    return write_rows(folder, {split: list(rows(split, n, seed, task)) for split, n in counts.items()}, force=True)
