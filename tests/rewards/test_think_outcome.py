"""The outcome of VSRM's code, arXiv 2508.10293."""

from __future__ import annotations

import pytest

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.rewards import ThinkOutcome
from leanthink.rewards.think_outcome import has_box
from leanthink.verify.judge import judge

EXAMPLES = [ThinkOutcome(no_box=0.0, no_block=0.0)]  # with its penalties, form comes before correctness

BLOCK = "<think> 1 / 2 </think>"


def outcome(text: str, correct: int, reward: ThinkOutcome | None = None) -> float:
    reward = reward or ThinkOutcome()
    batch = RolloutBatch.of(group=[0], length=[9], correct=[correct]).replace(
        extras={reward.column: [reward.measure(text)]}
    )
    return float(reward(batch)[0])


@pytest.mark.parametrize(
    ("text", "correct", "expected"),
    [
        (rf"{BLOCK} \boxed{{0.5}}", 1, 1.0),
        (rf"{BLOCK} \boxed{{3}}", 0, 0.0),
        (f"{BLOCK} It is 3.", 0, -9.5),
        (rf"{BLOCK} It is \boxed{{3", 0, -9.5),
        (r"<think> 1 / 2 \boxed{0.5}", 1, -10.0),
        (r"</think> <think> \boxed{0.5}", 1, -10.0),
        ("", 0, -10.0),
        (r"<think> \boxed{0.5} </think> done", 1, 1.0),  # a box in the thinking counts if it is the last
    ],
)
def test_worked_example(text: str, correct: int, expected: float) -> None:
    assert outcome(text, correct) == expected


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        ("0.5", "50", "wrong"),
        ("50", "0.5", "wrong"),
        ("1000", "1000.05", "wrong"),
        ("0.5", r"50\%", "correct"),
        ("50", r"50\%", "correct"),
    ],
)
def test_only_a_written_percentage_is_a_hundred_times_its_fraction(gold: str, answer: str, verdict: str) -> None:
    """VSRM's code takes all of these for right."""
    assert judge(gold, answer, "boxed")[0] == verdict


def test_a_prompt_may_open_the_thinking() -> None:
    text = r"1 / 2 </think> \boxed{0.5}"
    assert outcome(text, 1) == -10.0
    assert outcome(text, 1, ThinkOutcome(opened_by_prompt=True)) == 1.0


@pytest.mark.parametrize(
    ("text", "boxed"),
    [
        (r"\boxed{\frac{1}{2}}", True),
        (r"\boxed {5}", True),
        (r"\boxed 5", True),
        (r"\fbox{5}", True),
        (r"\boxed{\{1, 2\}}", True),
        (r"\boxed{\{1, 2\}", False),
        (r"\boxed{1} and \boxed{2", False),
        (r"\boxed", False),
        (r"\boxed ", False),
        (r"\boxedly{5}", False),
        ("5", False),
    ],
)
def test_a_box_counts_if_the_last_one_closes(text: str, boxed: bool) -> None:
    assert has_box(text) is boxed


def test_the_three_cases_add_up() -> None:
    reward = ThinkOutcome()
    forms = [2.0, 2.0, 1.0, 0.0]
    batch = RolloutBatch.of(group=[0] * 4, length=[9] * 4, correct=[1, 0, 0, 1]).replace(extras={reward.column: forms})
    result = reward.breakdown(batch)
    assert {name: part.tolist() for name, part in result.parts.items()} == {
        "answered": [1.0, 0.0, 0.0, 0.0],
        "no_box": [0.0, 0.0, -9.5, 0.0],
        "no_block": [0.0, 0.0, 0.0, -10.0],
    }
    assert sum(result.parts.values()).tolist() == result.reward.tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "settings", [{"right": 0.0}, {"no_box": 0.5}, {"no_block": 0.1}, {"open_tag": ""}, {"close_tag": ""}]
)
def test_wrong_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="think_outcome: "):
        ThinkOutcome(**settings)  # type: ignore[arg-type]
