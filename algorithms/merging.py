"""Update-selective merging: only the largest of a run's weight changes are added back to the base model.

``_N`` runs over the entries of a tensor, flattened, or of a piece of one.

Nothing here holds a model. Tensors come one pair at a time from a function that loads them, and are worked on in
pieces; where the selection ends is found exactly, from counts of the bits of ``|delta|``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.errors import ConfigError, DataError

EntriesN = Float[Tensor, " N"]
BitsN = Int[Tensor, " N"]
MaskN = Bool[Tensor, " N"]
Pair = tuple[Tensor, Tensor]  # base, trained
Load = Callable[[str], Pair]
Piece = tuple[str, int, EntriesN, EntriesN]  # name, index of the first entry, base, trained

MERGEABLE: Final = (torch.float32, torch.float16, torch.bfloat16)
INFINITY_BITS: Final = 0x7F80_0000  # of a float32; those of NaN are larger
LOW_BITS: Final = 16  # the 31 bits of a magnitude are counted in two digits, 15 high and 16 low
PIECE: Final = {"cpu": 1 << 18}  # entries: what fits a processor's cache
LARGE_PIECE: Final = 1 << 24


@final
@dataclass(frozen=True, kw_only=True)
class SelectiveMerging:
    """Update-selective merging (DLER, arXiv 2510.15110, Sec. 4.6).

    ``delta = trained - base``; the share ``density`` of entries with the largest ``|delta|`` is kept, every other delta
    becomes 0; ``merged = base + scale * delta``. Training-free.

    Args:
        density: the share of entries whose change is kept, from 0 to 1; the number of entries is rounded down.
        scale: factor of the kept changes, 0 or more.
        per_tensor: keep that share of every tensor. The paper does not say whether its threshold is one for the whole
            model; by default it is, over all tensors merged.

    At the cut, where several ``|delta|`` are equal, the lower index is kept: names of tensors in sorted order, then the
    place in the flattened tensor.

    >>> settings = SelectiveMerging()
    >>> settings
    SelectiveMerging(density=0.25, scale=0.7, per_tensor=False)
    >>> settings.kept(entries=8)
    2
    """

    density: float = 0.25
    scale: float = 0.7
    per_tensor: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.density <= 1:
            raise ConfigError(f"density is {self.density}; give the share of changes to keep, from 0 to 1")
        if not 0 <= self.scale < math.inf:
            raise ConfigError(f"scale is {self.scale}; give the factor of the kept changes, 0 or more")

    def kept(self, entries: int) -> int:
        """How many of so many entries are kept; 0.29 of 100 is 29, although the float 0.29 is a little less."""
        return math.floor(Fraction(str(float(self.density))) * entries)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where a selection ends.

    Attributes:
        bits: the float32 bits of the smallest ``|delta|`` kept; infinity's where nothing is.
        ties: how many entries of exactly that magnitude are kept; the first ones are.
    """

    bits: int
    ties: int

    @property
    def magnitude(self) -> float:
        """The smallest ``|delta|`` kept; infinity where nothing is."""
        return torch.tensor(self.bits, dtype=torch.int32).view(torch.float32).item()


@dataclass(frozen=True, kw_only=True)
class Merged:
    """A piece of a merged tensor.

    Attributes:
        name: the tensor.
        start: index of the piece's first entry in the flattened tensor.
        values: the merged entries.
        cut: where the selection ended that the piece belongs to.
        kept: entries selected; ``changed``: those whose value differs from base's, both as written.
        asked: sum of the kept ``|delta|``; ``given``: sum of ``|merged - base|``, both as written.
    """

    name: str
    start: int
    values: EntriesN
    cut: Cut
    kept: int
    changed: int
    asked: float
    given: float


def selective_merge(base: Tensor, trained: Tensor, density: float = 0.25, scale: float = 0.7) -> Tensor:
    """One tensor merged in memory, in base's shape and dtype; see :class:`SelectiveMerging`.

    >>> base = torch.zeros(8)
    >>> selective_merge(base, torch.tensor([0.5, -0.1, 0.02, -0.9, 0.3, 0.0, 0.05, -0.2]))
    tensor([ 0.3500,  0.0000,  0.0000, -0.6300,  0.0000,  0.0000,  0.0000,  0.0000])
    """
    settings = SelectiveMerging(density=density, scale=scale)
    merged = merge_stream({"tensor": base.numel()}, lambda _: (base, trained), settings, device=base.device)
    return torch.cat([base.new_empty(0), *(piece.values for piece in merged)]).view(base.shape)


