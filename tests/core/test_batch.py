from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from leanthink.core.batch import RolloutBatch, snippet
from leanthink.core.errors import BatchError, MissingColumnError


def four(**changes: Any) -> RolloutBatch:
    columns: dict[str, Any] = {"group": ["b", "a", "b", "a"], "length": [1, 2, 3, 4], "correct": [1, 0, 0, 1]}
    return RolloutBatch.of(**(columns | changes))


def test_groups_are_coded_by_first_appearance() -> None:
    batch = four()
    assert batch.group.tolist() == [0, 1, 0, 1] and batch.num_groups == 2 and len(batch) == 4
    assert four(group=torch.tensor([9, 2, 9, 2])).group.tolist() == [0, 1, 0, 1]
    assert four(group=[("uid", 1), 3, ("uid", 1), 3]).group.tolist() == [0, 1, 0, 1]


def test_columns_are_tensors_of_their_type() -> None:
    batch = four(truncated=[True, 0, 1, False], budget=[1, 2, 3, 4], text=["x", "y", "z", ""], gains=torch.ones(4, 2))
    assert (batch.group.dtype, batch.truncated.dtype) == (torch.int64, torch.bool)
    for name in ("length", "correct", "reward", "truncated", "group", "budget"):
        assert batch.column(name).dtype == torch.float64 and batch.column(name).shape == (4,)
    assert batch.values("text") == ["x", "y", "z", ""]
    assert batch.values("gains").shape == (4, 2)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "column",
    [
        (1, 2, 3, 4),
        iter([1, 2, 3, 4]),
        np.array([1, 2, 3, 4], dtype=np.int32),
        torch.tensor([1, 2, 3, 4], dtype=torch.float16),
        list(torch.tensor([1, 2, 3, 4])),
        [np.float32(1), np.int64(2), np.array(3), 4.0],
    ],
    ids=["tuple", "iterator", "numpy", "half", "scalars", "mixed"],
)
def test_any_source_of_numbers_will_do(column: Any) -> None:
    assert four(length=column).length.tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("value", [np.array(["4"]), np.array([4.0]), np.array("4"), np.array(["4", "5"])], ids=repr)
def test_arrays_and_texts_of_numpy_are_no_numbers(value: Any) -> None:
    assert four(gold=[value] * 4).values("gold") == [value] * 4
    with pytest.raises(BatchError, match=r"column 'length', row 0: array.* is no number"):
        four(length=[value] * 4)


def test_steps_may_come_from_numpy() -> None:
    assert four(step=10**6) == four(step=int("1000000")) != four(step=10**6 + 1)
    assert four(step=np.int64(3)).step == 3 and type(four(step=np.int64(3)).step) is int


def test_nothing_makes_an_empty_batch() -> None:
    empty = RolloutBatch.of(group=[], length=[], correct=[], budget=[])
    assert len(empty) == empty.num_groups == 0
    assert empty.column("budget").shape == empty.column("length").shape == (0,)
    assert empty == empty.select(torch.zeros(0, dtype=torch.int64)) == four(budget=[0] * 4).select(torch.zeros(4) > 0)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"correct": [1, 0, 0.5, 1]}, ["'correct'", "row 2", "0.5", "0 or 1", "binarise"]),
        ({"correct": [1, 0, float("nan"), 1]}, ["'correct'", "row 2", "nan", "finite"]),
        ({"correct": [1, 0, None, 1]}, ["'correct'", "row 2", "None", "no number"]),
        ({"correct": ["yes", 0, 0, 1]}, ["'correct'", "row 0", "'yes'", "no number"]),
        ({"length": [1, -3, 3, 4]}, ["'length'", "row 1", "-3", "0 or more"]),
        ({"length": [1, 2, 3, float("inf")]}, ["'length'", "row 3", "inf", "finite"]),
        ({"length": [1, 2, 3, torch.ones(2)]}, ["'length'", "row 3", "no number"]),
        ({"length": [1, 2, 3, np.ones(2)]}, ["'length'", "row 3", "no number"]),
        ({"length": [1, 2, 3]}, ["'length'", "3 rows", "'group' has 4"]),
        ({"length": torch.ones(4, 2)}, ["'length'", "(4, 2)", "one number per response"]),
        ({"length": torch.tensor(3.0)}, ["'length'", "no rows", "'group' has 4"]),
        ({"truncated": [0, 0, 2, 0]}, ["'truncated'", "row 2", "2", "0 or 1"]),
        ({"truncated": [0, 0]}, ["'truncated'", "2 rows"]),
        ({"group": ["a", None, "b", "b"]}, ["'group'", "row 1", "no group id"]),
        ({"group": ["a", "b", float("nan"), "b"]}, ["'group'", "row 2", "no group id"]),
        ({"group": [["a"], ["b"], ["a"], ["b"]]}, ["'group'", "row 0", "no id"]),
        ({"budget": [1, 2]}, ["'budget'", "2 rows"]),
        ({"reward": [1, 2, 3, 4]}, ["'reward'", "another name"]),
        ({"step": -1}, ["step", "-1", "whole number from 0"]),
        ({"step": 1.5}, ["step", "1.5"]),
        ({"step": True}, ["step", "True"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_errors_name_the_column_and_the_row(changes: dict[str, Any], facts: list[str]) -> None:
    with pytest.raises(BatchError) as caught:
        four(**changes)
    for fact in facts:
        assert fact in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"correct": [1, 0, 0.5, 1]},
        {"length": [1, -3, 3, 4]},
        {"reward": [1, 2, 3, float("nan")]},
        {"reward": [1, 2]},
        {"group": [1]},
        {"budget": ["a"]},
        {"step": -1},
        {"extras": {"reward": [1, 2, 3, 4]}},
    ],
    ids=str,
)
def test_a_changed_copy_keeps_the_same_rules(changes: dict[str, Any]) -> None:
    with pytest.raises(BatchError, match="reward" if "extras" in changes else next(iter(changes))):
        four().replace(**changes)


