"""UloRL's mask, arXiv 2507.19766."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from collected import SpelledOut
from leanthink.algorithms import Drpo, Grpo, MasteredTokenMask, PpoClip
from leanthink.algorithms.mastered_token_mask import mastered_tokens
from leanthink.core.errors import ConfigError
from leanthink.rewards import Correct, Truncation
from oracles import Flags, Numbers

EXAMPLES = [MasteredTokenMask(), MasteredTokenMask(of=PpoClip(high=0.28), probability=0.9, target_entropy=0.5)]
RECIPES = {
    "ulorl": SpelledOut(
        reward=Truncation(kappa=0.0, of=Correct()),
        advantage=Grpo(scale="std"),
        loss=MasteredTokenMask(of=PpoClip(low=0.2, high=0.2), probability=0.99, target_entropy=0.2),
        verl={
            "data.train_batch_size": 128,
            "data.max_response_length": 131072,
            "actor_rollout_ref.rollout.n": 8,
            "actor_rollout_ref.rollout.temperature": 0.85,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 128,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "algorithm.filter_groups.enable": True,
            "algorithm.filter_groups.metric": "acc_then_reward",
        },
    )
}

PROBABILITY = [[0.999, 0.5, 0.995, 0.3], [0.999, 0.98, 0.995, 0.99], [0.999, 0.999, 0.5]]
ENTROPY = [[0.01, 0.6, 0.02, 0.9], [0.01, 0.1, 0.02, 0.05], [0.01, 0.01, 0.3]]
ADVANTAGE = torch.tensor([1.0, 1.0, -1.0])


def padded(rows: list[list[float]], fill: float) -> Tensor:
    width = max((len(row) for row in rows), default=0)
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows], dtype=torch.float64).view(len(rows), width)


def mask_of(rows: list[list[float]]) -> Tensor:
    return padded([[1.0] * len(row) for row in rows], 0.0).bool()


def test_worked_example() -> None:
    mask_NT = mask_of(ENTROPY)
    correct_N = torch.tensor([True, True, False])
    log_prob_NT, entropy_NT = padded(PROBABILITY, 1.0).log(), padded(ENTROPY, 0.0)
    mastered_NT = mastered_tokens(log_prob_NT, entropy_NT, mask_NT, correct_N, 0.99, 0.2)
    kept = [row[row_mask].logical_not().int().tolist() for row, row_mask in zip(mastered_NT, mask_NT, strict=True)]
    assert kept == [[1, 1, 1, 1], [0, 1, 0, 0], [1, 1, 1]]

    def objective(masked_NT: Tensor) -> float:
        return float((ADVANTAGE[:, None] * (mask_NT & ~masked_NT)).sum() / mask_NT.sum())

    assert objective(mastered_NT) == pytest.approx(0.181818, abs=1e-6)
    assert objective(torch.zeros_like(mastered_NT)) == pytest.approx(0.454545, abs=1e-6)


def slow_mastered(
    probability: Sequence[Numbers], entropy: Sequence[Numbers], correct: Flags, tau: float, target: float
) -> list[list[bool]]:
    """arXiv 2507.19766, Eqs. 9-10: which tokens of each response are masked."""
    result = []
    for p, h, right in zip(probability, entropy, correct, strict=True):
        low = bool(h) and sum(h) / len(h) < target
        result.append([right and low and one >= tau for one in p])
    return result


def test_agrees_with_the_loop() -> None:
    generator = torch.Generator().manual_seed(7)
    for _ in range(1000):
        lengths = torch.randint(0, 7, (5,), generator=generator).tolist()
        p = [(torch.randint(95, 101, (n,), generator=generator) / 100).tolist() for n in lengths]
        h = [(torch.randint(0, 5, (n,), generator=generator) / 10).tolist() for n in lengths]
        correct_N = torch.rand(5, generator=generator) > 0.4
        expected = slow_mastered(p, h, correct_N.tolist(), 0.98, 0.2001)
        given_NT = mastered_tokens(padded(p, 1.0).log(), padded(h, 9.0), mask_of(h), correct_N, 0.98, 0.2001)
        assert [row[: len(one)] for row, one in zip(given_NT.tolist(), p, strict=True)] == expected


def test_tokens_that_are_not_the_policys_count_neither_in_the_mean_nor_as_mastered() -> None:
    """The second token stands outside the mask, as a tool's words do: its entropy of 9 nats is nobody's."""
    probability_NT, entropy_NT = torch.tensor([[0.999, 0.999, 0.5]]), torch.tensor([[0.1, 9.0, 0.2]])
    mask_NT = torch.tensor([[True, False, True]])
    given_NT = mastered_tokens(probability_NT.log(), entropy_NT, mask_NT, torch.tensor([True]), 0.99, 0.16)
    assert given_NT.tolist() == [[True, False, False]]
    assert not mastered_tokens(probability_NT.log(), entropy_NT, mask_NT, torch.tensor([True]), 0.99, 0.14).any()


def test_an_entropy_at_the_target_masks_nothing() -> None:
    one = torch.ones(1, 2)
    arguments = (one.log(), one * 0.25, one.bool(), torch.tensor([True]), 0.99)
    assert not mastered_tokens(*arguments, 0.25).any()
    assert mastered_tokens(*arguments, 0.26).all()


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"probability": 0.0}, "probability is 0.0"),
        ({"target_entropy": -0.1}, "target_entropy -0.1"),
        ({"of": Drpo(length_temperature=None)}, "give ppo_clip"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        MasteredTokenMask(**settings)
