"""Thinkless's DeGRPO loss, arXiv 2505.13379."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from torch import Tensor

from leanthink.algorithms import Degrpo, PpoClip
from leanthink.algorithms.degrpo import Response, decoupled_loss, decoupled_weights
from leanthink.core.errors import ConfigError

EXAMPLES = [Degrpo(), Degrpo(alpha=0.1, response="seq-mean", of=PpoClip(dual=1e6))]

LOG_RATIOS = [[0.1, 0.05], [-0.2, 0.1, -0.1, 0.3], [0.3, 0.0, -0.4]]
ADVANTAGES = [1.0625, 0.5625, -0.9375]


def padded(rows: list[list[float]]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row, dtype=torch.float64) for row in rows], batch_first=True)


def token_loss(log_ratio: float, advantage: float) -> float:
    """PPO's clipped loss of one token at 0.2, no dual clip."""
    ratio = math.exp(log_ratio)
    return max(-advantage * ratio, -advantage * min(max(ratio, 0.8), 1.2))


def token_losses() -> tuple[Tensor, Tensor]:
    rows = [[token_loss(x, a) for x in row] for row, a in zip(LOG_RATIOS, ADVANTAGES, strict=True)]
    return padded(rows), padded([[1.0] * len(row) for row in LOG_RATIOS])


def test_worked_example() -> None:
    loss_NT, mask_NT = token_losses()
    assert loss_NT[:, 0].mean().item() == pytest.approx(-0.123096, abs=1e-6)
    assert decoupled_loss(loss_NT, mask_NT, 0.0).item() == pytest.approx(-0.205851, abs=1e-6)
    assert decoupled_loss(loss_NT, mask_NT, 0.001).item() == pytest.approx(-0.205974, abs=1e-6)
    assert decoupled_loss(loss_NT, mask_NT, 0.0, "seq-mean").item() == pytest.approx(-0.291701, abs=1e-6)
    assert decoupled_loss(loss_NT, mask_NT, 0.001, "seq-mean").item() == pytest.approx(-0.291824, abs=1e-6)
    assert ((loss_NT * mask_NT).sum() / mask_NT.sum()).item() == pytest.approx(-0.178266, abs=1e-6)


@pytest.mark.parametrize("tokens", [100, 4000])
def test_a_control_token_weighs_the_same_however_long_its_response(tokens: int) -> None:
    weight_NT = decoupled_weights(torch.ones(1, tokens + 1), 0.001, 1, tokens + 1)
    assert weight_NT[0, 0].item() == pytest.approx(0.001) and weight_NT[0, 1:].sum().item() == pytest.approx(1)


@pytest.mark.parametrize("response", ["token-mean", "seq-mean"])
def test_agrees_with_the_loop(response: Response) -> None:
    """A thousand batches, some responses empty, some of the control token alone, some masked at the start."""
    draw = random.Random(5)
    for _ in range(1000):
        rows = [[draw.uniform(-1, 1) for _ in range(draw.randint(1, 5))] for _ in range(draw.randint(1, 5))]
        masks = [[float(draw.random() < 0.8) for _ in row] for row in rows]
        alpha = draw.choice([0.001, 0.5])
        controls, later = [], []
        for row, mask in zip(rows, masks, strict=True):
            kept = [value for value, one in zip(row, mask, strict=True) if one]
            if kept:
                controls.append(kept[0])
                later.append(kept[1:])
        expected = 0.0
        if controls:
            expected = alpha * sum(controls) / len(controls)
            if response == "token-mean":
                count = sum(len(values) for values in later)
                expected += sum(sum(values) for values in later) / count if count else 0.0
            else:
                expected += sum(sum(values) / len(values) for values in later if values) / len(controls)
        given = decoupled_loss(padded(rows), padded(masks), alpha, response)
        assert given.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"alpha": -1.0}, r"alpha is -1\.0"),
        ({"response": "mean"}, "give alpha 0 or more, and response token-mean or seq-mean"),
        ({"of": PpoClip(aggregation="seq-mean-token-mean")}, "this loss averages by itself"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Degrpo(**settings)
