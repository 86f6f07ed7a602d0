from __future__ import annotations

from typing import Any

import pytest

from leanthink.core.errors import ConfigError
from leanthink.rewards import Format, TagPair

EXAMPLES = [
    Format(),
    Format(kept=0.0, broken=-1, opened_by_prompt=True),
    Format(answer_tags=("<answer>", "</answer>"), strict=True),
    TagPair(),
    TagPair(open_tag="<think>", close_tag="</think>", apart_from=("<answer>", "</answer>")),
]

CASES = [
    ("<think> 2+2 </think> 4", True, False),
    ("\n <think>2+2</think>\n\n4\n", True, False),
    ("<think></think>4", True, False),
    ("2+2 </think> 4", False, True),
    ("</think> 4", False, True),
    ("<think> 2+2 </think> ", False, False),
    ("<think> 2+2", False, False),
    ("4", False, False),
    ("", False, False),
    ("so <think> 2+2 </think> 4", False, False),
    ("<think> a </think> b </think> c", False, False),
    ("<think> a <think> b </think> c", False, False),
    ("<think> a </think> b <think> c", False, False),
    ("<think> a </think> b <think> c </think> d", False, False),
    ("</think> <think> 4", False, False),
]


@pytest.mark.parametrize(("text", "whole", "opened"), CASES)
def test_structure(text: str, whole: bool, opened: bool) -> None:
    assert Format().measure(text) == float(whole)
    assert Format(opened_by_prompt=True).measure(text) == float(opened)


def test_tags_and_values_are_settings() -> None:
    reward = Format(open_tag="[", close_tag="]", kept=0.0, broken=-0.5)
    assert reward.measure("[2+2] 4") == 0.0 and reward.measure("<think> 2+2 </think> 4") == -0.5


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("<think> 2+2 </think> <answer> 4 </answer>", True),
        ("<think>2+2</think>\n<answer>4</answer>\n", True),
        ("<think> a < b </think><answer> a < b </answer>", True),
        ("<think> 2+2 </think> 4", False),
        ("<think> 2+2 </think> so <answer> 4 </answer>", False),
        ("<think> 2+2 </think> <answer> 4 </answer> so", False),
        ("<think> 2+2 </think> <answer> </answer>", False),
        ("<think> 2+2 </think> <answer> 4", False),
        ("<think> <answer> 4 </answer> </think> <answer> 4 </answer>", False),
        ("<think> 2+2 </think> <answer> 4 </answer> <answer> 4 </answer>", False),
        ("<answer> 4 </answer> <think> 2+2 </think>", False),
    ],
)
def test_an_answer_between_tags(text: str, whole: bool) -> None:
    assert Format(answer_tags=("<answer>", "</answer>")).measure(text) == float(whole)


@pytest.mark.parametrize(
    ("text", "whole", "tagged"),
    [
        ("<think> 2+2 </think> 4", True, False),
        ("\n<think> 2+2 </think> 4", False, False),
        ("<think> a < b </think> 4", False, False),
        ("<think> 2+2 </think> a < b", False, False),
        ("<think> </think> 4", False, False),
        ("<think>2+2</think><answer>4</answer>", False, True),
        ("<think>2+2</think>\n<answer>4</answer>\n", False, True),
        ("<think>2+2</think>\n<answer>4</answer>\n\n", False, False),
        ("<think>2+2</think>\n<answer>4</answer> ", False, False),
        ("<think>2+2</think><answer>a < b</answer>", False, False),
    ],
)
def test_the_strict_rule_refuses_any_sign_of_a_tag(text: str, whole: bool, tagged: bool) -> None:
    assert Format(strict=True).measure(text) == float(whole)
    assert Format(strict=True, answer_tags=("<answer>", "</answer>")).measure(text) == float(tagged)


THINK, ANSWER = ("<think>", "</think>"), ("<answer>", "</answer>")


@pytest.mark.parametrize(
    ("text", "think", "answer"),
    [
        ("<think> 2+2 </think> <answer> 4 </answer>", 1, 1),
        ("<think> 2+2 </think> 4", 1, 0),
        ("<answer> 4 </answer>", 0, 1),
        ("<think> 2+2 <answer> 4 </answer>", 0, 1),
        ("</think> 2+2 <think> <answer> 4 </answer>", 0, 1),
        ("<think> a </think> <think> b </think> <answer> 4 </answer>", 0, 1),
        ("<think> 2+2 <answer> </think> 4 </answer>", 0, 0),  # they overlap
        ("<think> 2+2 <answer> 4 </answer> </think>", 0, 0),
        ("4", 0, 0),
        ("", 0, 0),
    ],
)
def test_each_pair_of_tags_apart_from_the_other(text: str, think: int, answer: int) -> None:
    assert TagPair(open_tag="<think>", close_tag="</think>", apart_from=ANSWER).measure(text) == think
    assert TagPair(apart_from=THINK).measure(text) == answer
    opened = TagPair(open_tag="<think>", close_tag="</think>", apart_from=ANSWER, opened_by_prompt=True)
    assert opened.measure(text.removeprefix("<think>")) == (think if text.startswith("<think>") else 0)


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        (Format, {"open_tag": ""}),
        (Format, {"close_tag": ""}),
        (Format, {"answer_tags": ("<answer>", "")}),
        (TagPair, {"open_tag": ""}),
        (TagPair, {"close_tag": ""}),
        (TagPair, {"apart_from": ("", "</think>")}),
    ],
)
def test_empty_tags_are_refused(part: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="may not be empty"):
        part(**settings)
