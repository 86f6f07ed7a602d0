"""The conciseness reward function, arXiv 2511.09158."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.schedules import Linear
from leanthink.recipe.definition import load_recipe
from leanthink.rewards import Conciseness, ConcisenessScore, Correct, Truncation
from leanthink.rewards.conciseness import Difficulty
from leanthink.testing import Columns
from oracles import Groups, Numbers

PART = ConcisenessScore(scorer="leanthink.testbed.scorer:few_rechecks")
SERVED = ConcisenessScore(scorer="leanthink.verl.rollout.reward_model:conciseness")  # no model is served to a test

EXAMPLES = [
    PART,
    Conciseness(scores=PART, alpha=0.5, annealing=Linear(start=1.0, stop=0.0, steps=30)),
    Conciseness(scores=PART, alpha=2.0, difficulty="column", of=Correct(wrong=-1.0)),
]
COLUMNS: Columns = {
    SERVED.column: lambda generator, n: 0.1 + 0.9 * torch.rand(n, generator=generator),
    "prompt_difficulty": lambda generator, n: torch.rand(n, generator=generator),
}
RECIPES = {
    "crf": SpelledOut(
        reward=Conciseness(
            scores=ConcisenessScore(scorer="leanthink.verl.rollout.reward_model:conciseness", low=0.1, high=1.0),
            alpha=0.5,
            annealing=Linear(start=1.0, stop=0.0, steps=200),
            difficulty="pass_rate",
            of=Truncation(kappa=0.0, of=Correct(), rule="multiply"),
        ),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        verl={"reward.reward_model.enable": True, "reward.reward_model.model_path": "Qwen/Qwen2.5-3B-Instruct"},
    )
}

SIX = RolloutBatch.of(group=[0] * 6, length=[9] * 6, correct=[1, 1, 0, 0, 1, 0]).replace(
    **{PART.column: [0.9, 0.4, 1.0, 0.2, 0.1, 0.6]}
)


@pytest.mark.parametrize(
    ("annealing", "expected"),
    [
        (1.0, [1.675, 1.3, 0.0, 0.0, 1.075, 0.0]),
        (0.5, [1.45, 1.2, 0.0, 0.0, 1.05, 0.0]),
        (0.0, [1.225, 1.1, 0.0, 0.0, 1.025, 0.0]),
    ],
)
def test_worked_example(annealing: float, expected: list[float]) -> None:
    reward_N = Conciseness(scores=PART, alpha=0.5, annealing=annealing)(SIX)[0]
    assert reward_N.tolist() == pytest.approx(expected, abs=1e-6)


def test_worked_example_of_the_advantages() -> None:
    reward_N = Conciseness(scores=PART, alpha=0.5)(SIX)[0]
    expected = [1.309119, 0.818199, -0.883655, -0.883655, 0.523647, -0.883655]
    assert Grpo()(reward_N, SIX.group).tolist() == pytest.approx(expected, abs=1e-6)


def slow_conciseness(
    outcome: Numbers, score: Numbers, group: Groups, alpha: float, annealing: float, difficulty: str
) -> list[float]:
    """arXiv 2511.09158: the factor on positive outcomes; d is the group's share of them, or of the others."""
    result = []
    for i in range(len(outcome)):
        siblings = [outcome[j] for j in range(len(outcome)) if group[j] == group[i]]
        rate = sum(one > 0 for one in siblings) / len(siblings)
        d = rate if difficulty == "pass_rate" else 1 - rate
        result.append(outcome[i] * (1 + alpha * score[i] * (annealing + d)) if outcome[i] > 0 else outcome[i])
    return result


