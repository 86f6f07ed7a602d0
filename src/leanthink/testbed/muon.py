"""Muon: momentum whose singular values are made one, for the matrices of a small model; in float32 for CPUs.

torch has one since 2.9, which computes in bfloat16: on a CPU that took as long as the rest of a step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor

MOMENTUM: Final = 0.95
COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
"""Of the quintic that drives singular values towards 1, between about 0.7 and 1.2 after five rounds."""
ROUNDS: Final = 5
RMS: Final = 0.2
"""Root mean square of an update at a learning rate of 1, about that of AdamW's."""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; matrices of one shape are done together."""

    def __init__(self, params: Iterable[Tensor], *, lr: float, weight_decay: float) -> None:
        """Every parameter is a matrix."""
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for param in group["params"]:
                by_shape[param.shape].append(param)
            for params in by_shape.values():
                self._update(params, group["lr"], group["weight_decay"])

    def _update(self, params: list[Tensor], lr: float, weight_decay: float) -> None:
        ahead = []
        for param in params:
            state = self.state[param]
            if not state:
                state["momentum"] = torch.zeros_like(param)
            assert param.grad is not None
            state["momentum"].lerp_(param.grad, 1 - MOMENTUM)
            ahead.append(param.grad.lerp(state["momentum"], MOMENTUM))
        updates = orthogonal(torch.stack(ahead)) * (RMS * max(params[0].shape) ** 0.5)
        for param, update in zip(params, updates, strict=True):
            param.mul_(1 - lr * weight_decay).sub_(update, alpha=lr)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (N, rows, columns) with their singular vectors kept and their singular values near one.

    >>> values = torch.linalg.svdvals(orthogonal(torch.diag(torch.tensor([3.0, 1.0, 0.2]))[None]))
    >>> bool(((values > 0.6) & (values < 1.3)).all())
    True
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.transpose(1, 2) if tall else x
    return result
