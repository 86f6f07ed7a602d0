"""Values in Hydra's override grammar, so that a whole recipe travels on a command line and can be pasted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_PLAIN_TEXT: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS: Final = frozenset({"null", "true", "false", "nan", "inf"})
_INTERPOLATION: Final = re.compile(r"\$\{[A-Za-z0-9_.]+\}")


def literal(value: Any) -> str:
    """A value as Hydra reads it back.

    >>> literal({"sum": {"correct": "correct", "by": 1e-6, "tags": ["<think>", True, None]}})
    "{sum:{correct:correct,by:1e-06,tags:['<think>',true,null]}}"
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        bare = _PLAIN_TEXT.fullmatch(value) and value.lower() not in _WORDS
        return value if bare or _INTERPOLATION.fullmatch(value) else _quoted(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_key(str(key))}:{literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(literal(item) for item in value) + "]"
    raise TypeError(f"{value!r} of type {type(value).__name__} has no place in an override")


def _quoted(text: str) -> str:
    """Single quotes; Hydra unescapes quotes, and the backslashes right before one."""
    return "'" + re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + (r"\'" if match[2] else ""), text) + "'"


def _key(key: str) -> str:
    return re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", key)


def overrides(keys: Mapping[str, Any]) -> list[str]:
    """``key=value`` for each key; keys that the schema lacks begin with ``+``."""
    return [f"{key}={literal(value)}" for key, value in keys.items()]
