"""The facts of a response, as the reward workers return them."""

from __future__ import annotations

from typing import Any


def fact(
    acc: float = 1.0, length: float = 10.0, unknown: float = 0.0, truncated: float = 0.0, **more: Any
) -> dict[str, Any]:
    """Those of a response that is right, complete and known, unless told otherwise."""
    base = {"acc": acc, "unknown": unknown, "truncated": truncated, "length": length, "verify_seconds": 0.0}
    return {**base, "pred": "", "reason": "unknown/timeout" if unknown else "correct/equal", "difficulty": "", **more}
