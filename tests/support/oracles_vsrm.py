"""Slow second implementations for VSRM: plain Python loops, written from its definition, without torch or ``re``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

Rows = Sequence[Sequence[float]]


def cut_points(
    text: str, begin: int, end: int, markers: Sequence[str], skip_chars: int, min_gap_chars: int, sentence_ends: str
) -> list[int]:
    """Scan the thinking for the longest marker at each place; move each accepted one to its sentence's start."""
    cuts: list[int] = []
    last: int | None = None
    place = begin
    while place < end:
        here = [marker for marker in markers if text[place:end].startswith(marker)]
        if not here:
            place += 1
            continue
        marker = place
        place += max(len(one) for one in here)
        if marker - begin < skip_chars:
            continue
        if last is not None and marker - last < min_gap_chars:
            continue
        cut = marker
        for earlier in range(begin, marker):
            if text[earlier] in sentence_ends:
                cut = earlier + 1
        last = cut
        cuts.append(cut)
    return sorted(set(cuts))


def step_rewards(
    accuracies: Sequence[float | None], window: int = 4, decay: float = 0.7, tolerance: float = 1e-5
) -> list[float]:
    """``A_1..A_{M+1}`` to ``r_1..r_M``; an unknown accuracy makes the two gains that touch it flat."""
    gains = []
    for before, after in pairwise(accuracies):
        gains.append(0.0 if before is None or after is None else after - before)
    rewards = []
    for j, gain in enumerate(gains):
        if abs(gain) >= tolerance:
            rewards.append(gain)
            continue
        borrowed = 0.0
        for q in range(1, window + 1):
            if j + q < len(gains) and abs(gains[j + q]) >= tolerance:
                borrowed = decay**q * gains[j + q]
                break
        rewards.append(borrowed)
    return rewards


def placed(
    cuts: Sequence[int], rewards: Sequence[float], length: int, placement: str, combine: str
) -> dict[int, float]:
    """What each token gets, less what falls behind the end, or on the last token where the outcome replaces it."""
    tokens: dict[int, float] = {}
    for j, reward in enumerate(rewards):
        token = cuts[j] if placement == "step_start" else max(cuts[j], cuts[j + 1] - 1)
        if token >= length or (combine == "overwrite" and token == length - 1) or reward == 0:
            continue
        tokens[token] = tokens.get(token, 0.0) + reward
    return tokens


def returns(rewards: Sequence[float], gamma: float = 1.0) -> list[float]:
    """``G_t = R_t + gamma G_{t+1}``."""
    result = [0.0] * len(rewards)
    running = 0.0
    for t in range(len(rewards) - 1, -1, -1):
        running = rewards[t] + gamma * running
        result[t] = running
    return result


def reinforce_pp(rewards: Rows, lengths: Sequence[int], gamma: float = 1.0, eps: float = 1e-8) -> list[list[float]]:
    """arXiv 2501.03262: returns from each token on, whitened over the valid tokens of all responses."""
    rows = [returns(row[:length], gamma) for row, length in zip(rewards, lengths, strict=True)]
    values = [value for row in rows for value in row]
    if len(values) < 2 or max(values) == min(values):
        return [[0.0] * len(row) for row in rewards]
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    scaled = [[(value - mean) / math.sqrt(variance + eps) for value in row] for row in rows]
    return [[*row, *[0.0] * (len(full) - len(row))] for row, full in zip(scaled, rewards, strict=True)]
