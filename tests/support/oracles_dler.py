"""Slow second implementations for DLER, DA-DLER and overlong filtering: plain Python loops, without torch.

Each takes the responses of one batch as parallel lists, ``group`` holding any hashable ids, and returns a list.
"""

from __future__ import annotations

import math

from oracles import Flags, Groups, Numbers, grpo, mean


def truncation(score: Numbers, cut: Flags, kappa: float = 0.0, rule: str = "multiply") -> list[float]:
    """arXiv 2510.15110, Secs. 2 and 4.5: ``s (stop + (1 - stop) kappa)``; by "add" ``s - (1 - stop)(1 - kappa)``."""
    result = []
    for i in range(len(score)):
        stop = 0.0 if cut[i] else 1.0
        if rule == "multiply":
            result.append(score[i] * (stop + (1 - stop) * kappa))
        else:
            result.append(score[i] - (1 - stop) * (1 - kappa))
    return result


def difficulty_truncation(
    correct: Numbers,
    length: Numbers,
    truncated: Flags,
    group: Groups,
    thresholds: Numbers,
    lengths: Numbers,
    kappa: float = 0.0,
    equality: str = "easy",
) -> list[float]:
    """arXiv 2510.15110, Sec. 3.5: the share of correct responses within the longest length picks the group's length."""
    result = []
    for i in range(len(correct)):
        members = [j for j in range(len(correct)) if group[j] == group[i]]
        right = 0
        for j in members:
            if correct[j] == 1 and length[j] <= lengths[0]:
                right += 1
        share = right / len(members)
        passed = 0
        for threshold in thresholds:
            if share > threshold or (share == threshold and equality == "easy"):
                passed += 1
        too_long = length[i] > lengths[passed] or truncated[i]
        result.append(correct[i] * (kappa if too_long else 1.0))
    return result


def batch_norm(
    reward: Numbers,
    group: Groups,
    length: Numbers,
    level: str = "token",
    ddof: int = 1,
    eps: float = 1e-8,
    floor: str = "add",
    singleton: str = "zero",
) -> list[float]:
    """arXiv 2510.15110, Eq. 3: minus the group's mean, then by mean and deviation of all tokens or responses."""
    centred = []
    for i in range(len(reward)):
        rewards = [reward[j] for j in range(len(reward)) if group[j] == group[i]]
        if len(rewards) == 1:
            centred.append(reward[i] if singleton == "zero" else 0.0)
        else:
            centred.append(0.0 if len(set(rewards)) == 1 else reward[i] - mean(rewards))
    weight = [float(tokens) if level == "token" else 1.0 for tokens in length]
    n = sum(weight)
    if n <= ddof:
        return [0.0] * len(reward)
    centre = sum(w * a for w, a in zip(weight, centred, strict=True)) / n
    variance = sum(w * (a - centre) ** 2 for w, a in zip(weight, centred, strict=True)) / (n - ddof)
    if floor == "clamp":
        divisor = math.sqrt(max(variance, eps))
    elif level == "token":
        divisor = math.sqrt(variance + eps)
    else:
        divisor = math.sqrt(variance) + eps
    return [(a - centre) / divisor for a in centred]


def filtered_grpo(reward: Numbers, group: Groups, truncated: Flags, variant: str) -> list[float]:
    """arXiv 2503.14476, Sec. 3.4: GRPO's advantage, 0 for the truncated, whose rewards count ("mask") or do not."""
    result = []
    for i in range(len(reward)):
        counted = [j for j in range(len(reward)) if group[j] == group[i] and (variant != "exclude" or not truncated[j])]
        if truncated[i] and variant != "keep":
            result.append(0.0)
            continue
        values = grpo([reward[j] for j in counted], [group[i]] * len(counted))
        result.append(values[counted.index(i)])
    return result
