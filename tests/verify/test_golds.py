"""What data hold as gold answers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from leanthink.core.errors import ConfigError, DataError
from leanthink.data.fields import gold_of
from leanthink.data.records import Record
from leanthink.verify import Verdict, Verifier, bad_golds, gold_text


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(workers=1) as made:
        yield made


@pytest.mark.parametrize(
    ("value", "any_of", "all_of"),
    [
        ("18", "18", "18"),
        (18, "18", "18"),
        (0.5, "0.5", "0.5"),
        (numpy.int64(3), "3", "3"),
        (numpy.float64(0.1), "0.1", "0.1"),
        (numpy.float32(0.1), "0.1", "0.1"),
        (numpy.float16(3.7), "3.7", "3.7"),
        (numpy.float32(18), "18.0", "18.0"),
        (numpy.array(0.1, numpy.float32), "0.1", "0.1"),
        (numpy.array([0.1, 3.7], numpy.float32), '["0.1", "3.7"]', "0.1, 3.7"),
        ([numpy.float32(0.1), numpy.int64(3)], '["0.1", "3"]', "0.1, 3"),
        (torch.tensor(0.1), "0.1", "0.1"),
        (["4"], '["4"]', "4"),
        (["1/2", 0.5], '["1/2", "0.5"]', "1/2, 0.5"),
        (numpy.array(["a", "b"]), '["a", "b"]', "a, b"),
        ('["3", "4"]', '["3", "4"]', "3, 4"),
        ('["3"', '["3"', '["3"'),
        ("[3, 4]", "[3, 4]", "[3, 4]"),
    ],
)
def test_one_answer_or_several(value: Any, any_of: str, all_of: str) -> None:
    assert (gold_text(value), gold_text(value, "all")) == (any_of, all_of)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "stands for no answer; drop the row"),
        (math.nan, "nan stands for no answer"),
        (True, "write it as responses do"),
        ({"a": "4"}, "is a mapping; name the field within it"),
        ([], "an empty list"),
        ([["4"]], "is no answer; give one answer as text or a number"),
        ([None], "stands for no answer"),
        (numpy.float32("nan"), "nan stands for no answer"),
        ([numpy.array(["4"])], "is no answer; give one answer as text or a number"),
    ],
)
def test_what_is_no_answer_says_the_cure(value: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        gold_text(value)


DEEP = '["a",' + "[" * 100_000  # deeper than Python's own calls may lie in each other


def test_lists_without_end_are_no_answer(verifier: Verifier) -> None:
    with pytest.raises(
        ValueError, match=r'^\["a",\[+\.\.\., lists within lists, is no answer; give one answer as text'
    ):
        gold_text(DEEP)
    record = Record(fields={"gold": DEEP}, file=Path("d.jsonl"), line=3)
    with pytest.raises(DataError, match=r"^d.jsonl, line 3: 'gold' is \[") as caught:
        gold_of(record, "gold")
    assert len(str(caught.value)) < 300
    assert verifier.check(DEEP, r"\boxed{a}").verdict is Verdict.UNKNOWN
    assert bad_golds([DEEP, "4"], verifier) == {}  # as any text, it matches itself


def test_lists_are_meant_one_way_or_the_other() -> None:
    with pytest.raises(ConfigError, match="gold lists are 'some'; give any or all"):
        gold_text("4", "some")  # type: ignore[arg-type]


def test_any_alternative_is_right_and_all_are_asked_for(verifier: Verifier) -> None:
    value = ["3", "-3"]
    verdicts = [
        [str(verifier.check(gold_text(value, lists), response).verdict) for lists in ("any", "all")]  # type: ignore[arg-type]
        for response in (r"\boxed{3}", r"\boxed{-3}", r"\boxed{3, -3}", r"\boxed{4}")
    ]
    assert verdicts[0] == verdicts[1] == ["correct", "wrong"]
    assert verdicts[2][1] == "correct" and verdicts[3] == ["wrong", "wrong"]


@pytest.mark.parametrize(
    "gold", ["so 4 #### 4", "so\n#### 4", "#### 4\n", "#### 4\nwhich was asked", r"So $\boxed{4}$."]
)
def test_whole_solutions_are_read_for_their_answer(verifier: Verifier, gold: str) -> None:
    assert [str(verifier.check(gold, rf"\boxed{{{n}}}").verdict) for n in (4, 5)] == ["correct", "wrong"]


GOOD = ["18", "-0.5", r"\frac{1}{2}", "x=3", "(B)", "yes", "12 apples", "{1, 2}", '["3", "4"]', "50%", "(0, 1]"]
BAD = [
    "so #### proof",
    "so\n#### None",
    r"\boxed{proof}",
    "proof",
    "Proof",
    "notfound",
    "None",
    "nan",
    "",
    " ",
    "N/A",
    "null",
    "???",
    "...",
]


@pytest.mark.parametrize("gold", [*GOOD, "So 3 of 4.\n#### 72", r"Then $x=3$, so it is $\boxed{3}$."])
def test_answers_match_themselves(verifier: Verifier, gold: str) -> None:
    assert bad_golds([gold], verifier) == {}


@pytest.mark.parametrize("gold", [*BAD, "The sum is finite, for each of its terms is smaller than the one before it."])
def test_what_no_response_can_match_is_named_with_the_reason(verifier: Verifier, gold: str) -> None:
    assert bad_golds(["7", gold, gold], verifier).keys() == {gold}


def test_a_task_of_its_own_reads_golds_its_own_way() -> None:
    with Verifier(workers=1, task="choice") as verifier:
        assert bad_golds(["B", "(c)"], verifier) == {}
        assert bad_golds(["maybe"], verifier).keys() == {"maybe"}