def test_a_missing_column_is_named_with_its_nearest() -> None:
    batch = four(budget=[1] * 4)
    for read in (batch.column, batch.values):
        with pytest.raises(MissingColumnError, match="no column 'budgte'; did you mean 'budget'"):
            read("budgte")
    assert issubclass(MissingColumnError, KeyError)


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        (["a", "b", "c", "d"], ["'x'", "row 0", "'a'", "no number", "values()"]),
        ([0.5, None, 1, 2], ["'x'", "row 1", "None"]),
        (torch.ones(4, 3), ["'x'", "(4, 3)", "values()"]),
    ],
)
def test_a_column_without_numbers_says_so(values: Any, facts: list[str]) -> None:
    with pytest.raises(BatchError) as caught:
        four(x=values).column("x")
    for fact in facts:
        assert fact in str(caught.value)


def test_a_list_of_single_tensors_is_a_column_of_numbers() -> None:
    assert four(x=list(torch.arange(4))).column("x").tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_column_may_say_no_value() -> None:
    batch = four(gain=[0.5, float("nan"), 1, 2])
    assert batch.column("gain").isnan().tolist() == [False, True, False, False]
    assert batch == copy.deepcopy(batch)


def test_replace_changes_a_copy() -> None:
    batch = four(budget=[1] * 4)
    changed = batch.replace(reward=[0.5, 1, 2, 3], step=7, budget=[2] * 4, text=list("abcd"), extras={"a/b": [1] * 4})
    assert changed.reward.tolist() == [0.5, 1, 2, 3] and changed.step == 7
    assert changed.column("budget").tolist() == [2] * 4 and changed.values("text") == list("abcd")
    assert changed.column("a/b").dtype == torch.float64
    assert batch == four(budget=[1] * 4)
    assert batch.replace(group=list("xyxy")).group.tolist() == [0, 1, 0, 1]


def test_select_takes_rows_and_codes_groups_anew() -> None:
    batch = four(text=list("abcd"), budget=[5, 6, 7, 8], step=3)
    some = batch.select(torch.tensor([3, 0]))
    assert some == RolloutBatch.of(
        group=["a", "b"], length=[4, 1], correct=[1, 1], text=["d", "a"], budget=[8, 5], step=3
    )
    assert batch.select(batch.correct == 0).length.tolist() == [2.0, 3.0]
    assert batch.select(torch.arange(4)) == batch


def test_equality_looks_at_everything() -> None:
    batch = four(budget=[1] * 4, text=list("abcd"))
    assert batch == four(budget=[1] * 4, text=list("abcd"))
    others = [
        four(),
        batch.replace(step=1),
        batch.replace(length=[1, 2, 3, 5]),
        batch.replace(budget=[1, 1, 1, 2]),
        batch.replace(text=list("abce")),
        batch.replace(text=[1, 2, 3, 4]),
        batch.replace(reward=[1] * 4),
        batch.select(torch.tensor([0, 1])),
    ]
    assert all(batch != other for other in others)
    assert batch != "batch"
    with pytest.raises(TypeError, match="unhashable"):
        hash(batch)


def test_it_pickles_copies_and_prints() -> None:
    batch = four(budget=[1, 2, float("nan"), 3], text=list("abcd"), step=2)
    assert pickle.loads(pickle.dumps(batch)) == copy.deepcopy(batch) == batch
    assert "RolloutBatch(group=tensor([0, 1, 0, 1])" in repr(batch)


def test_it_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        four().length = torch.zeros(4)  # type: ignore[misc]


def test_the_snippet_builds_the_batch_again() -> None:
    batch = four(budget=[1.5, 2, float("nan"), 3], text=list("abcd"), truncated=[0, 1, 0, 0], step=2)
    for shown in (batch, batch.replace(reward=[0.25, 0, 0, 0]), four().select(torch.zeros(4) > 0)):
        assert eval(snippet(shown), {"RolloutBatch": RolloutBatch}) == shown


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_everything_lands_on_the_device_of_the_columns() -> None:
    on_gpu = torch.tensor([1.0, 0.0, 0.0, 1.0], device="cuda")
    for batch in (four(correct=on_gpu, budget=[1] * 4), four(device="cuda", budget=on_gpu.cpu())):
        changed = batch.replace(reward=[0.5] * 4, score=[1, 2, 3, 4]).select(torch.tensor([0, 3], device="cuda"))
        for each in (batch, changed):
            assert {value.device.type for value in (each.group, each.reward, each.column("budget"))} == {"cuda"}
