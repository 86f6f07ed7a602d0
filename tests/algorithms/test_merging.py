"""Update-selective merging, arXiv 2510.15110, Sec. 4.6."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

import oracles_merging
from leanthink.algorithms import merging
from leanthink.algorithms.merging import Merged, SelectiveMerging, find_cut, merge_stream, selective_merge
from leanthink.core.errors import ConfigError, DataError

Tensors = Mapping[str, Tensor]

DELTA = [0.5, -0.1, 0.02, -0.9, 0.3, 0.0, 0.05, -0.2]


def stream(
    base: Tensors, trained: Tensors, settings: SelectiveMerging, dtype: torch.dtype | None = None, device: str = "cpu"
) -> list[Merged]:
    sizes = {name: tensor.numel() for name, tensor in base.items()}
    return list(merge_stream(sizes, lambda name: (base[name], trained[name]), settings, dtype=dtype, device=device))


def joined(pieces: list[Merged]) -> dict[str, list[float]]:
    merged: dict[str, list[float]] = {}
    for piece in pieces:
        assert piece.start == len(merged.setdefault(piece.name, []))
        merged[piece.name] += piece.values.tolist()
    return merged


def bits(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def test_worked_example() -> None:
    for offset in (0.0, 1.0):
        base = torch.full((8,), offset)
        merged = selective_merge(base, base + torch.tensor(DELTA))
        assert (merged - base).tolist() == pytest.approx([0.35, 0, 0, -0.63, 0, 0, 0, 0], abs=1e-6)


def random_model(draw: random.Random) -> tuple[dict[str, list[float]], dict[str, list[float]], str]:
    """Two models of up to four tensors, some empty, with many ties, zeros of both signs and unchanged entries."""
    dtype = draw.choice(("float32", "float16", "bfloat16"))
    few = [0.0, -0.0, 0.5, -0.5, 0.75, 1.0, 1.0078125, 1e-7, -3.0]
    many = draw.random() < 0.5
    base: dict[str, list[float]] = {}
    trained: dict[str, list[float]] = {}
    for name in draw.sample(["b.weight", "a.weight", "a.bias", "z"], draw.randint(1, 4)):
        size = draw.choice((0, 1, 3, 8, 20))
        values = [draw.gauss(0, 1) if many else draw.choice(few) for _ in range(size)]
        steps = [0.0, 0.5, -0.5, 0.125, draw.gauss(0, 0.01)]
        changed = [draw.choice((value + draw.choice(steps), -value)) for value in values]
        base[name] = [oracles_merging.ROUND[dtype](value) for value in values]
        trained[name] = [oracles_merging.ROUND[dtype](value) for value in changed]
    return base, trained, dtype


def test_agrees_with_the_loop_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand models, in pieces of three entries, so that cuts and ties fall across pieces and tensors."""
    monkeypatch.setitem(merging.PIECE, "cpu", 3)
    draw = random.Random(20251017)
    ties_cut = 0
    for _ in range(1000):
        base, trained, dtype = random_model(draw)
        density = draw.choice((0.0, 1.0, 0.25, 0.5, 0.29, 0.1, draw.random()))
        scale = draw.choice((0.7, 1.0, 0.0, 1.3, draw.random()))
        per_tensor, written = draw.random() < 0.5, draw.choice((dtype, "float32", "bfloat16"))
        settings = SelectiveMerging(density=density, scale=scale, per_tensor=per_tensor)
        base_tensors, trained_tensors = (
            {name: torch.tensor(values, dtype=getattr(torch, dtype)) for name, values in model.items()}
            for model in (base, trained)
        )
        pieces = stream(base_tensors, trained_tensors, settings, getattr(torch, written))
        expected = oracles_merging.selective_merge(base, trained, density, scale, per_tensor, written)
        given = joined(pieces)
        for name, values in expected.items():
            assert bits(given.get(name, [])) == bits(values), (name, settings)
        changed = [
            (name, i)
            for name, values in expected.items()
            for i, value in enumerate(values)
            if value != oracles_merging.ROUND[written](base[name][i])
        ]
        assert sum(piece.changed for piece in pieces) == len(changed)
        if not per_tensor:
            kept = oracles_merging.kept_entries(base, trained, density)
            assert sum(piece.kept for piece in pieces) == len(kept)
            sizes = [abs(oracles_merging.float32(trained[name][i] - base[name][i])) for name, i in kept]
            assert sum(piece.asked for piece in pieces) == pytest.approx(sum(sizes))
            if kept:
                assert {piece.cut.magnitude for piece in pieces} == {min(sizes)}
                more = oracles_merging.kept_entries(base, trained, 1.0)[len(kept) :]
                ties_cut += any(abs(trained[name][i] - base[name][i]) == min(sizes) > 0 for name, i in more)
    assert ties_cut > 50  # the case that is easy to get wrong did occur


