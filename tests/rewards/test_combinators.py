from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError, MissingColumnError
from leanthink.core.reward import Reward, Scope
from leanthink.core.schedules import Linear
from leanthink.rewards import (
    Chain,
    Clip,
    Correct,
    Format,
    Freeze,
    Gate,
    GroupNormalize,
    KimiLength,
    PassRateAtLeast,
    Running,
    Scale,
    SigmoidLength,
    SoftOverlong,
    StepwiseGain,
    Sum,
    Switch,
)
from leanthink.testing import ContractError, check_reward

OVERLONG = SoftOverlong(limit=12_000, buffer=4000)

EXAMPLES = [
    Chain(base=Correct(right=2), overlong=Sum(so_far=Running(), late=OVERLONG), clip=Clip(low=0.0)),
    Clip(low=-0.25, high=0.5),
    Clip(high=0.5, of=Correct()),
    Freeze(of=Sum(correct=Correct(), format=Scale(by=0.5, of=Format()))),
    Gate(column="budget", of=OVERLONG),
    Gate(column="correct", negate=True),
    Gate(column="truncated", of=KimiLength()),
    GroupNormalize(),
    GroupNormalize(of=KimiLength(), ddof=0),
    GroupNormalize(of=OVERLONG, divide=False),
    PassRateAtLeast(threshold=0.5),
    PassRateAtLeast(threshold=Linear(start=0.0, stop=1.0, steps=30)),
    Running(),
    Scale(by=Linear(start=1.0, stop=0.1, steps=30), of=Correct()),
    Scale(by=-2.0),
    Sum(correct=Correct(), length=Scale(by=1.5, of=KimiLength())),
    Sum(correct=Correct(right=5.0), steps=Scale(by=0.5, of=Gate(column="correct", of=StepwiseGain())), late=OVERLONG),
    Switch(select=PassRateAtLeast(threshold=0.6), shaped=SigmoidLength(alpha=0.4), plain=Correct()),
]

BATCH = RolloutBatch.of(
    group=[0, 0, 0, 1, 1, 2],
    length=[50, 75, 100, 10, 20, 80],
    correct=[1, 1, 0, 0, 0, 1],
    truncated=[0, 0, 1, 0, 0, 0],
    column=[0, 1, 2, -1, 0, 1],
)
LATE = SoftOverlong(limit=100, buffer=50)  # 0, -0.5, -1, 0, 0, -0.6


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        (LATE, [0, -0.5, -1, 0, 0, -0.6]),
        (Sum(a=Correct(), b=LATE, c=LATE), [1, 0, -2, 0, 0, -0.2]),
        (Scale(by=-2, of=LATE), [0, 1, 2, 0, 0, 1.2]),
        (Scale(by=Linear(start=0, stop=1, steps=2), of=Correct()), [0] * 6),
        (Gate(column="column", of=Correct(right=3, wrong=2)), [0, 3, 2, 2, 0, 3]),
        (Gate(column="column", of=Correct(right=3, wrong=2), negate=True), [3, 0, 0, 0, 2, 0]),
        (Gate(column="truncated", of=LATE), [0, 0, -1, 0, 0, 0]),
        (PassRateAtLeast(threshold=0.5), [1, 1, 1, 0, 0, 1]),
        (PassRateAtLeast(threshold=0), [1] * 6),
        (PassRateAtLeast(threshold=2 / 3), [1, 1, 1, 0, 0, 1]),
        (PassRateAtLeast(threshold=0.7), [0, 0, 0, 0, 0, 1]),
        (Switch(select=PassRateAtLeast(threshold=1), shaped=LATE, plain=Correct()), [1, 1, 0, 0, 0, -0.6]),
        (Clip(low=-0.5, of=LATE), [0, -0.5, -0.5, 0, 0, -0.5]),
        (Clip(high=-0.5, of=LATE), [-0.5, -0.5, -1, -0.5, -0.5, -0.6]),
        (Clip(low=-0.6, high=-0.1, of=LATE), [-0.1, -0.5, -0.6, -0.1, -0.1, -0.6]),
        (GroupNormalize(of=LATE, divide=False), [0.5, 0, -0.5, 0, 0, 0]),
        (GroupNormalize(of=LATE, eps=1e-12), [1, 0, -1, 0, 0, 0]),
        (GroupNormalize(of=LATE, ddof=0, eps=1e-12), [1.5**0.5, 0, -(1.5**0.5), 0, 0, 0]),
        (Freeze(of=LATE), [0, -0.5, -1, 0, 0, -0.6]),
        (Running(), [0] * 6),
        (Chain(a=Correct(), b=Scale(by=3)), [3, 3, 0, 0, 0, 3]),
        (Chain(a=Correct(), b=Sum(so_far=Running(), late=LATE), c=Clip(low=0)), [1, 0.5, 0, 0, 0, 0.4]),
        (Chain(a=Correct(), b=Gate(column="column"), c=GroupNormalize(divide=False)), [-1 / 3, 2 / 3, -1 / 3, 0, 0, 0]),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_values(reward: Reward, expected: list[float]) -> None:
    before = copy.deepcopy(BATCH)
    assert reward(BATCH)[0].tolist() == pytest.approx(expected, abs=1e-9)
    assert before == BATCH


