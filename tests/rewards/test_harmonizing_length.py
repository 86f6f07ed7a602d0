"""O1-Pruner, arXiv 2501.12570."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import NoBaseline, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.reward import Scope
from leanthink.core.schedules import Linear
from leanthink.recipe.nodes import build
from leanthink.rewards import HarmonizingLength
from leanthink.testing import Columns
from oracles import Flags, Groups, Numbers, members

EXAMPLES = [
    HarmonizingLength(),
    HarmonizingLength(accuracy_weight=5.0, reference="current", clip=(-2.0, 4.0), standardize="group"),
    HarmonizingLength(standardize="batch"),
]
COLUMNS: Columns = {
    "reference_accuracy": lambda generator, n: torch.rand(n, generator=generator),
    "reference_length": lambda generator, n: torch.randint(0, 16_000, (n,), generator=generator),
}
WRONG_MAY_BEAT_CORRECT = [HarmonizingLength]
RECIPES = {
    "o1_pruner": SpelledOut(
        reward=HarmonizingLength(accuracy_weight=2.0, reference="stored", clip=None, standardize="none"),
        advantage=NoBaseline(),
        loss=PpoClip(low=0.2, high=0.2),
        verl={
            "data.max_response_length": 8192,
            "actor_rollout_ref.rollout.n": 2,
            "actor_rollout_ref.rollout.temperature": 0.5,
            "actor_rollout_ref.rollout.top_p": 0.8,
            "actor_rollout_ref.actor.optim.lr": 2e-7,
            "actor_rollout_ref.actor.grad_clip": 10.0,
            "trainer.total_epochs": 1,
        },
    )
}

SIX = RolloutBatch.of(
    group=[0] * 6,
    length=[400, 800, 1200, 2000, 3600, 8000],
    correct=[1, 1, 0, 1, 0, 0],
    reference_length=[8000 / 3] * 6,
    reference_accuracy=[0.5] * 6,
)
CLIPPED = [4.0, 3.333333, 0.222222, 1.333333, -1.259259, -1.666667]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [6.666667, 3.333333, 0.222222, 1.333333, -1.259259, -1.666667]),
        ({"clip": (-2, 4)}, CLIPPED),
        (
            {"clip": (-2, 4), "standardize": "group"},
            [1.407368, 1.095261, -0.361234, 0.158943, -1.054803, -1.245535],
        ),
        ({"accuracy_weight": 5}, [8.166667, 4.833333, -1.277778, 2.833333, -2.759259, -3.166667]),
        ({"accuracy_weight": 5, "clip": (-2, 4)}, [4, 4, -1.277778, 2.833333, -2, -2]),
    ],
    ids=str,
)
def test_worked_example(settings: dict[str, Any], expected: list[float]) -> None:
    assert HarmonizingLength(**settings)(SIX)[0].tolist() == pytest.approx(expected, abs=1e-6)
    # The reference of the example is the mean of the very six.
    current = HarmonizingLength(**settings, reference="current")
    assert current(SIX)[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert current.requires == frozenset()


def with_reference(batch: RolloutBatch) -> RolloutBatch:
    """A batch with made-up reference columns."""
    return batch.replace(
        reference_length=batch.length.flip(0) + 3 * batch.group, reference_accuracy=(batch.group % 5).double() / 4
    )


def slow_harmonizing_length(
    length: Numbers, correct: Flags, reference_length: Numbers, reference_accuracy: Numbers, accuracy_weight: float
) -> list[float]:
    """arXiv 2501.12570, Eq. 8; a response without tokens counts as one token."""
    result = []
    for i in range(len(length)):
        right = 1.0 if correct[i] else 0.0
        result.append(reference_length[i] / max(length[i], 1) - 1 + accuracy_weight * (right - reference_accuracy[i]))
    return result


def slow_current_reference(length: Numbers, correct: Flags, group: Groups) -> tuple[list[float], list[float]]:
    """The mean length and accuracy of each response's own group."""
    rows = members(group)
    lengths = {name: sum(max(length[i], 1) for i in of) / len(of) for name, of in rows.items()}
    accuracies = {name: sum(correct[i] for i in of) / len(of) for name, of in rows.items()}
    return [lengths[name] for name in group], [accuracies[name] for name in group]


