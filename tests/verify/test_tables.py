r"""Every line of the tables of docs/reference/verifier.md: what is equal to what, and where the answer stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from leanthink.verify import Verdict, Verifier, extract_answer

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "verifier.md"


def rows(head: str) -> Iterator[list[list[str]]]:
    """The rows of the tables under a head: of each cell what stands between backticks."""
    inside = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            inside = False
        elif line.strip("| ") == head:
            inside = True
        elif inside and not line.startswith("|---"):
            yield [re.findall(r"`([^`]*)`", cell) for cell in line.strip("|").split(" | ")]


EQUALITY = list(rows("gold answer | equal | not equal"))
PLACES = list(rows("response | its answer"))


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(workers=1, deadline=60) as verifier:
        yield verifier


def test_the_tables_are_found() -> None:
    assert len(EQUALITY) >= 60 and len(PLACES) >= 10
    assert all(len(row) == 3 and len(row[0]) == 1 and row[1] and row[2] for row in EQUALITY)
    assert all(len(row) == 2 and len(row[0]) == len(row[1]) == 1 for row in PLACES)


@pytest.mark.parametrize("row", EQUALITY, ids=lambda row: row[0][0])
def test_what_is_equal_to_what(verifier: Verifier, row: list[list[str]]) -> None:
    (gold,), equal, different = row
    for answers, verdict in ((equal, Verdict.CORRECT), (different, Verdict.WRONG)):
        for answer in answers:
            judgement = verifier.check(gold, rf"So it is $\boxed{{{answer}}}$.")
            assert judgement.verdict is verdict, (gold, answer, judgement)


@pytest.mark.parametrize("row", PLACES, ids=lambda row: row[0][0])
def test_where_the_answer_is(row: list[list[str]]) -> None:
    (response,), (answer,) = row
    assert extract_answer(response) == answer
