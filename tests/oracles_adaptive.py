"""Slow second implementations of adaptive and scheduled budgets: plain Python loops, written from the papers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from oracles import Flags, Numbers


def laser_level(right: Sequence[bool]) -> str:
    """arXiv 2505.15612, Sec. 5.1: by the share of right responses among all of a prompt's."""
    count, size = sum(right), len(right)
    return "easy" if 3 * count >= 2 * size else "medium" if 3 * count >= size else "hard"


def laser(length: Numbers, right: Flags, target: float, alpha: float) -> list[float]:
    """Table 2, LASER: ``alpha`` for what is right and no longer than the target."""
    return [alpha if ok and tokens <= target else 0.0 for tokens, ok in zip(length, right, strict=True)]


class LaserD:
    """Secs. 5.1 to 5.3 with the training batches as the monitoring set."""

    def __init__(self, lower: float, upper: float, interval: float, alpha: float, every: int, k: int, explore: bool):
        self.lower, self.upper, self.interval = lower, upper, interval
        self.alpha, self.every, self.k, self.explore = alpha, every, k, explore
        self.target = {"easy": upper, "medium": upper, "hard": upper}
        self.seen: list[tuple[str, float]] = []
        self.batches = self.searches = 0

    def search(self) -> None:
        least = {"easy": math.ceil(2 * self.k / 3), "medium": math.ceil(self.k / 3), "hard": 1}
        for level in self.target:
            lengths = [tokens for name, tokens in self.seen if name == level]
            chosen, candidate = self.upper, self.lower
            while candidate <= self.upper:
                inside = sum(1 for tokens in lengths if tokens <= candidate)
                if lengths and inside * least[level] >= len(lengths):
                    chosen = candidate
                    break
                candidate += self.interval
            self.target[level] = chosen
        self.seen, self.batches, self.searches = [], 0, self.searches + 1

    def step(self, length: Numbers, correct: Flags, group: Sequence[int]) -> list[float]:
        if self.batches >= (self.every if self.searches else 1):
            self.search()
        level = {code: laser_level([c for c, g in zip(correct, group, strict=True) if g == code]) for code in group}
        result = []
        for tokens, ok, code in zip(length, correct, group, strict=True):
            target = self.target[level[code]]
            pays = tokens <= target if ok else self.explore and tokens > target
            result.append(self.alpha if pays else 0.0)
            self.seen.append((level[code], tokens))
        self.batches += len(length) > 0
        return result


class Palu:
    """arXiv 2510.10168: a table of budgets, moved after each visit of a prompt."""

    def __init__(self, longest: float, threshold: float, tau: float):
        self.longest, self.threshold, self.tau = longest, threshold, tau
        self.table: dict[str, float] = {}

    @staticmethod
    def quantile(values: list[float], share: float) -> float:
        ordered = sorted(values)
        place = share * (len(ordered) - 1)
        low = math.floor(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

    def step(self, length: Numbers, correct: Flags, truncated: Flags, prompt: Sequence[str]) -> list[float]:
        rewards, inside = [], {name: [] for name in prompt}
        visits: dict[str, int] = {}
        for tokens, ok, cut, name in zip(length, correct, truncated, prompt, strict=True):
            visits[name] = visits.get(name, 0) + 1
            good = bool(ok) and not cut and tokens <= self.table.get(name, self.longest)
            rewards.append(1.0 if good else 0.0)
            if good:
                inside[name].append(tokens)
        for name, lengths in inside.items():
            budget = self.table.get(name, self.longest)
            if lengths and len(lengths) / visits[name] >= self.threshold:
                gap = self.quantile(lengths, 1.0) - self.quantile(lengths, 1.0 - self.tau)
                self.table[name] = min(max(float(math.floor(budget - gap + 1e-9)), 1.0), self.longest)
            else:
                self.table[name] = self.longest
        return rewards