def slow_standardized(values: Numbers, group: Groups) -> list[float]:
    """The released code of O1-Pruner: minus the mean, over the population deviation; 0 where all are equal."""
    result = []
    for i in range(len(values)):
        others = [values[j] for j in range(len(values)) if group[j] == group[i]]
        mean = sum(others) / len(others)
        deviation = math.sqrt(sum((one - mean) ** 2 for one in others) / len(others))
        equal = max(others) - min(others) <= 1e-12 * max(1.0, *(abs(one) for one in others))
        result.append(0.0 if equal else (values[i] - mean) / deviation)
    return result


def test_agrees_with_the_loop(batches: list[RolloutBatch]) -> None:
    for batch in map(with_reference, batches):
        length, correct, group = batch.length.tolist(), (batch.correct == 1).tolist(), batch.group.tolist()
        columns = [batch.column(f"reference_{name}").tolist() for name in ("length", "accuracy")]
        stored = slow_harmonizing_length(length, correct, *columns, 2.0)
        assert HarmonizingLength()(batch)[0].tolist() == pytest.approx(stored, rel=1e-9, abs=1e-9)
        current = slow_harmonizing_length(length, correct, *slow_current_reference(length, correct, group), 0.5)
        given = HarmonizingLength(accuracy_weight=0.5, reference="current")(batch)[0].tolist()
        assert given == pytest.approx(current, rel=1e-9, abs=1e-9)
        clipped = [min(max(value, -2), 4) for value in stored]
        for standardize, of in (("group", group), ("batch", [0] * len(group))):
            given = HarmonizingLength(clip=(-2, 4), standardize=standardize)(batch)[0].tolist()  # type: ignore[arg-type]
            assert given == pytest.approx(slow_standardized(clipped, of), rel=1e-7, abs=1e-7)


def test_equal_values_standardize_to_0_and_one_of_a_kind_is_0() -> None:
    equal = RolloutBatch.of(group=[0, 0, 1], length=[70, 70, 90], correct=[1, 1, 1])
    for standardize in ("none", "group"):
        reward = HarmonizingLength(reference="current", standardize=standardize)  # type: ignore[arg-type]
        assert reward(equal)[0].tolist() == [0.0] * 3


def test_a_response_without_tokens_counts_as_one_token() -> None:
    batch = SIX.replace(length=[0, 1, 1200, 2000, 3600, 8000])
    reward_N, _ = HarmonizingLength()(batch)
    assert reward_N[0] == reward_N[1] == 8000 / 3 - 1 + 1


def test_the_scope_is_what_it_looks_at() -> None:
    assert HarmonizingLength().scope == Scope.RESPONSE
    assert HarmonizingLength(reference="current").scope == HarmonizingLength(standardize="group").scope == Scope.GROUP
    assert HarmonizingLength(reference="current", standardize="batch").scope == Scope.BATCH


def test_the_weight_may_be_a_schedule_and_the_clip_a_list() -> None:
    reward = HarmonizingLength(accuracy_weight=Linear(start=0, stop=2, steps=10))
    assert torch.equal(reward(SIX.replace(step=10))[0], HarmonizingLength()(SIX)[0])
    built = build({"harmonizing_length": {"clip": [-2, 4]}}, "reward", "reward")
    assert built == HarmonizingLength(clip=(-2, 4)) == HarmonizingLength(clip=[-2.0, 4.0])  # type: ignore[arg-type]
    assert hash(built) == hash(HarmonizingLength(clip=[-2.0, 4.0]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("reference_length", -1.0, "'reference_length' is -1 in row 2; give a mean number of tokens"),
        ("reference_length", float("inf"), "'reference_length' is inf in row 2"),
        ("reference_accuracy", 50.0, "'reference_accuracy' is 50 in row 2; give a share between 0 and 1"),
        ("reference_accuracy", float("nan"), "'reference_accuracy' is nan in row 2.*leanthink prepare --reference"),
    ],
)
def test_impossible_references_are_named(column: str, value: float, message: str) -> None:
    values = SIX.column(column).clone()
    values[2] = value
    with pytest.raises(BatchError, match=message):
        HarmonizingLength()(SIX.replace(**{column: values}))


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"reference": "old"}, "reference is 'old'"),
        ({"standardize": "dataset"}, "standardize 'dataset'"),
        ({"clip": (4, -2)}, r"clip is \[4, -2\]"),
        ({"clip": (4,)}, r"clip is \[4\]; give \[low, high\]"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        HarmonizingLength(**settings)
