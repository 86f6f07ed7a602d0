"""The best trade of tokens for accuracy on the search task, by calculation, and how far from it a policy ends.

With K candidates in an order that says nothing, a policy that stops at a success, never repeats itself, and answers an
untried candidate after t failures is right with probability ``(t + 1) / K``, and needs the n-th try with probability
``(K - n + 1) / K``. The last candidate needs no try: all ``K - 1`` before it have failed. What a policy may still
choose is when to give up, at random too: every mixture of the K plans. Their upper hull is the best accuracy for
expected tokens; over a mix of K, tokens go first to where they buy most, which is optimal as every hull is concave.

It is the front of policies that write in the form of the traces and know no product without writing it. One that learns
the inverse, or another way of writing, may pass it; `leanthink report` shows the signs of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from leanthink.core.errors import ConfigError
from leanthink.testbed.search import ANSWER_WORDS, TRY_WORDS, Search

Point = tuple[float, float]
"""Expected tokens of a response, end token included, and accuracy."""


def plan_points(candidates: int) -> list[Point]:
    """Tokens and accuracy of giving up after t = 0 ... K - 1 failures.

    >>> plan_points(2)
    [(6.0, 0.5), (9.0, 1.0)]
    """
    points, tokens = [], float(ANSWER_WORDS)
    for tries in range(candidates):
        points.append((tokens, (tries + 1) / candidates))
        wait = 1 if tries else 0
        tokens += (candidates - tries) / candidates * (TRY_WORDS - 1 + wait)
    return points


def step_gain(candidates: int, failed: int, *, success: bool) -> float:
    """What one more try does to the accuracy of an answer given there, after ``failed`` failures among K candidates.

    Before it the answer is a guess among ``K - failed``; a success makes it certain, a failure leaves one candidate
    less. Of a try done again it is 0.

    >>> round(step_gain(4, 1, success=False), 4), round(step_gain(4, 1, success=True), 4)
    (0.1667, 0.6667)
    """
    if not 0 <= failed < candidates - (0 if success else 1):
        raise ConfigError(f"step_gain: failed={failed} among {candidates} candidates; use fewer than can fail")
    before = 1 / (candidates - failed)
    return (1.0 if success else 1 / (candidates - failed - 1)) - before


@dataclass(frozen=True, kw_only=True)
class Front:
    """Least expected tokens for an accuracy: a concave chain of corners, flat behind the last.

    Attributes:
        corners: from no try at all to every needed one, tokens and accuracy both rising.
    """

    corners: tuple[Point, ...]

    def accuracy_at(self, tokens: float) -> float | None:
        """The best accuracy for expected tokens; None below what an answer takes."""
        if tokens < self.corners[0][0]:
            return None
        for (x, y), (further, higher) in pairwise(self.corners):
            if tokens <= further:
                return y + (higher - y) * (tokens - x) / (further - x)
        return self.corners[-1][1]

    def tokens_at(self, accuracy: float) -> float:
        """The least expected tokens for an accuracy from 0 to 1."""
        if not 0 <= accuracy <= 1:
            raise ConfigError(f"front: accuracy={accuracy!r}; give a share from 0 to 1")
        for (x, y), (further, higher) in pairwise(self.corners):
            if accuracy <= y:
                return x
            if accuracy <= higher:
                return x + (further - x) * (accuracy - y) / (higher - y)
        return self.corners[-1][0]

    def distance(self, tokens: float, accuracy: float) -> Distance:
        """How far from the front a policy is."""
        best = self.accuracy_at(tokens)
        return Distance(
            tokens_above=tokens - self.tokens_at(accuracy), accuracy_below=None if best is None else best - accuracy
        )


@dataclass(frozen=True, kw_only=True)
class Distance:
    """How far from the front a policy is; negative beyond it.

    Attributes:
        tokens_above: its tokens less the least that its accuracy takes.
        accuracy_below: the best accuracy at its tokens less its own; None with fewer tokens than an answer takes.
    """

    tokens_above: float
    accuracy_below: float | None


def front(mix: Mapping[int, float] | int) -> Front:
    """The front of one K, or of a mix: numbers of candidates with their shares, which need not sum to 1.

    >>> front(2).corners
    ((6.0, 0.5), (9.0, 1.0))
    """
    shares = {mix: 1.0} if isinstance(mix, int) else {k: share for k, share in mix.items() if share > 0}
    if not shares or min(shares) < 1:
        raise ConfigError(f"front: mix={mix!r}; give numbers of candidates from 1 with shares above 0")
    total = sum(shares.values())
    pieces: list[tuple[float, float, float]] = []  # accuracy a token, tokens, accuracy
    tokens = accuracy = 0.0
    for candidates, weight in shares.items():
        hull = upper_hull(plan_points(candidates))
        share = weight / total
        tokens, accuracy = tokens + share * hull[0][0], accuracy + share * hull[0][1]
        for (x, y), (further, higher) in pairwise(hull):
            pieces.append(((higher - y) / (further - x), share * (further - x), share * (higher - y)))
    corners = [(tokens, accuracy)]
    for _, more, gain in sorted(pieces, reverse=True):
        tokens, accuracy = tokens + more, accuracy + gain
        corners.append((tokens, accuracy))
    return Front(corners=tuple(corners))


def upper_hull(points: Sequence[Point]) -> list[Point]:
    """The corners of the least concave function over points that rise in both coordinates.

    >>> upper_hull([(0.0, 0.0), (1.0, 0.1), (2.0, 1.0)])
    [(0.0, 0.0), (2.0, 1.0)]
    """
    hull: list[Point] = []
    for x, y in points:
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (x - hull[-2][0]) <= (y - hull[-2][1]) * (
            hull[-1][0] - hull[-2][0]
        ):
            hull.pop()
        hull.append((x, y))
    return hull


def searches(candidates: int, tokens: float) -> dict[int, float]:
    """The optimal policy of one K at expected tokens: how often it gives up after t failures, by t.

    >>> searches(2, 7.5)
    {0: 0.5, 1: 0.5}
    """
    points = plan_points(candidates)
    hull = upper_hull(points)
    if tokens < hull[0][0]:
        raise ConfigError(f"searches: tokens={tokens!r}; an answer takes {hull[0][0]:g}")
    for low, high in pairwise(hull):
        if tokens <= high[0]:
            share = (tokens - low[0]) / (high[0] - low[0])
            return {points.index(low): 1 - share, points.index(high): share}
    return {candidates - 1: 1.0}


def trace_point(candidates: int, task: Search | None = None) -> Point:
    """Expected tokens and accuracy of the traces of one K, limit aside.

    A sum over the states of `leanthink.testbed.search.sample_trace`: the place of the candidate in hand, whether it is
    the right one, and the verdict that was read last.
    """
    task = task or Search()
    tokens, accuracy = float(ANSWER_WORDS), task.no_try / candidates
    last = candidates - 1
    for right in range(candidates):
        arrives = (1 - task.no_try) / candidates  # at the first candidate
        tokens += arrives * (TRY_WORDS - 1)
        for place in range(candidates):
            is_right = place == right
            found, failed, repeats = _stay(is_right, task)
            tokens += arrives * repeats * TRY_WORDS
            accuracy += arrives * found * is_right
            untried = last - place
            stops = 1.0 if untried == 0 else 1 - task.try_last if untried == 1 else task.early
            accuracy += arrives * failed * stops * (right == min(place + 1, last))
            arrives *= failed * (1 - stops)
            if place < last:
                tokens += arrives * TRY_WORDS
    return tokens, accuracy


def _stay(is_right: bool, task: Search) -> tuple[float, float, float]:
    """What happens at one candidate: shares of leaving it as found and as failed, and how often it is tried again.

    Two states, the verdict read last. From each the try is done again with its own probability, and then misread with
    the same; so visits solve two linear equations.
    """
    again = {True: task.repeat_success, False: task.repeat_failure}
    seen = {is_right: 1 - task.misread, not is_right: task.misread}
    # visits[v] = (v is the first verdict) + seen[v] * repeats, and repeats = sum of visits[v] * again[v].
    repeats = again[is_right] / (1 - sum(seen[verdict] * again[verdict] for verdict in seen))
    visits = {verdict: (verdict == is_right) + seen[verdict] * repeats for verdict in seen}
    return visits[True] * (1 - again[True]), visits[False] * (1 - again[False]), repeats


def waste_dropped(mix: Mapping[int, float] | int, task: Search | None = None, steps: int = 20) -> list[Point]:
    """Where the traces go as they write less and less waste and change nothing else, over a mix of K.

    Repetitions and tries of a last candidate are scaled from 1 down to 0; what is answered too early still is.
    """
    task = task or Search()
    shares = {mix: 1.0} if isinstance(mix, int) else mix
    total = sum(shares.values())
    curve = []
    for step in range(steps + 1):
        kept = 1 - step / steps
        less = replace(
            task,
            repeat_failure=kept * task.repeat_failure,
            repeat_success=kept * task.repeat_success,
            try_last=kept * task.try_last,
        )
        points = [(share / total, trace_point(candidates, less)) for candidates, share in shares.items()]
        curve.append((sum(share * x for share, (x, _) in points), sum(share * y for share, (_, y) in points)))
    return curve