def test_the_threshold_is_exact_among_millions() -> None:
    generator = torch.Generator().manual_seed(3)
    base_N, trained_N = (torch.randn(1_300_000, generator=generator) for _ in range(2))
    sizes_N = (trained_N - base_N).abs().sort(descending=True).values
    for keep in (1, 2, 333_333, 1_299_999, 1_300_000):
        cut = find_cut(lambda: [("x", 0, base_N, trained_N)], keep)
        assert cut.magnitude == sizes_N[keep - 1].item()
        assert cut.ties == keep - int((sizes_N > cut.magnitude).sum())


def test_one_cut_for_the_model_or_one_per_tensor() -> None:
    base = {"large": torch.zeros(4), "small": torch.zeros(4)}
    trained = {"large": torch.tensor([4.0, 3.0, 2.0, 1.0]), "small": torch.tensor([0.4, 0.3, 0.2, 0.1])}
    together = joined(stream(base, trained, SelectiveMerging(density=0.5, scale=1.0)))
    assert together == {"large": [4.0, 3.0, 2.0, 1.0], "small": [0.0] * 4}
    each = joined(stream(base, trained, SelectiveMerging(density=0.5, scale=1.0, per_tensor=True)))
    assert each["large"] == [4.0, 3.0, 0.0, 0.0]
    assert each["small"] == pytest.approx([0.4, 0.3, 0.0, 0.0])


def test_ties_keep_the_lower_name_then_the_lower_index() -> None:
    base = {"b": torch.zeros(3), "a": torch.zeros(3)}
    trained = {"b": torch.tensor([1.0, -1.0, 1.0]), "a": torch.tensor([0.0, -1.0, 1.0])}
    merged = joined(stream(base, trained, SelectiveMerging(density=0.5, scale=1.0)))
    assert merged == {"a": [0.0, -1.0, 1.0], "b": [1.0, 0.0, 0.0]}


@pytest.mark.parametrize("per_tensor", [False, True])
def test_an_unchanged_entry_keeps_the_sign_of_its_zero(per_tensor: bool) -> None:
    base = {"x": torch.tensor([-0.0, 0.0, -0.0, -0.0])}
    trained = {"x": torch.tensor([-0.0, -0.0, 0.0, 1.0])}
    merged = joined(stream(base, trained, SelectiveMerging(density=1.0, scale=1.0, per_tensor=per_tensor)))
    assert [math.copysign(1, value) for value in merged["x"]] == [-1, 1, -1, 1]


@pytest.mark.parametrize(("density", "entries", "kept"), [(0.29, 100, 29), (0.25, 7, 1), (0.1, 30, 3), (1.0, 5, 5),
                                                          (0.0, 9, 0), (1e-9, 10**9, 1), (1 / 3, 3, 0)])  # fmt: skip
def test_the_number_kept_is_rounded_down_from_the_decimal(density: float, entries: int, kept: int) -> None:
    assert SelectiveMerging(density=density).kept(entries) == kept


