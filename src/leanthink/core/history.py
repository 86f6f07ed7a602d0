"""What is remembered of each prompt: stable keys, bounded tables. ``_N`` responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from jaxtyping import Int
from torch import Tensor

from leanthink.core.batch import PROMPT_KEY, RolloutBatch
from leanthink.core.errors import ConfigError

Value = TypeVar("Value")

REMEMBERED: Final = 1_000_000
"""Prompts that a table keeps unless told otherwise: some 40 MB of JSON in a checkpoint."""


def prompts_of(batch: RolloutBatch) -> tuple[list[str], Int[Tensor, " N"]]:
    """The keys of a batch's prompts by first appearance, and which of them each response belongs to.

    >>> batch = RolloutBatch.of(group=[0, 0, 1], length=[1, 2, 3], correct=[1, 1, 0], prompt_key=["p", "p", "q"])
    >>> prompts_of(batch)
    (['p', 'q'], tensor([0, 0, 1]))
    """
    values = batch.values(PROMPT_KEY)
    numbers = values.double().tolist() if isinstance(values, Tensor) else []
    keys = [str(int(one) if one.is_integer() else one) for one in numbers] or [str(one) for one in values]
    codes = {key: code for code, key in enumerate(dict.fromkeys(keys))}
    return list(codes), batch.group.new_tensor([codes[key] for key in keys])


def updated(table: Mapping[str, Value], now: Mapping[str, Value], remembered: int) -> dict[str, Value]:
    """A table with new entries, the latest last; what was written longest ago makes room beyond ``remembered``.

    >>> updated({"p": 1, "q": 2}, {"p": 3, "r": 4}, remembered=2)
    {'p': 3, 'r': 4}
    """
    whole = {key: value for key, value in table.items() if key not in now} | dict(now)
    return dict(list(whole.items())[max(len(whole) - remembered, 0) :])


def check_remembered(name: str, remembered: int) -> None:
    """Refuse a table without room.

    Raises:
        ConfigError: naming the part.
    """
    if remembered < 1:
        raise ConfigError(f"{name}: remembered is {remembered}; give a number of prompts, 1 or more")
