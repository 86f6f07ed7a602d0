"""State across steps: wrappers that steer, what controllers show and tell, how a saved state is checked and moved.

A state has the shape of its reward tree: a composite's holds that of each stateful part under the part's name.
"""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import StateError
from leanthink.core.reward import (
    WRAPPED,
    Breakdown,
    Composite,
    Part,
    Reward,
    RewardN,
    State,
    StatefulReward,
    updated,
)

OWN: Final = "own"
"""The key under which a stateful wrapper keeps what it remembers itself, beside its parts' states."""


class StatefulComposite(Composite):
    """A composite that remembers something itself. Write :meth:`start` and :meth:`update`."""

    reads_state = True

    @abstractmethod
    def start(self) -> State:
        """What it remembers before the first step: a JSON-able dict with fixed keys."""

    @abstractmethod
    def update(self, batch: RolloutBatch, part: Part, own: State) -> tuple[RewardN, State]:
        """Two results: the reward from its parts, and what it remembers after the batch; changes no argument."""

    def init(self) -> State:
        """Its own and its parts'."""
        return {OWN: self.start(), **super().init()}

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """As at the first step."""
        return self.update(batch, part, self.start())[0]

    def breakdown(self, batch: RolloutBatch, state: State | None = None) -> Breakdown:
        """The reward together with every named part."""
        before = self.init() if state is None else state
        if OWN not in before:
            raise StateError(
                f"state has parts {sorted(before)}, {type(self).__name__} keeps its own under {OWN!r}; "
                "it was saved by another recipe: start a new run or load that recipe"
            )
        step = _Step(self, before[OWN])
        result = step.breakdown(batch, {name: value for name, value in before.items() if name != OWN})
        return dataclasses.replace(result, state={OWN: step.own, **result.state})


class _Step(Composite):
    """A stateful composite during one batch."""

    def __init__(self, whole: StatefulComposite, own: State) -> None:
        self._whole, self.own = whole, own

    @property
    def carries(self) -> frozenset[str]:
        """Those of the whole."""
        return self._whole.carries

    def weight(self, name: str, batch: RolloutBatch, value: Mapping[str, RewardN]) -> RewardN:
        """The whole's."""
        return self._whole.weight(name, batch, value)

    def children(self) -> Mapping[str, Reward]:
        """Those of the whole."""
        return self._whole.children()

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The whole's."""
        reward_N, self.own = updated(self._whole, self._whole.update(batch, part, self.own), self._whole.start())
        return reward_N


class BudgetReward(StatefulReward):
    """A reward that steers how long responses may become; ``limit: from_reward`` brings that to the rollout."""

    @abstractmethod
    def budgets(self, prompts: Sequence[str], step: int, state: State) -> list[float]:
        """The budget of each prompt (tokens) at a step, by the prompt's key."""


def states(reward: Reward, state: State, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Reward, State]]:
    """Every part with its path and its own state, wrappers first; a part without state has an empty one.

    >>> from leanthink.rewards import Correct, HistoryLength, Scale, Sum
    >>> tree = Sum(correct=Correct(), length=Scale(by=0.5, of=HistoryLength()))
    >>> [".".join(path) for path, _, own in states(tree, tree.init()) if own]
    ['length.of']
    """
    children = reward.children()
    wraps = isinstance(reward, StatefulComposite)
    own = state.get(OWN, {}) if wraps else {} if children else state
    yield path, reward, own
    for name, child in children.items():
        yield from states(child, state.get(name, {}), (*path, name))


def shown(reward: Reward, step: int, state: State) -> dict[str, float]:
    """What all parts show of themselves, by the names that a breakdown gives them."""
    found: dict[str, float] = {}
    for path, part, own in states(reward, state):
        for name, value in part.shown(step, own).items():
            found.setdefault("/".join([*(step for step in path if step != WRAPPED), name]), float(value))
    return found


def events(reward: Reward, before: State, after: State) -> list[str]:
    """What all parts tell of a step, each with its place."""
    pairs = zip(states(reward, before), states(reward, after), strict=True)
    return [
        f"{'.'.join(path) or 'reward'}: {event}"
        for (path, part, own), (_, _, later) in pairs
        for event in part.events(own, later)
    ]


