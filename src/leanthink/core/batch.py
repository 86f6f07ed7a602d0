"""RolloutBatch: one training step's responses, in whole prompt groups, as rewards see them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, ClassVar, Final, TypeVar, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.errors import BatchError, ChangedBatchError, MissingColumnError, did_you_mean
from leanthink.core.groups import num_groups

Column = Tensor | Sequence[Any]
Result = TypeVar("Result")

PROMPT_KEY: Final = "prompt_key"
"""The column that names a response's prompt the same in every epoch and after every resume; ``group`` does not."""
TEMPLATE_ARGUMENTS: Final = "chat_template_kwargs"
"""The column in which a row brings arguments of its own for the chat template, as ``{"reasoning_effort": "low"}``."""


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
        truncated: Iterable[float] | Tensor | None = None,
        step: int = 0,
        device: torch.device | str | None = None,
        **extras: Iterable[Any] | Tensor,
    ) -> RolloutBatch:
        """A checked batch from lists or tensors; groups may be any hashable ids and are coded by first appearance.

        Raises:
            BatchError: naming the column and the first row that is wrong.
        """
        tensors = [
            values for values in (group, length, correct, truncated, *extras.values()) if isinstance(values, Tensor)
        ]
        if device is None and tensors:
            device = tensors[0].device
        group_N = _codes(group, device)
        count = len(group_N)
        return cls(
            group=group_N,
            length=_core("length", length, count, device),
            correct=_core("correct", correct, count, device),
            truncated=_core("truncated", [False] * count if truncated is None else truncated, count, device),
            reward=torch.zeros(count, dtype=torch.float64, device=group_N.device),
            step=_step(step),
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
            for row, value in enumerate(values):
                if not _is_number(value):
                    raise BatchError(f"column {name!r}, row {row}: {value!r:.80} is no number; read it with values()")
            values = torch.tensor([float(value) for value in values], dtype=torch.float64, device=self.group.device)
        if values.ndim != 1:
            raise BatchError(
                f"column {name!r} has shape {tuple(values.shape)}, not one number a response; use values()"
            )
        return values.double()

    def values(self, name: str) -> Column:
        """A column as it is stored: a tensor, or a list for text, ids and other objects."""
        if name in self.CORE:
            return getattr(self, name)  # type: ignore[no-any-return]
        if name not in self.extras:
            known = [*self.CORE, *self.extras]
            raise MissingColumnError(f"the batch has no column {name!r}; {did_you_mean(name, known)}")
        return self.extras[name]

    def read_by(self, reader: object, read: Callable[[RolloutBatch], Result]) -> Result:
        """What ``read`` makes of the batch, which all parts of a reward and the metrics share.

        Raises:
            ChangedBatchError: it changed a column in place, with the name of ``reader``'s class.

        >>> RolloutBatch.of(group=[0], length=[3], correct=[1]).read_by(0, lambda batch: batch.correct.neg_())
        Traceback (most recent call last):
        ...
        leanthink.core.errors.ChangedBatchError: int changed batch.correct in place; work on batch.correct.clone()
        """
        before = self._versions()
        result = read(self)
        for name, version in self._versions().items():
            if version != before[name]:
                who = type(reader).__name__
                raise ChangedBatchError(f"{who} changed batch.{name} in place; work on batch.{name}.clone()")
        return result

    def _versions(self) -> dict[str, int]:
        """How often each column was written to; torch does not count what inference mode made."""
        named = ((name, self.values(name)) for name in (*self.CORE, *self.extras))
        return {name: one._version for name, one in named if isinstance(one, Tensor) and not one.is_inference()}

    def replace(self, **changes: Any) -> RolloutBatch:
        """A copy with some fields changed; unknown names become extra columns."""
        count, device = len(self), self.group.device
        extras = dict(changes.pop("extras", {}))
        core: dict[str, Any] = {}
        for name, value in changes.items():
            if name == "step":
                core[name] = _step(value)
            elif name == "group":
                core[name] = _codes(value, device)
                _rows(name, core[name], count)
            elif name in self.CORE:
                core[name] = _core(name, value, count, device)
            else:
                extras[name] = value
        checked = {name: _extra(name, values, count, device) for name, values in extras.items()}
        return dataclasses.replace(self, extras={**self.extras, **checked}, **core)

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
        if ours.shape != theirs.shape or ours.device != theirs.device:
            return False
        return bool(((ours == theirs) | (ours.isnan() & theirs.isnan())).all())  # NaN stands for "no value"
    return not isinstance(ours, Tensor) and not isinstance(theirs, Tensor) and list(ours) == list(theirs)


def _codes(group: Iterable[Hashable] | Tensor, device: Any) -> Int[Tensor, " N"]:
    codes: dict[Hashable, int] = {}
    rows = []
    for row, name in enumerate(group.tolist() if isinstance(group, Tensor) else group):
        if name is None or (isinstance(name, float) and name != name):
            raise BatchError(f"column 'group', row {row}: no group id; give every response its prompt's id")
        if not isinstance(name, Hashable):
            raise BatchError(f"column 'group', row {row}: {name!r:.80} is no id; give text or a number")
        rows.append(codes.setdefault(name, len(codes)))
    return torch.tensor(rows, dtype=torch.int64, device=device)


def _step(step: Any) -> int:
    if isinstance(step, bool) or not isinstance(step, Integral) or step < 0:
        raise BatchError(f"step is {step!r}; give the training step as a whole number from 0")
    return int(step)


def _core(name: str, values: Any, count: int, device: Any) -> Tensor:
    """A core column, checked; the running ``reward`` may be any number."""
    numbers = _numbers(name, values, count, device)
    if name == "length":
        check_values(name, numbers >= 0, numbers, "token counts are 0 or more")
    elif name in ("correct", "truncated"):
        cure = "verdicts are 0 or 1; binarise graded scores first" if name == "correct" else "give 0 or 1"
        check_values(name, (numbers == 0) | (numbers == 1), numbers, cure)
    return numbers.bool() if name == "truncated" else numbers


def check_values(name: str, good_N: Tensor, values_N: Tensor, cure: str) -> None:
    """Refuse a column of which some values are not good.

    Raises:
        BatchError: naming the column, the first row, its value and the cure.
    """
    if not bool(good_N.all()):
        row = int((~good_N).nonzero()[0])
        raise BatchError(f"column {name!r}, row {row}: {values_N[row].item():g} is not allowed; {cure}")


def _rows(name: str, values: Sequence[Any] | Tensor, count: int) -> None:
    given = len(values) if not isinstance(values, Tensor) or values.ndim else "no"
    if given != count:
        raise BatchError(f"column {name!r} has {given} rows, 'group' has {count}; give one per response")


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1
    if getattr(getattr(value, "dtype", None), "kind", None) in ("U", "S"):  # of an array; what it holds is text
        return False
    return hasattr(value, "__float__") and not isinstance(value, str) and getattr(value, "ndim", 0) == 0


def _numbers(name: str, values: Iterable[Any] | Tensor, count: int, device: Any) -> Float[Tensor, " N"]:
    if not isinstance(values, Tensor):
        values = list(values)
        for row, value in enumerate(values):
            if not _is_number(value):
                raise BatchError(f"column {name!r}, row {row}: {value!r:.80} is no number; give one per response")
        values = torch.tensor([float(value) for value in values], dtype=torch.float64)
    _rows(name, values, count)
    if values.ndim != 1:
        raise BatchError(f"column {name!r} has shape {tuple(values.shape)}; give one number per response")
    numbers = values.to(device=device, dtype=torch.float64)
    check_values(name, torch.isfinite(numbers), numbers, "give finite numbers")
    return numbers


def _extra(name: str, values: Iterable[Any] | Tensor, count: int, device: Any) -> Column:
    """Numbers become a float64 tensor; anything else stays a list."""
    if name in (*RolloutBatch.CORE, "step"):
        raise BatchError(f"column {name!r} is the library's own; give the extra column another name")
    if not isinstance(values, Tensor):
        values = list(values)
        if all(_is_number(value) and not isinstance(value, Tensor) for value in values):
            values = torch.tensor([float(value) for value in values], dtype=torch.float64)
    _rows(name, values, count)
    return values.to(device) if isinstance(values, Tensor) else values


def snippet(batch: RolloutBatch) -> str:
    """Code that builds the batch again.

    >>> snippet(RolloutBatch.of(group=["a", "b"], length=[3, 4], correct=[1, 0], budget=[0.5, 8]))
    "RolloutBatch.of(group=[0, 1], length=[3, 4], correct=[1, 0], truncated=[0, 0], step=0, **{'budget': [0.5, 8]})"
    """
    core = ", ".join(f"{name}={_shown(batch.values(name))}" for name in batch.CORE if name != "reward")
    extras = ", ".join(f"{name!r}: {_shown(values)}" for name, values in batch.extras.items())
    running = f".replace(reward={_shown(batch.reward)})" if bool((batch.reward != 0).any()) else ""
    return f"RolloutBatch.of({core}, step={batch.step}{f', **{{{extras}}}' if extras else ''}){running}"


def _shown(values: Column) -> str:
    if not isinstance(values, Tensor) or values.ndim != 1:
        return repr(values)
    numbers = [float(value) for value in values]
    texts = [str(int(x)) if x.is_integer() else repr(x) if x == x else "float('nan')" for x in numbers]
    return f"[{', '.join(texts)}]"