@pytest.mark.parametrize(
    ("steps", "scale", "given"), [(1, 0.7, 1), (2, 0.7, 1), (3, 0.7, 2), (1, 0.4, 0), (1, 0.5, 0), (10, 0.7, 7)]
)
def test_what_rounding_to_bfloat16_does(steps: int, scale: float, given: int) -> None:
    """A change of one unit in the last place comes back whole at scale 0.7, and not at all at 0.5 or less."""
    unit = 2.0**-7
    base, trained = torch.tensor([1.0]).bfloat16(), torch.tensor([1.0 + steps * unit]).bfloat16()
    (piece,) = stream({"x": base}, {"x": trained}, SelectiveMerging(density=1.0, scale=scale))
    assert piece.values.dtype == torch.bfloat16
    assert piece.values.item() == 1.0 + given * unit
    assert (piece.asked, piece.given) == (steps * unit, given * unit)
    (exact,) = stream({"x": base}, {"x": trained}, SelectiveMerging(density=1.0, scale=scale), torch.float32)
    assert exact.values.item() == pytest.approx(1.0 + scale * steps * unit, abs=1e-7)


@pytest.mark.parametrize("density", [0.0, 0.5])
@pytest.mark.parametrize("per_tensor", [False, True])
@pytest.mark.parametrize("side", ["base", "trained"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_tensor_that_is_not_finite_is_named(value: float, side: str, per_tensor: bool, density: float) -> None:
    models = {name: {"good": torch.zeros(5), "model.bad": torch.zeros(5)} for name in ("base", "trained")}
    models[side]["model.bad"][3] = value
    with pytest.raises(DataError, match=rf"model\.bad: entry 3 is .*{value}"):
        stream(models["base"], models["trained"], SelectiveMerging(density=density, per_tensor=per_tensor))


def test_infinity_on_both_sides_is_refused_although_they_are_equal() -> None:
    both = {"x": torch.tensor([math.inf])}
    with pytest.raises(DataError, match="x: entry 0 is inf in the base model and inf in the trained"):
        stream(both, both, SelectiveMerging())


@pytest.mark.parametrize("written", [None, torch.float16])
def test_a_result_too_large_for_its_dtype_is_refused(written: torch.dtype | None) -> None:
    dtype = torch.float16 if written is None else torch.float32
    base, trained = torch.tensor([1.0, 60_000.0], dtype=dtype), torch.tensor([1.0, 65_000.0], dtype=dtype)
    with pytest.raises(DataError, match=r"x: entry 1 is too large for torch\.float16"):
        stream({"x": base}, {"x": trained}, SelectiveMerging(density=1.0, scale=7.0), written)


@pytest.mark.parametrize("trained", [torch.zeros(3), torch.zeros(2, dtype=torch.int64), torch.zeros(2).double()])
def test_tensors_that_do_not_match_are_named(trained: Tensor) -> None:
    with pytest.raises(DataError, match=r"x: torch\.float32 of shape \(2,\) and "):
        stream({"x": torch.zeros(2)}, {"x": trained}, SelectiveMerging())


def test_shapes_and_inputs_stay() -> None:
    base, trained = torch.randn(3, 4).t(), torch.randn(3, 4).t()
    before = base.clone(), trained.clone()
    assert selective_merge(base, trained, density=1.0, scale=1.0).allclose(trained, atol=1e-6)
    assert selective_merge(base, trained, density=0.0).equal(base)
    assert base.equal(before[0]) and trained.equal(before[1])
    assert selective_merge(torch.tensor(1.0), torch.tensor(2.0), density=1.0, scale=0.5).item() == 1.5
    assert selective_merge(torch.zeros(0, 3), torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"density": -0.1}, "density is -0.1"),
        ({"density": 1.01}, "density is 1.01"),
        ({"density": math.nan}, "density is nan"),
        ({"scale": -0.7}, "scale is -0.7"),
        ({"scale": math.inf}, "scale is inf"),
        ({"scale": math.nan}, "scale is nan"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, float], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        SelectiveMerging(**settings)  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_gives_the_same_bits(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(4)
    base, trained = ({"x": torch.randn(3000, 100, generator=generator).to(dtype)} for _ in range(2))
    here, there = (stream(base, trained, SelectiveMerging(), device=device) for device in ("cpu", "cuda"))
    assert joined(here) == joined(there)
    assert {piece.cut for piece in here} == {piece.cut for piece in there}