def check_state(reward: Reward, state: Any, place: str) -> None:
    """Refuse a saved, perhaps edited, state that the reward cannot go on from.

    Raises:
        StateError: naming the entry, what it holds, what it may hold and the cure.

    >>> from leanthink.rewards import HistoryLength
    >>> check_state(HistoryLength(), {"length": {"p": "short"}, "count": {}}, "state")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    leanthink.core.errors.StateError: state.length.p is 'short'; give a finite number, or resume from ...
    """
    check_like(state, reward.init(), place)
    for path, part, own in states(reward, state):
        if own and (wrong := part.wrong_state(own)) is not None:
            where = ".".join([place, *path, *([OWN] if isinstance(part, StatefulComposite) else [])])
            raise StateError(f"{where}: {wrong}, or resume from an earlier checkpoint")


def check_like(value: Any, like: Any, place: str) -> None:
    """Refuse a value that has not the shape of another: the same keys, numbers for numbers.

    An empty mapping, or list, is a table that grows: it may hold any number of numbers.

    Raises:
        StateError: naming the entry, what it holds, what it may hold and the cure.
    """
    cure = "or resume from an earlier checkpoint"
    if isinstance(like, Mapping):
        if not isinstance(value, Mapping):
            raise StateError(f"{place} is {value!r:.80}; give a mapping in braces, {cure}")
        if like and value.keys() != like.keys():
            odd = sorted(map(str, value.keys() ^ like.keys()))[0]
            what = "is missing" if odd in like else "is no entry"
            raise StateError(
                f"{place}: {odd!r} {what}; the entries are {', '.join(sorted(like))}: put it right, {cure}"
            )
        for key, inner in value.items():
            check_like(inner, like[key] if like else 0.0, f"{place}.{key}")
    elif isinstance(like, list):
        if not isinstance(value, list) or (like and len(value) != len(like)):
            raise StateError(f"{place} is {value!r:.80}; give a list of {len(like) or 'any number of'} numbers, {cure}")
        for at, inner in enumerate(value):
            check_like(inner, 0.0, f"{place}[{at}]")
    elif isinstance(like, str):
        if not isinstance(value, str):
            raise StateError(f"{place} is {value!r:.80}; give text, {cure}")
    elif like is None or isinstance(like, bool) or not isinstance(like, int | float):
        return
    elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise StateError(f"{place} is {value!r:.80}; give a finite number, {cure}")


def wrong_count(counts: Mapping[str, float], least: int = 0) -> str | None:
    """What is wrong with numbers that count something, by their names in the state; None for nothing.

    >>> wrong_count({"cuts": 3, "resets": 0.5})
    'resets is 0.5; give a whole number, 0 or more'
    """
    for name, count in counts.items():
        if count < least or count % 1:
            return f"{name} is {count}; give a whole number, {least} or more"
    return None


def moved(reward: Reward, before: Reward, saved: State) -> tuple[State, list[str]]:
    """The state for ``reward`` from one saved under another tree: by name, and never in silence.

    A stateful part takes what was saved under the same path by a part of the same class, as far as its settings let it
    (:meth:`~leanthink.core.reward.Reward.taken_over`). One that finds nothing starts afresh, and what nobody takes is
    dropped; all of it is told.
    """
    told, old = [], {path: (part, own) for path, part, own in states(before, saved) if own}
    state = reward.init()
    for path, part, own in states(reward, state):
        if not own:
            continue
        name = ".".join(path) or "the reward"
        source, kept = old.pop(path, (None, {}))
        if source is None or type(source) is not type(part) or kept.keys() != own.keys():
            told.append(f"{name} starts afresh: nothing was saved under that name by a {type(part).__name__}")
        elif (taken := part.taken_over(source, kept)) is None:
            told.append(f"{name} starts afresh: what was saved under that name means nothing under its new settings")
        else:
            own.clear()
            own.update(taken)
            fitted = "" if taken == kept else ", made to fit its new settings"
            told.append(f"{name} goes on with the state saved under that name{fitted}")
    told += [f"the state of {'.'.join(path) or 'the reward'} is dropped: no such part any more" for path in old]
    return state, told
