"""The task's questions as rows of verl's data format, and as parquet files."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from leanthink.data.budgets import Budgets
from leanthink.data.prepare import verl_row, write_rows
from leanthink.rewards.effort_length import EFFORT
from leanthink.rewards.harmonizing_length import REFERENCE_ACCURACY, REFERENCE_LENGTH
from leanthink.rewards.level_length import LEVEL
from leanthink.testbed import MANIFEST
from leanthink.testbed.task import Question, Split, Task, answer, questions

DATA_SOURCE = "leanthink/testbed"
TRAIN_ROWS, TEST_ROWS = 8192, 640
BUDGETS = Budgets(kind="both", low=12, high=84)
"""Columns only: the policy's vocabulary has no words for a budget, so no prompt says it."""


@cache
def measured() -> Mapping[int, Mapping[str, float]]:
    """Mean tokens and accuracy of the shipped policy on held-out questions of each difficulty, from its manifest.

    >>> measured()[2]
    {'reference_length': 17.8574, 'reference_accuracy': 0.9805}
    """
    manifest = json.loads((files("leanthink.testbed") / "policy" / MANIFEST).read_text(encoding="utf-8"))
    return {
        int(difficulty): {REFERENCE_LENGTH: figures["mean_tokens"], REFERENCE_ACCURACY: figures["accuracy"]}
        for difficulty, figures in manifest["free"]["by_difficulty"].items()
    }


def row(question: Question, split: Split, index: int) -> dict[str, Any]:
    """One question as verl reads it, with the columns that some recipes need.

    They are a token budget, a level of brevity and one of effort, which no prompt says, and the policy's reference
    values for questions of its difficulty.

    >>> row(Question(numbers=(30, 12), operators=("+",)), "train", 0)["reward_model"]
    {'style': 'rule', 'ground_truth': '42'}
    """
    return verl_row(
        prompt=question.text,
        answer=str(answer(question)),
        split=split,
        index=index,
        data_source=DATA_SOURCE,
        extra_info={
            "difficulty": question.difficulty,
            **BUDGETS.columns(question.text),
            LEVEL: zlib.crc32(question.text.encode()) % 3,
            EFFORT: zlib.crc32(question.text.encode()) // 3 % 3,
            **measured().get(question.difficulty, {}),
        },
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
