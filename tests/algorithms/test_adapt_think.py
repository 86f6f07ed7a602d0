"""AdaptThink's loss, arXiv 2505.13417, Eq. 9."""

from __future__ import annotations

import math
import random

import pytest
import torch

from leanthink.algorithms import AdaptThink, PpoClip
from leanthink.algorithms.adapt_think import Ratio, clipped_loss, response_ratio
from leanthink.core.errors import ConfigError

EXAMPLES = [AdaptThink(), AdaptThink(ratio="product", of=PpoClip(high=0.28))]


def on_policy(p: float, tokens: int, advantage: float, ratio: Ratio) -> tuple[float, float, float]:
    """Ratio, loss and the derivative by the first token's log-probability, of one response on policy."""
    log_prob_NT = torch.full((1, tokens), -0.5, dtype=torch.float64)
    old_NT = log_prob_NT.clone()
    log_prob_NT[0, 0], old_NT[0, 0] = math.log(p), math.log(0.5)
    log_prob_NT.requires_grad_()
    ratio_N = response_ratio(log_prob_NT, old_NT, torch.ones(1, tokens, dtype=torch.float64), ratio)
    loss_N = clipped_loss(ratio_N, torch.tensor([advantage], dtype=torch.float64))
    loss_N.sum().backward()
    assert log_prob_NT.grad is not None
    return ratio_N.item(), loss_N.item(), log_prob_NT.grad[0, 0].item()


@pytest.mark.parametrize(
    ("p", "tokens", "advantage", "mean", "product"),
    [
        (1e-6, 400, 0.4875, (0.967726369, -0.471766605, -0.001179417), (0.000002, -0.000000975)),
        (0.9, 400, 0.4875, (1.001470547, -0.488216892, -0.001220542), (1.8, 0.0)),
        (1e-6, 400, -0.5125, (0.967726369, 0.495959764, 0.001239899), (0.000002, 0.0)),
        (0.9, 3000, 0.4375, (1.000195948, -0.437585727, -0.000145862), (1.8, 0.0)),
        (0.1, 3000, 0.4375, (0.999463665, -0.437265353, -0.000145755), (0.2, -0.0875)),
    ],
)
def test_worked_example_of_one_response_on_policy(
    p: float, tokens: int, advantage: float, mean: tuple[float, ...], product: tuple[float, float]
) -> None:
    assert on_policy(p, tokens, advantage, "mean") == pytest.approx(mean, abs=1e-9)
    ratio, _, slope = on_policy(p, tokens, advantage, "product")
    assert (ratio, slope) == pytest.approx(product, abs=1e-9)


@pytest.mark.parametrize(
    ("new", "advantage", "ratio", "loss"),
    [([-9.0, -0.7, -0.6], 0.55, 0.067052, -0.036879), ([-0.1, -0.4, -0.2], -0.5, 1.644959, 0.822480)],
)
def test_worked_example_of_three_tokens(new: list[float], advantage: float, ratio: float, loss: float) -> None:
    old = [math.log(0.5), -1.0, -0.5]
    rows = (torch.tensor([row], dtype=torch.float64) for row in (new, old, [1.0] * 3))
    ratio_N = response_ratio(*rows)
    assert ratio_N.tolist() == pytest.approx([ratio], abs=1e-6)
    assert clipped_loss(ratio_N, torch.tensor([advantage], dtype=torch.float64)).tolist() == pytest.approx(
        [loss], abs=1e-6
    )


@pytest.mark.parametrize("ratio", ["mean", "product"])
def test_agrees_with_the_loop(ratio: Ratio) -> None:
    """A thousand responses: Eq. 9 in loops."""
    draw = random.Random(2)
    for _ in range(1000):
        tokens, valid, advantage = draw.randint(1, 6), draw.randint(0, 6), draw.uniform(-1, 1)
        new = [draw.uniform(-2, 0) for _ in range(tokens)]
        old = [draw.uniform(-2, 0) for _ in range(tokens)]
        mask = [1.0 if t < valid else 0.0 for t in range(tokens)]
        counted = [t for t in range(tokens) if mask[t]]
        total = sum(new[t] - old[t] for t in counted)
        rho = math.exp(total / len(counted) if ratio == "mean" and counted else total)
        clipped = min(max(rho, 0.8), 1.28)
        expected = max(-advantage * rho, -advantage * clipped)
        rows = (torch.tensor([row], dtype=torch.float64) for row in (new, old, mask))
        given_N = clipped_loss(response_ratio(*rows, ratio), torch.tensor([advantage], dtype=torch.float64), 0.2, 0.28)
        assert given_N.item() == pytest.approx(expected, abs=1e-12)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="ratio is 'sum'; give mean or product"):
        AdaptThink(ratio="sum")  # type: ignore[arg-type]
