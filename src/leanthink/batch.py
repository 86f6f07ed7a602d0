"""RolloutBatch: one training step's responses, in whole prompt groups, as rewards see them."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.errors import BatchError, MissingColumnError, did_you_mean
from leanthink.groups import num_groups

Column = Tensor | Sequence[Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RolloutBatch:
    """N responses in whole prompt groups at one training step. Build it with :meth:`of`.

    Attributes:
        group: (N,) group codes 0..G-1; responses to the same prompt share one.
        length: (N,) response tokens.
        correct: (N,) 1.0 right, 0.0 wrong, the verifier's raw verdict. Responses whose verdict is unknown are left
            out of the batch by whoever builds it.
        truncated: (N,) whether the generation limit, not the model, ended the response.
        reward: (N,) the running value inside a ``Chain``; 0 outside one.
        step: the training step, from 0.
        extras: any further columns of N entries, tensors or lists.

    >>> batch = RolloutBatch.of(group=["a", "a", "b"], length=[12, 40, 7], correct=[1, 0, 1])
    >>> len(batch), batch.num_groups, batch.column("length")
    (3, 2, tensor([12., 40.,  7.], dtype=torch.float64))
    """

    group: Int[Tensor, " N"]
    length: Float[Tensor, " N"]
    correct: Float[Tensor, " N"]
    truncated: Bool[Tensor, " N"]
    reward: Float[Tensor, " N"]
    step: int = 0
    extras: Mapping[str, Column] = field(default_factory=dict)

    CORE: ClassVar[tuple[str, ...]] = ("group", "length", "correct", "truncated", "reward")

    @classmethod
    def of(
        cls,
        *,
        group: Iterable[Hashable] | Tensor,
        length: Iterable[float] | Tensor,
        correct: Iterable[float] | Tensor,
        truncated: Iterable[bool] | Tensor | None = None,
        step: int = 0,
        device: torch.device | str | None = None,
        **extras: Iterable[Any] | Tensor,
    ) -> RolloutBatch:
        """A checked batch from lists or tensors; groups may be any hashable ids and are coded by first appearance.

        Raises:
            BatchError: naming the column and the first row that is wrong.
        """
        ids = group.tolist() if isinstance(group, Tensor) else list(group)
        codes: dict[Hashable, int] = {}
        for row, name in enumerate(ids):
            if name is None or (isinstance(name, float) and name != name):
                raise BatchError(f"column 'group', row {row}: no group id; give every response its prompt's id")
            codes.setdefault(name, len(codes))
        count = len(ids)
        columns = {
            "length": _numbers("length", length, count, device),
            "correct": _numbers("correct", correct, count, device),
            "truncated": _numbers("truncated", truncated if truncated is not None else [False] * count, count, device),
        }
        _check("length", columns["length"] >= 0, columns["length"], "token counts are 0 or more")
        for name in ("correct", "truncated"):
            allowed = (columns[name] == 0) | (columns[name] == 1)
            cure = "verdicts are 0 or 1; binarise graded scores first" if name == "correct" else "give 0 or 1"
            _check(name, allowed, columns[name], cure)
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise BatchError(f"step is {step!r}; give the training step as a whole number from 0")
        return cls(
            group=torch.tensor([codes[name] for name in ids], dtype=torch.int64, device=device),
            length=columns["length"],
            correct=columns["correct"],
            truncated=columns["truncated"].bool(),
            reward=torch.zeros(count, dtype=torch.float64, device=device),
            step=step,
            extras={name: _extra(name, values, count, device) for name, values in extras.items()},
        )

    def __len__(self) -> int:
        return self.group.shape[0]

    @property
    def num_groups(self) -> int:
        """The number of prompt groups G."""
        return num_groups(self.group)

    def column(self, name: str) -> Float[Tensor, " N"]:
        """A column as float64 numbers.

        Raises:
            MissingColumnError: the batch has no such column.
            BatchError: the column does not hold numbers.
        """
        values = self.values(name)
        if not isinstance(values, Tensor):
            raise BatchError(f"column {name!r} holds {type(values[0]).__name__}, not numbers; read it with values()")
        return values.double()

    def values(self, name: str) -> Column:
        """A column as it is stored: a tensor, or a list for text, ids and other objects."""
        if name in self.CORE:
            return getattr(self, name)  # type: ignore[no-any-return]
        if name not in self.extras:
            known = [*self.CORE, *self.extras]
            raise MissingColumnError(f"the batch has no column {name!r}; {did_you_mean(name, known)}")
        return self.extras[name]

    def replace(self, **changes: Any) -> RolloutBatch:
        """A copy with some fields changed; unknown names become extra columns."""
        fields = {f.name for f in dataclasses.fields(self)}
        extras = {**self.extras, **changes.pop("extras", {})}
        extras |= {name: changes.pop(name) for name in list(changes) if name not in fields}
        for name, values in {**changes, **extras}.items():
            if name != "step" and len(values) != len(self):
                raise BatchError(f"column {name!r} has {len(values)} rows, the batch {len(self)}; give one per response")
        return dataclasses.replace(self, extras=extras, **changes)

    def select(self, rows: Int[Tensor, " M"] | Bool[Tensor, " N"]) -> RolloutBatch:
        """Some rows, in the order given; groups are coded anew by first appearance."""
        if rows.dtype == torch.bool:
            rows = rows.nonzero().squeeze(-1)
        picked = rows.tolist()
        codes: dict[int, int] = {}
        group = [codes.setdefault(code, len(codes)) for code in self.group[rows].tolist()]
        extras = {
            name: values[rows] if isinstance(values, Tensor) else [values[row] for row in picked]
            for name, values in self.extras.items()
        }
        core = {name: getattr(self, name)[rows] for name in self.CORE if name != "group"}
        return RolloutBatch(group=self.group.new_tensor(group), step=self.step, extras=extras, **core)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RolloutBatch):
            return NotImplemented
        if self.step != other.step or self.extras.keys() != other.extras.keys():
            return False
        names = [*self.CORE, *self.extras]
        return all(_same(self.values(name), other.values(name)) for name in names)

    __hash__ = None  # type: ignore[assignment]


def _same(ours: Column, theirs: Column) -> bool:
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        return torch.equal(ours, theirs)
    return not isinstance(ours, Tensor) and not isinstance(theirs, Tensor) and list(ours) == list(theirs)


def _check(name: str, good_N: Tensor, values_N: Tensor, cure: str) -> None:
    if not bool(good_N.all()):
        row = int((~good_N).nonzero()[0])
        raise BatchError(f"column {name!r}, row {row}: {values_N[row].item():g} is not allowed; {cure}")


def _rows(name: str, values: Sequence[Any] | Tensor, count: int) -> None:
    if len(values) != count:
        raise BatchError(f"column {name!r} has {len(values)} rows, 'group' has {count}; give one per response")


def _numbers(name: str, values: Iterable[Any] | Tensor, count: int, device: Any) -> Float[Tensor, " N"]:
    if not isinstance(values, Tensor):
        values = list(values)
        for row, value in enumerate(values):
            if isinstance(value, str) or not hasattr(value, "__float__"):
                raise BatchError(f"column {name!r}, row {row}: {value!r} is no number")
        values = torch.tensor([float(value) for value in values], dtype=torch.float64)
    _rows(name, values, count)
    numbers = values.to(device=device, dtype=torch.float64)
    _check(name, torch.isfinite(numbers), numbers, "give finite numbers")
    return numbers


def _extra(name: str, values: Iterable[Any] | Tensor, count: int, device: Any) -> Column:
    """Numbers become a float64 tensor; anything else stays a list."""
    if not isinstance(values, Tensor):
        values = list(values)
        numeric = all(hasattr(value, "__float__") and not isinstance(value, str | Tensor) for value in values)
        if numeric and values:
            values = torch.tensor([float(value) for value in values], dtype=torch.float64)
    _rows(name, values, count)
    return values.to(device) if isinstance(values, Tensor) else values
