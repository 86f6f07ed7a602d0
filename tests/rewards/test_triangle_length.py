"""Train Long, Think Short, arXiv 2508.08940: the triangle around a budget."""

from __future__ import annotations

from typing import Any

import pytest

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.schedules import Decay
from leanthink.recipe.definition import load_recipe
from leanthink.rewards import Correct, Scale, Sum, TagPair, TriangleLength
from made_batches import group_of, measured
from oracles import Numbers

EXAMPLES = [
    TriangleLength(budget=Decay(start=9000, factor=0.7, interval=10)),
    TriangleLength(budget=4000, peak=0.5, shape="band", gate_on_correct=True),
]

THINK, ANSWER = ("<think>", "</think>"), ("<answer>", "</answer>")
RECIPES = {
    "curriculum": SpelledOut(
        reward=Sum(
            correct=Scale(by=0.6, of=Correct()),
            length=Scale(by=0.3, of=TriangleLength(budget=Decay(start=256.0, factor=0.7, interval=150, stop=87.0))),
            format=Scale(
                by=0.1,
                of=Sum(
                    think=Scale(by=0.5, of=TagPair(open_tag="<think>", close_tag="</think>", apart_from=ANSWER)),
                    answer=Scale(by=0.5, of=TagPair(open_tag="<answer>", close_tag="</answer>", apart_from=THINK)),
                ),
            ),
        ),
        advantage=Grpo(scale="std", ddof=0, eps=0.0),
        loss=PpoClip(low=0.2, high=0.2),
        verl={"actor_rollout_ref.rollout.n": 8, "trainer.total_training_steps": 600},
    )
}

CURRICULUM = [  # correct, think, answer, tokens, triangle, band, reward, advantage
    (0, 1, 1, 0, 0.000000, 1.000000, 0.100000, -1.577057),
    (1, 1, 1, 60, 0.478316, 1.000000, 0.843495, 0.797388),
    (1, 1, 1, 125, 0.996492, 1.000000, 0.998948, 1.293846),
    (1, 0, 1, 126, 0.995536, 0.995536, 0.948661, 1.133249),
    (0, 1, 1, 125, 0.996492, 1.000000, 0.398948, -0.622329),
    (1, 1, 0, 251, 0.000000, 0.000000, 0.650000, 0.179438),
    (1, 0, 0, 300, 0.000000, 0.000000, 0.600000, 0.019756),
    (0, 0, 0, 88, 0.701531, 1.000000, 0.210459, -1.224291),
]


def test_worked_example_curriculum() -> None:
    columns = [list(column) for column in zip(*CURRICULUM, strict=True)]
    correct, think, answer, tokens, triangle, band, reward, advantage = columns
    batch = group_of(tokens, correct)  # type: ignore[arg-type]
    triangle_N = TriangleLength(budget=125.44)(batch)[0]
    assert triangle_N.tolist() == pytest.approx(triangle, abs=1e-6)
    assert TriangleLength(budget=125.44, shape="band")(batch)[0].tolist() == pytest.approx(band, abs=1e-6)
    recipe = load_recipe("curriculum")
    texts = [
        ("<think> 2+2 </think>" if thinks else "2+2") + (" <answer> 4 </answer>" if answers else " 4")
        for thinks, answers in zip(think, answer, strict=True)
    ]
    reward_N = recipe.reward(measured(recipe.reward, batch.replace(step=300), texts))[0]  # 256 times 0.7 twice: 125.44
    assert reward_N.tolist() == pytest.approx(reward, abs=1e-6)
    assert isinstance(recipe.advantage, Grpo)
    assert recipe.advantage(reward_N, batch.group).tolist() == pytest.approx(advantage, abs=1e-6)


def test_on_the_cpu_profile_an_answer_has_no_tags() -> None:
    recipe = load_recipe("curriculum", profile="cpu")
    texts = [r"<think> 30 + 12 = 42 </think> \boxed{ 42 }", "<think> 30 + 12"]
    part = recipe.reward.breakdown(measured(recipe.reward, group_of([9, 4], [1, 0]), texts)).parts["format"]
    assert part.tolist() == pytest.approx([0.1, 0.0])


def slow_triangle(length: Numbers, budget: float, band: bool) -> list[float]:
    """arXiv 2508.08940, Sec. 3.3, with a peak of 1."""
    result = []
    for tokens in length:
        if tokens <= budget:
            result.append(1.0 if band else tokens / budget)
        else:
            result.append(1 - (tokens - budget) / budget if tokens <= 2 * budget else 0.0)
    return result


@pytest.mark.parametrize("band", [False, True])
def test_the_triangle_agrees_with_the_loop(merged: RolloutBatch, band: bool) -> None:
    given_N = TriangleLength(budget=4321.5, shape="band" if band else "triangle")(merged)[0]
    assert given_N.tolist() == pytest.approx(slow_triangle(merged.length.tolist(), 4321.5, band), abs=1e-12)
    gated_N = TriangleLength(budget=4321.5, gate_on_correct=True)(merged)[0]
    assert bool((gated_N[merged.correct == 0] == 0).all())


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda: TriangleLength(budget=0), "budget is 0"),
        (lambda: TriangleLength(budget=9, peak=0), "peak is 0"),
    ],
)
def test_wrong_settings_are_refused(make: Any, fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        make()