@pytest.mark.parametrize("difficulty", ["pass_rate", "fail_rate"])
def test_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch, difficulty: Difficulty) -> None:
    generator = torch.Generator().manual_seed(2)
    score_N = 0.1 + 0.9 * torch.rand(len(merged), generator=generator, dtype=torch.float64)
    batch = merged.replace(step=3, **{PART.column: score_N})
    reward = Conciseness(
        scores=PART, alpha=0.3, annealing=Linear(start=1.0, stop=0.0, steps=10), difficulty=difficulty,
        of=Truncation(rule="add", of=Correct(right=1.0, wrong=-1.0)),
    )  # fmt: skip
    outcome = [
        (1.0 if right else -1.0) - (1.0 if cut else 0.0)
        for right, cut in zip(merged.correct.tolist(), merged.truncated.tolist(), strict=True)
    ]
    expected = slow_conciseness(outcome, score_N.tolist(), merged.group.tolist(), 0.3, 0.7, difficulty)
    torch.testing.assert_close(reward(batch)[0], torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_the_data_may_give_the_difficulty() -> None:
    reward = Conciseness(scores=PART, alpha=0.5, difficulty="column")
    assert "prompt_difficulty" in reward.requires
    assert reward(SIX.replace(prompt_difficulty=[0.0] * 6))[0][0] == 1.45


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_difficulty_is_finite_and_not_negative(value: float) -> None:
    """Else a right answer could earn less than a wrong one."""
    batch = SIX.replace(prompt_difficulty=[0.0, 0.0, value, 0.0, 0.0, 0.0])
    with pytest.raises(BatchError, match=rf"'prompt_difficulty', row 2: {value:g} is not allowed; give a finite"):
        Conciseness(scores=PART, alpha=0.5, difficulty="column")(batch)


def test_the_course_of_annealing_and_the_difficulty_are_shown() -> None:
    course = Linear(start=1.0, stop=0.0, steps=10)
    reward = Conciseness(scores=PART, alpha=0.5, annealing=course, difficulty="fail_rate")
    assert reward.shown(4, {}) == {"annealing": pytest.approx(0.6)}
    parts = reward.breakdown(SIX.replace(correct=[1, 1, 0, 0, 0, 0])).parts
    assert parts["difficulty"].tolist() == pytest.approx([4 / 6] * 6)


def test_an_answer_before_a_cut_earns_nothing_is_not_asked_about_and_counts_as_wrong() -> None:
    cut = SIX.replace(truncated=[1, 0, 0, 0, 0, 0], **{PART.column: [float("nan"), 0.4, 1.0, 0.2, 0.1, 0.6]})
    recipe = load_recipe("crf", [f"reward.conciseness.scores.conciseness_score.scorer={PART.scorer}"])
    result = recipe.reward.breakdown(cut)
    assert result.reward.tolist() == pytest.approx([0.0, 1 + 0.2 * (1 + 1 / 3), 0.0, 0.0, 1 + 0.05 * (1 + 1 / 3), 0.0])
    assert result.parts["difficulty"].tolist() == pytest.approx([1 / 3] * 6)
    assert result.parts["scores/unscored"].sum() == 0


def test_a_correct_response_without_a_score_is_neutral_and_counted() -> None:
    nan = float("nan")
    result = Conciseness(scores=PART, alpha=0.5).breakdown(SIX.replace(**{PART.column: [nan, 0.4, nan, nan, 0.1, nan]}))
    assert result.reward[0] == pytest.approx(1.075)
    assert result.parts["scores/unscored"].tolist() == [1, 0, 0, 0, 0, 0]


async def says_nothing(prompt: str, response: str) -> float | None:
    return None


def too_much(prompt: str, response: str) -> float:
    return 7.0


def text(prompt: str, response: str) -> str:
    return "0.5"


def test_scorers_of_any_kind() -> None:
    assert ConcisenessScore(scorer=f"{__name__}:says_nothing").value_of("a", ()) != 0  # NaN
    assert ConcisenessScore(scorer=f"{__name__}:too_much").value_of("a", ()) == 1.0
    assert PART.value_of("wait " * 20, ()) == 0.1
    with pytest.raises(BatchError, match=r"returned '0.5'"):
        ConcisenessScore(scorer=f"{__name__}:text").value_of("a", ())
    with pytest.raises(ConfigError, match="has no function 'gone'"):
        ConcisenessScore(scorer=f"{__name__}:gone").value_of("a", ())


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"alpha": 1.0, "annealing": 1.5}, "annealing is 1.5"),
        ({"alpha": 1.0, "difficulty": "hard"}, "difficulty is 'hard'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        Conciseness(scores=PART, **settings)


def test_a_wrong_scorer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"give 'pkg.mod:function'"):
        ConcisenessScore(scorer="few_rechecks")
    with pytest.raises(ConfigError, match=r"low is 0.5"):
        ConcisenessScore(scorer=PART.scorer, low=0.5, high=0.5)
