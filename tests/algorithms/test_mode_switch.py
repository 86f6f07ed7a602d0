"""The mode-switching loss, arXiv 2505.20101."""

from __future__ import annotations

import math
import random

import pytest
import torch

from leanthink.algorithms import ModeSwitch, PpoClip
from leanthink.algorithms.mode_switch import mode_loss
from leanthink.core.errors import ConfigError

EXAMPLES = [ModeSwitch(), ModeSwitch(weight=1.0, form="logistic", of=PpoClip(high=0.28))]

GAPS = torch.tensor([-1.0, 0.0, 0.5, 2.0], dtype=torch.float64)


def test_worked_example() -> None:
    assert mode_loss(GAPS).tolist() == pytest.approx([2.0, 1.0, 0.5, 0.0], abs=1e-6)
    expected = [1.313262, 0.693147, 0.474077, 0.126928]
    assert mode_loss(GAPS, "logistic").tolist() == pytest.approx(expected, abs=1e-6)


def test_gradients_push_the_preferred_token_up() -> None:
    gap_G = GAPS.clone().requires_grad_()
    mode_loss(gap_G).sum().backward()
    assert gap_G.grad is not None and gap_G.grad.tolist() == [-1.0, -1.0, -1.0, 0.0]
    gap_G.grad = None
    mode_loss(gap_G, "logistic").sum().backward()
    assert gap_G.grad.tolist() == pytest.approx([-1 / (1 + math.exp(gap)) for gap in GAPS.tolist()], abs=1e-9)


def test_agrees_with_the_loop() -> None:
    draw = random.Random(1)
    gaps = [draw.uniform(-4, 4) for _ in range(1000)]
    gap_G = torch.tensor(gaps, dtype=torch.float64)
    assert mode_loss(gap_G, margin=0.7).tolist() == pytest.approx([max(0.0, 0.7 - gap) for gap in gaps], abs=1e-12)
    expected = [math.log(1 + math.exp(-gap)) for gap in gaps]
    assert mode_loss(gap_G, "logistic").tolist() == pytest.approx(expected, abs=1e-12)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="weight is -1"):
        ModeSwitch(weight=-1.0)
