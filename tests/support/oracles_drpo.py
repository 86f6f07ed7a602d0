"""A slow second implementation of DRPO: plain Python loops, written from the paper's formulas, without torch.

Responses are ragged lists of their valid tokens' log-probabilities. The gradient is the closed form of the formula's
derivative by each token's log-probability, not a derivative of any code.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

Ragged = Sequence[Sequence[float]]
Numbers = Sequence[float]


@dataclass(frozen=True)
class Result:
    """What one call of the loss sees: its value and terms, and the derivative of the loss by every token."""

    loss: float
    objective: float
    kl: float
    penalty: float
    gradient: list[list[float]]


def length_reward(length: float, limit: float, shape: str = "linear") -> float:
    """Eq. 4 and the two alternatives of the ablation."""
    if shape == "linear":
        return 1 - length / limit
    if shape == "concave":
        return 1 - (length / limit) ** 2
    return 0.5 + 0.5 * math.cos(math.pi * length / limit)


def softmax(values: Numbers, temperature: float | None) -> list[float]:
    """Uniform at an infinite temperature, which None stands for."""
    if not values:
        return []
    top = max(values)
    powers = [1.0 if temperature is None else math.exp((value - top) / temperature) for value in values]
    return [power / sum(powers) for power in powers]


def drpo(
    log_probs: Ragged,
    old_log_probs: Ragged,
    group: Sequence[Hashable],
    correct: Numbers,
    preference: Numbers,
    temperature: float | None,
    tau: float | None = 10.0,
    delta: float = 1e-4,
    beta: float = 1e3,
    kl_type: str = "kl",
    score: str = "logL",
    keep_all_correct: bool = False,
    prompts: int | None = None,
) -> Result:
    """arXiv 2510.04474, Eq. 7, with the squared hinge on the KL; ``score`` and ``tau`` None as in arXiv 2505.12366."""
    count = len(log_probs)
    names = list(dict.fromkeys(group))
    prompts = len(names) if prompts is None else prompts
    tokens = sum(len(row) for row in log_probs)

    scores = []
    for new, old in zip(log_probs, old_log_probs, strict=True):
        values = list(new) if score == "logL" else [math.exp(a - b) for a, b in zip(new, old, strict=True)]
        scores.append(sum(values) / len(values) if values else 0.0)

    objective = 0.0
    by_score = [0.0] * count  # derivative of the sum of the prompts' objectives
    for name in names:
        right = [i for i in range(count) if group[i] == name and correct[i] == 1 and len(log_probs[i])]
        wrong = [i for i in range(count) if group[i] == name and correct[i] == 0 and len(log_probs[i])]
        if not right or (not wrong and not keep_all_correct):
            continue
        weights = softmax([preference[i] for i in right], temperature)
        for i, weight in zip(right, weights, strict=True):
            objective += weight * scores[i] / prompts
            by_score[i] = weight
        if wrong:
            negatives = [scores[j] for j in wrong]
            if tau is None:
                objective -= sum(negatives) / len(negatives) / prompts
            else:
                top = max(negatives)
                mean = sum(math.exp((value - top) / tau) for value in negatives) / len(negatives)
                objective -= (top + tau * math.log(mean)) / prompts
            for j, share in zip(wrong, softmax(negatives, tau), strict=True):
                by_score[j] = -share

    kl = 0.0
    for new, old in zip(log_probs, old_log_probs, strict=True):
        for a, b in zip(new, old, strict=True):
            kl += (b - a) if kl_type == "kl" else math.exp(a - b) - 1 - (a - b)
    kl = kl / tokens if tokens else 0.0
    excess = max(kl - delta, 0.0)
    penalty = beta / 2 * excess**2

    gradient = []
    for i, (new, old) in enumerate(zip(log_probs, old_log_probs, strict=True)):
        row = []
        for a, b in zip(new, old, strict=True):
            of_score = 1.0 if score == "logL" else math.exp(a - b)
            of_kl = -1.0 if kl_type == "kl" else math.exp(a - b) - 1
            row.append(-by_score[i] * of_score / len(new) / prompts + beta * excess * of_kl / tokens)
        gradient.append(row)
    return Result(penalty - objective, objective, kl, penalty, gradient)
