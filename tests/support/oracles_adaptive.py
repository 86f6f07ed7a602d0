"""Slow second implementations of adaptive and scheduled budgets: plain Python loops, written from the papers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

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

    def __init__(
        self,
        lower: float,
        upper: float,
        interval: float,
        alpha: float,
        every: int,
        k: int | None,
        explore: bool,
        explore_invalid: bool = False,
        cap: bool = False,
    ):
        self.lower, self.upper, self.interval = lower, upper, interval
        self.alpha, self.every, self.k = alpha, every, k
        self.explore, self.explore_invalid = explore, explore_invalid
        self.cap = cap
        self.target = {"easy": upper, "medium": upper, "hard": upper}
        self.seen: list[tuple[str, float]] = []
        self.sizes: list[int] = []
        self.batches = self.searches = 0

    def search(self, longest: float) -> None:
        k = max(self.sizes) if self.k is None else self.k
        least = {"easy": math.ceil(2 * k / 3), "medium": math.ceil(k / 3), "hard": 1}
        for level in self.target:
            lengths = [tokens for name, tokens in self.seen if name == level]
            chosen, candidate = self.upper, self.lower
            while candidate <= self.upper:
                inside = sum(1 for tokens in lengths if tokens <= candidate)
                if lengths and inside * least[level] >= len(lengths):
                    chosen = candidate
                    break
                candidate += self.interval
            self.target[level] = min(chosen, max(longest, 1)) if self.cap else chosen
        self.seen, self.sizes, self.batches, self.searches = [], [], 0, self.searches + 1

    def step(self, length: Numbers, correct: Flags, group: Sequence[int], formed: Flags | None = None) -> list[float]:
        if self.batches >= (self.every if self.searches else 1):
            self.search(max(length, default=math.inf))
        formed = [True] * len(length) if formed is None else formed
        right = [bool(ok and form) for ok, form in zip(correct, formed, strict=True)]
        level = {code: laser_level([c for c, g in zip(right, group, strict=True) if g == code]) for code in group}
        result = []
        for tokens, ok, form, code in zip(length, right, formed, group, strict=True):
            target = self.target[level[code]]
            explores = self.explore and (form or self.explore_invalid)
            pays = tokens <= target if ok else explores and tokens > target
            result.append(self.alpha if pays else 0.0)
            self.seen.append((level[code], tokens))
        self.sizes += [list(group).count(code) for code in set(group)]
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
                self.table[name] = min(max(float(math.floor(budget - gap + 1e-6)), 1.0), self.longest)
            else:
                self.table[name] = self.longest
        return rewards


def siri(step: int, period: int, high: float, low: float, shape: str) -> float:
    """arXiv 2509.25176, Sec. 4.3, by the phase."""
    phi = 2 * math.pi * (step % period) / period
    mid, half = (high + low) / 2, (high - low) / 2
    if shape == "cosine":
        return mid + half * math.cos(2 * math.pi * step / period)
    if shape == "stairs":
        return low if phi < math.pi else high
    quarter = math.pi / 4
    if phi < quarter or phi >= 7 * quarter:
        return high
    if phi < 3 * quarter:
        return mid + half * math.cos(2 * (phi - quarter))
    if phi < 5 * quarter:
        return low
    return mid + half * math.cos(2 * (phi - 3 * quarter))


def decay_by_factor(start: float, stop: float, factor: float, interval: int, steps: int) -> list[float]:
    """arXiv 2508.08940, Sec. 3.4: the budget of each step, cut by ``factor`` whenever an interval is over."""
    budgets, budget = [], start
    for step in range(steps):
        if step > 0 and step % interval == 0:
            budget *= factor
        budgets.append(max(budget, stop))
    return budgets


def decay_by_drops(start: float, stop: float, drops: int, total: int, linear: bool, steps: int) -> list[float]:
    """Sec. 4.4: as many equal drops, each when its share of all steps is over; the last one reaches the stop."""
    due = [Fraction(total * drop, drops + 1) for drop in range(1, drops + 1)]
    budgets, budget = [], start
    for step in range(steps):
        while due and step >= due[0]:
            due.pop(0)
            budget = budget - (start - stop) / drops if linear else budget * (stop / start) ** (1 / drops)
        budgets.append(budget)
    return budgets


def triangle(length: Numbers, budget: float, band: bool) -> list[float]:
    """arXiv 2508.08940, Sec. 3.3, with a peak of 1."""
    result = []
    for tokens in length:
        if tokens <= budget:
            result.append(1.0 if band else tokens / budget)
        else:
            result.append(1 - (tokens - budget) / budget if tokens <= 2 * budget else 0.0)
    return result


def dylr(length: Numbers, correct: Flags, group: Sequence[int], limit: float, target: float) -> list[float]:
    """arXiv 2507.22607 as released: the length term only."""
    result = []
    for tokens, ok, code in zip(length, correct, group, strict=True):
        right = [other for other, good, same in zip(length, correct, group, strict=True) if good and same == code]
        if ok:
            result.append(0.0)
        elif right:
            mean = max(sum(right) / len(right), 1.0)
            result.append(-0.25 * (1 + math.cos(math.pi * tokens / mean)) if tokens < 2 * mean else -0.5)
        elif tokens >= limit:
            result.append(-0.25)
        elif tokens >= target:
            result.append(0.0)
        else:
            result.append(0.5 * -0.25 * (1 + math.cos(math.pi * tokens / target)))
    return result


def odsw(correct: Flags, stage: str) -> float:
    """The weight of one prompt."""
    rate = sum(correct) / len(correct)
    if rate == 0:
        return 0.25 if stage == "hard" else 0.0
    if (stage == "hard" and rate <= 0.5) or (stage == "easy" and rate > 0.5):
        return 1.0
    return math.cos((rate - 0.5) * math.pi)


def surrogate(length: Numbers, readable: Flags, limit: float, p: float) -> list[float]:
    """arXiv 2505.19439: the released format-length reward without a tag."""
    result = []
    for tokens, ok in zip(length, readable, strict=True):
        x = tokens / limit
        value = 1 - (1 - x / p) ** 2 if x <= p else 1 - 2 * ((x - p) / (1 - p)) ** 2
        result.append(0.5 + value if ok else min(0.0, value))
    return result


def tldr(length: Numbers, correct: Flags, price: float, limit: float, penalise: bool) -> list[float]:
    """arXiv 2505.07961, the reconstruction."""
    result = []
    for tokens, ok in zip(length, correct, strict=True):
        cost = price * min(tokens, limit) / limit
        result.append((1.0 if ok else 0.0) - (cost if ok or penalise else 0.0))
    return result


class Guard:
    """Our collapse guard, from its documentation."""

    def __init__(
        self,
        window: int,
        drop: float,
        release: float,
        relax: float,
        tighten: float,
        floor: float = 0.0,
        forget: float = 0.0,
    ):
        self.window, self.drop, self.release, self.relax, self.tighten = window, drop, release, relax, tighten
        self.floor, self.forget = floor, forget
        self.n, self.s, self.r, self.w, self.relaxing, self.interventions = 0, 0.0, 0.0, 1.0, False, 0

    def step(self, correct: Flags) -> float:
        if not correct:
            return self.w
        self.n += 1
        accuracy = sum(1 for ok in correct if ok) / len(correct)
        self.s += (accuracy - self.s) / (self.n if self.n < self.window else self.window)
        self.r -= self.forget
        if self.n <= self.window or self.s > self.r:
            self.r = self.s
        before = self.relaxing
        if not self.relaxing and self.s < self.r - self.drop:
            self.relaxing = True
        elif self.relaxing and self.s >= self.r - self.release:
            self.relaxing = False
        self.interventions += before != self.relaxing
        self.w = max(self.floor, self.w - self.relax) if self.relaxing else min(1.0, self.w + self.tighten)
        return self.w
