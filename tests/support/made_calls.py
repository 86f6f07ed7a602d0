"""Calls of the DRPO loss, made by hand or by chance."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from leanthink.algorithms import drpo_loss


@dataclass
class Call:
    """The tensors of one call of the loss, padded, with rubbish where the mask is 0."""

    log_probs: Tensor
    old: Tensor
    mask: Tensor
    group: Tensor
    correct: Tensor

    def loss(self, **settings: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return drpo_loss(self.log_probs, self.old, self.mask, self.group, self.correct, **settings)

    def gradient(self, **settings: Any) -> Tensor:
        self.log_probs.grad = None
        self.loss(**settings)[0].backward()
        assert self.log_probs.grad is not None
        return self.log_probs.grad

    def rows(self, values: Tensor) -> list[list[float]]:
        return [row[mask.bool()].tolist() for row, mask in zip(values.detach(), self.mask, strict=True)]


def padded(log_probs: list[list[float]], old: list[list[float]], group: list[int], correct: list[float]) -> Call:
    width = max((len(row) for row in log_probs), default=0)

    def pad(rows: list[list[float]], filler: float) -> Tensor:
        return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows], dtype=torch.float64)

    mask = pad([[1.0] * len(row) for row in log_probs], 0.0)
    return Call(
        pad(log_probs, 800.0).requires_grad_(), pad(old, -800.0), mask, torch.tensor(group),
        torch.tensor(correct, dtype=torch.float64),
    )  # fmt: skip


def random_calls(count: int, seed: int = 0) -> list[Call]:
    """Uneven groups in mixed order: mixed, tied, all right, all wrong, of one; some responses empty."""
    draw = random.Random(seed)
    calls = []
    for _ in range(count):
        rows: list[tuple[int, float, list[float], list[float]]] = []
        for code in range(draw.randint(1, 5)):
            kind = draw.choice(["mixed", "mixed", "mixed", "ties", "right", "wrong"])
            for _ in range(draw.randint(1, 6)):
                length = draw.choice([3, 7]) if kind == "ties" else draw.choice([0, 1, *range(2, 12)])
                new = [-draw.expovariate(1.0) for _ in range(length)]
                old = [value + draw.gauss(0.0, 0.02) for value in new]
                correct = {"right": 1.0, "wrong": 0.0}.get(kind, float(draw.randint(0, 1)))
                rows.append((code * 7 - 3, correct, new, old))
        draw.shuffle(rows)
        group, correct_, new_, old_ = (list(column) for column in zip(*rows, strict=True))
        calls.append(padded(new_, old_, group, correct_))  # type: ignore[arg-type]
    return calls