def merge_stream(
    entries: Mapping[str, int],
    load: Load,
    settings: SelectiveMerging,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[Merged]:
    """A model merged tensor by tensor, in the sorted order of names and the order of entries.

    Deltas are taken in float32 and added in float32; the sum is rounded to ``dtype`` once, to the nearest value, ties
    to even. An entry that is not selected keeps its bits.

    Args:
        entries: the number of entries of each tensor to merge.
        load: gives base's and the trained tensor of a name, of one shape and of the dtypes in ``MERGEABLE``; it is
            called three times for each tensor, once with ``settings.per_tensor``.
        settings: density, scale, and whether each tensor has its own cut.
        dtype: of the result; base's if None.
        device: where to compute.

    Raises:
        DataError: a tensor holds NaN or infinity, or a result does not fit ``dtype``; the tensor is named.
    """
    names = sorted(entries)
    if settings.per_tensor:
        for name in names:
            pair = load(name)

            def pieces(name: str = name, pair: Pair = pair) -> Iterator[Piece]:
                return _pieces(name, pair, device)

            cut = find_cut(pieces, settings.kept(entries[name]))
            yield from _merge(pieces(), cut, settings.scale, dtype)
    else:

        def all_pieces() -> Iterator[Piece]:
            for name in names:
                yield from _pieces(name, load(name), device)

        cut = find_cut(all_pieces, settings.kept(sum(entries.values())))
        yield from _merge(all_pieces(), cut, settings.scale, dtype)


def find_cut(pieces: Callable[[], Iterable[Piece]], keep: int) -> Cut:
    """The exact cut that keeps ``keep`` entries, in two goes through the pieces, with memory for 65,538 counts.

    As non-negative floats are in the order of their bits, the ``keep``-th largest is found digit by digit.

    Raises:
        DataError: a difference is NaN or infinite; the tensor is named.
    """
    high = torch.zeros(1 << (31 - LOW_BITS), dtype=torch.int64)
    for name, start, base_N, trained_N in pieces():
        counts = torch.bincount(magnitude_bits(update(base_N, trained_N)) >> LOW_BITS, minlength=len(high)).cpu()
        if bool(counts[INFINITY_BITS >> LOW_BITS :].any()):
            raise _not_finite(name, start, base_N, trained_N)
        high += counts
    if keep == 0:
        return Cut(bits=INFINITY_BITS, ties=0)
    prefix, rest = _locate(high, keep)
    first, width = prefix << LOW_BITS, 1 << LOW_BITS
    low = torch.zeros(width + 2, dtype=torch.int64)  # with one count below the prefix and one above it
    for _, _, base_N, trained_N in pieces():
        digit_N = (magnitude_bits(update(base_N, trained_N)) - first).clamp(-1, width) + 1
        low += torch.bincount(digit_N, minlength=len(low)).cpu()
    suffix, ties = _locate(low[1:-1], rest)
    return Cut(bits=first + suffix, ties=ties)


def update(base_N: EntriesN, trained_N: EntriesN) -> EntriesN:
    """``trained - base`` in float32; finite only where both are."""
    return trained_N.float() - base_N.float()


def magnitude_bits(update_N: EntriesN) -> BitsN:
    """The bits of ``|update|``, whole numbers in the same order.

    >>> magnitude_bits(torch.tensor([-1.0, 1.0, -0.0, 2.0])).tolist()
    [1065353216, 1065353216, 0, 1073741824]
    """
    return update_N.view(torch.int32) & 0x7FFF_FFFF


def select(update_N: EntriesN, cut: Cut) -> tuple[MaskN, Cut]:
    """Which entries are kept, and the cut for what comes after them."""
    bits_N = magnitude_bits(update_N)
    kept_N = bits_N > cut.bits
    if not cut.ties:
        return kept_N, cut
    tied_N = bits_N == cut.bits
    count = int(tied_N.sum())
    if count > cut.ties:
        tied_N &= tied_N.cumsum(0) <= cut.ties
    return kept_N | tied_N, replace(cut, ties=max(cut.ties - count, 0))


def add_kept(base_N: EntriesN, update_N: EntriesN, kept_N: MaskN, scale: float) -> EntriesN:
    """``base + scale * update`` where kept and different from 0, else base with its sign of zero, in float32."""
    base_N = base_N.float()
    return torch.where(kept_N & (update_N != 0), base_N + scale * update_N, base_N)


def _merge(pieces: Iterable[Piece], cut: Cut, scale: float, dtype: torch.dtype | None) -> Iterator[Merged]:
    left = cut
    for name, start, base_N, trained_N in pieces:
        update_N = update(base_N, trained_N)
        kept_N, left = select(update_N, left)
        values_N = add_kept(base_N, update_N, kept_N, scale).to(dtype or base_N.dtype)
        given_N = values_N.float() - base_N.to(values_N.dtype).float()
        given = float(given_N.abs().sum(dtype=torch.float64))
        if not math.isfinite(given):
            at = start + int((~given_N.isfinite()).nonzero()[0])
            raise DataError(
                f"{name}: entry {at} is too large for {values_N.dtype} once merged; lower the scale, or write "
                "float32 (--dtype)"
            )
        yield Merged(
            name=name,
            start=start,
            values=values_N,
            cut=cut,
            kept=int(kept_N.sum()),
            changed=int(given_N.count_nonzero()),
            asked=float((update_N * kept_N).abs().sum(dtype=torch.float64)),
            given=given,
        )


def _pieces(name: str, pair: Pair, device: torch.device | str) -> Iterator[Piece]:
    base, trained = pair
    if base.shape != trained.shape or not {base.dtype, trained.dtype} <= set(MERGEABLE):
        given = " and ".join(f"{tensor.dtype} of shape {tuple(tensor.shape)}" for tensor in pair)
        raise DataError(f"{name}: {given} cannot be merged; give one shape, in float32, float16 or bfloat16")
    base_N, trained_N = base.reshape(-1), trained.reshape(-1)
    size = PIECE.get(torch.device(device).type, LARGE_PIECE)
    for start in range(0, len(base_N), size):
        yield name, start, base_N[start : start + size].to(device), trained_N[start : start + size].to(device)


def _locate(counts: Int[Tensor, " B"], keep: int) -> tuple[int, int]:
    """The bin that holds the ``keep``-th largest, and how many of that bin are kept."""
    from_top = counts.flip(0).cumsum(0)
    at = int(torch.searchsorted(from_top, keep))
    return len(counts) - 1 - at, keep - (int(from_top[at - 1]) if at else 0)


def _not_finite(name: str, start: int, base_N: EntriesN, trained_N: EntriesN) -> DataError:
    at = int((~update(base_N, trained_N).isfinite()).nonzero()[0])
    base, trained = base_N[at].item(), trained_N[at].item()
    return DataError(
        f"{name}: entry {start + at} is {base:g} in the base model and {trained:g} in the trained one: a change that "
        "is not finite; take a checkpoint from before training broke, or leave the tensor out (--exclude)"
    )