def test_a_chain_hides_its_running_value_from_outside() -> None:
    inner = Chain(a=Correct(), b=Scale(by=2))
    outer = Chain(first=LATE, inner=inner, add=Sum(before=Running(), late=LATE))
    assert outer(BATCH)[0].tolist() == pytest.approx([2, 1.5, -1, 0, 0, 1.4])
    assert (BATCH.reward == 0).all()


def test_schedules_move_with_the_step() -> None:
    reward = Scale(by=Linear(start=0, stop=1, steps=4), of=Correct())
    threshold = PassRateAtLeast(threshold=Linear(start=1, stop=0, steps=4))
    assert reward(BATCH.replace(step=3))[0].tolist() == [0.75, 0.75, 0, 0, 0, 0.75]
    assert [float(threshold(BATCH.replace(step=step))[0].sum()) for step in (0, 2, 4)] == [1, 4, 6]


def test_scopes_and_columns_are_derived() -> None:
    assert Sum(a=Correct(), b=KimiLength()).scope == Scope.GROUP
    assert Switch(select=Correct(), shaped=Correct(), plain=Correct()).scope == Scope.GROUP
    assert GroupNormalize(of=Correct()).scope == Scope.GROUP
    assert Gate(column="correct", of=Correct()).requires == frozenset()
    assert Scale(by=1, of=Gate(column="column", of=Gate(column="other"))).requires == {"column", "other"}


def test_a_gate_needs_its_column_open_or_closed() -> None:
    with pytest.raises(MissingColumnError, match="'colunm'; did you mean 'column'"):
        Gate(column="colunm", of=Correct())(BATCH)
    with pytest.raises(BatchError, match="'column' is NaN in row 1"):
        Gate(column="column", of=Correct())(BATCH.replace(column=[0, float("nan"), 0, 0, 0, 0]))


def test_a_switch_must_not_split_a_group() -> None:
    with pytest.raises(BatchError, match=r"switch\.select differs within the group of row 0"):
        Switch(select=Correct(), shaped=Correct(), plain=LATE)(BATCH)
    assert Switch(select=Correct(), shaped=Correct(), plain=LATE)(BATCH.select(torch.tensor([5, 3])))[0].tolist() == [
        1,
        0,
    ]


@pytest.mark.parametrize("weight", [-2.0, 2.5])
def test_signs_are_kept_in_order(weight: float) -> None:
    """Adding, then scaling, must not make longer responses better where the base is negative."""
    base = Sum(correct=Correct(right=1, wrong=-1), late=LATE)
    batch = RolloutBatch.of(group=[0] * 3, length=[60, 75, 90], correct=[0] * 3)
    values = Scale(by=weight, of=base)(batch)[0]
    assert (values.diff().sign() == -torch.tensor(weight).sign()).all()
    gated = Sum(correct=Correct(right=1, wrong=-1), late=Gate(column="correct", of=LATE))
    assert gated(batch)[0].tolist() == [-1.0] * 3


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (lambda: Sum(), ["sum has no parts"]),
        (lambda: Chain(), ["chain has no parts"]),
        (lambda: Sum(a=1), ["sum.a is 1", "give a reward"]),  # type: ignore[arg-type]
        (lambda: Chain(a=Correct), ["chain.a is", "give a reward"]),  # type: ignore[arg-type]
        (lambda: Sum(of=Correct()), ["'of'", "choose another"]),
        (lambda: Sum(**{"a/b": Correct()}), ["'a/b'", "choose another"]),
        (lambda: Clip(of=Correct()), ["clip has no bound"]),
        (lambda: Clip(low=1, high=0), ["low 1 is above high 0", "swap"]),
        (lambda: GroupNormalize(eps=0), ["eps is 0"]),
        (lambda: GroupNormalize(ddof=2), ["ddof 2"]),
    ],
)
def test_wrong_settings_are_refused(make: Callable[[], Reward], facts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    for fact in facts:
        assert fact in str(caught.value)


def test_named_parts_may_have_any_other_name() -> None:
    reward = Sum(**{"self": Correct(), "parts": LATE, "by-length": LATE})
    assert list(reward.breakdown(BATCH).parts) == ["self", "parts", "by-length"]
    assert pickle.loads(pickle.dumps(reward)) == reward and hash(reward) == hash(copy.deepcopy(reward))
    assert reward != Sum(**{"parts": LATE, "self": Correct(), "by-length": LATE})
    assert Sum(a=Correct()) != Chain(a=Correct())  # type: ignore[comparison-overlap]
    assert repr(Sum(a=Correct())) == "Sum(a=Correct(right=1.0, wrong=0.0))"


def test_whether_wrong_may_win_is_seen_through_combinators() -> None:
    check_reward(
        Switch(select=PassRateAtLeast(threshold=0.5), shaped=SigmoidLength(alpha=0.9), plain=Correct()), rounds=10
    )
    for reward in (
        Scale(by=-1, of=Correct()),
        Chain(correct=Correct(), lost=KimiLength()),
        Switch(
            select=PassRateAtLeast(threshold=0.5),
            shaped=Sum(c=Correct(), k=Scale(by=9, of=KimiLength())),
            plain=Correct(),
        ),
    ):
        with pytest.raises(ContractError, match="correct response never scores below a wrong one"):
            check_reward(reward)
