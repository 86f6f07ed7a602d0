"""Text as files can hold it: JSON may bring half of a surrogate pair, which is no text and has no UTF-8."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

REPLACEMENT: Final = "\ufffd"

_HALVES = re.compile("[\ud800-\udfff]")


def storable(value: Any) -> tuple[Any, int]:
    r"""A value whose texts, in lists and mappings too, can be written, and how many signs were replaced for that.

    Each half of a surrogate pair becomes U+FFFD, as in browsers; a value without one is returned itself.

    >>> storable(["x \ud835", {"y": 1}])
    (['x �', {'y': 1}], 1)
    """
    if isinstance(value, str):
        return _HALVES.subn(REPLACEMENT, value) if _HALVES.search(value) else (value, 0)
    if isinstance(value, Mapping):
        pairs = [(storable(key), storable(below)) for key, below in value.items()]
        count = sum(key[1] + below[1] for key, below in pairs)
        return ({key[0]: below[0] for key, below in pairs}, count) if count else (value, 0)
    if isinstance(value, list | tuple):
        items = [storable(below) for below in value]
        count = sum(item[1] for item in items)
        return ([item[0] for item in items], count) if count else (value, 0)
    return value, 0


def first_unstorable(rows: Any) -> int | None:
    """The place of the first row, from 0, that holds a text that cannot be written; None where all can."""
    return next((place for place, row in enumerate(rows) if storable(row)[1]), None)
