"""A task's questions as rows of verl's data format, and as parquet files."""

from __future__ import annotations

import argparse
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from leanthink.data.budgets import Budgets
from leanthink.data.efforts import at_levels
from leanthink.data.prepare import verl_row, write_rows
from leanthink.rewards.effort_length import EFFORT
from leanthink.rewards.harmonizing_length import REFERENCE_ACCURACY, REFERENCE_LENGTH
from leanthink.rewards.level_length import LEVEL
from leanthink.testbed import MANIFEST
from leanthink.testbed.beds import DEFAULT, TESTBEDS, AnyTask, testbed_of
from leanthink.testbed.effort import LEVELS, Effort
from leanthink.testbed.task import Split

TRAIN_ROWS, TEST_ROWS = 8192, 640
BUDGETS = Budgets(kind="both", low=12, high=84)
"""Columns only: the policy's vocabulary has no words for a budget, so no prompt says it."""


@cache
def measured(testbed: str = "chains") -> Mapping[int, Mapping[str, float]]:
    """Mean tokens and accuracy of a shipped policy on held-out questions of each difficulty, from its manifest.

    >>> measured()[2]
    {'reference_length': 17.8574, 'reference_accuracy': 0.9805}
    """
    manifest = json.loads((files("leanthink.testbed") / "policies" / testbed / MANIFEST).read_text(encoding="utf-8"))
    return {
        int(difficulty): {REFERENCE_LENGTH: figures["mean_tokens"], REFERENCE_ACCURACY: figures["accuracy"]}
        for difficulty, figures in manifest["free"]["by_difficulty"].items()
    }


def row(question: Any, split: Split, index: int, task: AnyTask | None = None) -> dict[str, Any]:
    """One question as verl reads it, with the columns that some recipes need.

    They are a token budget, a level of brevity and one of effort, which no prompt says, and the policy's reference
    values for questions of its difficulty.

    >>> from leanthink.testbed import Question
    >>> row(Question(numbers=(30, 12), operators=("+",)), "train", 0)["reward_model"]
    {'style': 'rule', 'ground_truth': '42'}
    """
    testbed = testbed_of(task)
    return verl_row(
        prompt=question.text,
        answer=str(testbed.answer(question, task)),
        split=split,
        index=index,
        data_source=testbed.data_source,
        extra_info={
            "difficulty": question.difficulty,
            **BUDGETS.columns(question.text),
            LEVEL: zlib.crc32(question.text.encode()) % 3,
            **({} if isinstance(task, Effort) else {EFFORT: zlib.crc32(question.text.encode()) // 3 % 3}),
            **measured(testbed.name).get(question.difficulty, {}),
        },
    )


def rows(split: Split, count: int, seed: int, task: AnyTask | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a split: a random mix of difficulties to train on, a balanced and distinct set to test on.

    Of the effort task, each question comes at every level, one after another.
    """
    levels = len(LEVELS.levels) if isinstance(task, Effort) else 1
    plain = (
        row(question, split, index, task)
        for index, question in enumerate(testbed_of(task).questions(split, math.ceil(count / levels), seed, task))
    )
    if levels == 1:
        yield from plain
    else:
        yield from islice((one for each in plain for one in at_levels(each, LEVELS)), count)


def write_parquet(
    folder: Path, *, train: int = TRAIN_ROWS, test: int = TEST_ROWS, seed: int = 0, task: AnyTask | None = None
) -> dict[Split, Path]:
    """Write ``train.parquet`` and ``test.parquet`` into a folder, made if missing; return their paths by split."""
    counts: dict[Split, int] = {"train": train, "test": test}
    return write_rows(folder, {split: list(rows(split, n, seed, task)) for split, n in counts.items()}, force=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a testbed's questions into a folder, for a command that was pasted."""
    parser = argparse.ArgumentParser(prog="python -m leanthink.testbed.rows", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="made if missing")
    parser.add_argument("--testbed", choices=tuple(TESTBEDS), default=DEFAULT, help=f"default: {DEFAULT}")
    given = parser.parse_args(arguments)
    for path in write_parquet(given.folder, task=TESTBEDS[given.testbed].task).values():
        print(path)


if __name__ == "__main__":
    main()
