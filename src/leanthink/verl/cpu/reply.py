"""What the rollout server answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The fields of verl's ``TokenOutput``; it becomes one when it is unpickled.

    The server itself never imports verl, whose import takes longer than loading a small model. ``stop_reason`` has
    vLLM's values: ``"completed"`` whether the response ended or was cut at its limit, ``"aborted"`` when generation was
    interrupted; ``extra_fields["finish_reason"]`` tells ``"stop"`` from ``"length"``.
    """

    token_ids: list[int]
    log_probs: list[float]
    stop_reason: str
    extra_fields: dict[str, Any] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return token_output, (self.token_ids, self.log_probs, self.stop_reason, self.extra_fields)


def token_output(token_ids: list[int], log_probs: list[float], stop_reason: str, extra_fields: dict[str, Any]) -> Any:
    """verl's type with these values."""
    from verl.workers.rollout.replica import TokenOutput

    return TokenOutput(
        token_ids=token_ids, log_probs=log_probs, stop_reason=stop_reason, num_preempted=0, extra_fields=extra_fields
    )
