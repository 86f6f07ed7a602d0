"""Update-selective merging (arXiv 2510.15110, Sec. 4.6) as plain loops over lists of floats, without torch.

``delta = trained - base``; the share ``density`` of entries with the largest ``|delta|`` is kept, times ``scale``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

Model = Mapping[str, Sequence[float]]
Entry = tuple[str, int]


def float32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def float16(value: float) -> float:
    return float(struct.unpack("<e", struct.pack("<e", value))[0])


def bfloat16(value: float) -> float:
    """The nearest number with 8 significant bits of a float32's 24, ties to even."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    low = bits & 0xFFFF
    bits -= low
    if low > 0x8000 or (low == 0x8000 and bits & 0x10000):
        bits += 0x10000
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


ROUND: Mapping[str, Callable[[float], float]] = {"float32": float32, "float16": float16, "bfloat16": bfloat16}


def kept_entries(base: Model, trained: Model, density: float) -> list[Entry]:
    """Names and indices of the entries kept, the largest change first; equal ones by name, then by index."""
    changes = []
    for name in base:
        for index in range(len(base[name])):
            changes.append((-abs(float32(trained[name][index] - base[name][index])), name, index))
    changes.sort()
    count = int(Decimal(str(density)) * len(changes))
    return [(name, index) for _, name, index in changes[:count]]


def selective_merge(
    base: Model, trained: Model, density: float, scale: float, per_tensor: bool, dtype: str
) -> dict[str, list[float]]:
    kept: list[Entry] = []
    if per_tensor:
        for name in base:
            kept += kept_entries({name: base[name]}, {name: trained[name]}, density)
    else:
        kept = kept_entries(base, trained, density)
    merged = {name: [ROUND[dtype](value) for value in values] for name, values in base.items()}
    for name, index in kept:
        delta = float32(trained[name][index] - base[name][index])
        if delta != 0:
            exact = float32(base[name][index] + float32(float32(scale) * delta))
            merged[name][index] = ROUND[dtype](exact)
    return merged
