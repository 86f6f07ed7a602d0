"""What relations say of one another, and what a chain of them names."""

from __future__ import annotations

import pytest

from leanthink.verify.compare import compare
from leanthink.verify.reading import read
from leanthink.verify.relations import labelled
from leanthink.verify.values import Relation


@pytest.mark.parametrize(
    ("chain", "named"),
    [
        (r"x = \sqrt{2} \approx 1.41", r"\sqrt{2}"),
        (r"x = \sqrt{8} = 2\sqrt{2} \approx 2.83", r"2\sqrt{2}"),
        (r"\frac{22}{7} \approx 3.14", r"\frac{22}{7}"),
        (r"x = \sqrt{2} \approx 1.5", None),
        (r"x = \sqrt{2} \approx 1.41 = 1.41", None),
    ],
)
def test_what_is_rounded_only_says_again_what_stands_before_it(chain: str, named: str | None) -> None:
    relation = read(chain)
    assert isinstance(relation, Relation)
    assert labelled(relation) == (None if named is None else read(named))


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        (r"\sin^2 x + \cos^2 x = 1", "x = y", False),  # one holds everywhere
        ("x = y", r"\sin^2 x + \cos^2 x = 1", False),
        (r"\sin^2 x + \cos^2 x = 1", r"\sin 2x = 2 \sin x \cos x", None),  # so do both: no number tells them apart
        ("x = y", "2x - 2y = 0", True),
        ("x < y", "y > x", True),
        ("x < y", "x > y", False),
    ],
)
def test_equations_that_hold_everywhere_are_no_multiple_of_others(gold: str, answer: str, equal: bool | None) -> None:
    assert compare(read(gold), read(answer)).equal is equal
