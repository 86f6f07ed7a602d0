"""Word problems made from templates: a count of things that changes once to four times, and how many there are then.

The answer is known exactly, and no question comes twice, so that held-out ones are in no other part of the stream.
Solutions are right, one sentence a change, and wordier than they need to be: what was said is said again, a step is
checked once or more. That waste is what a length reward can take away.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

THINGS: Final = (
    *("apples", "books", "bricks", "buttons", "cards", "chairs", "coins", "crates", "cups", "eggs", "jars", "keys"),
    *("lamps", "marbles", "oranges", "pencils", "plates", "seeds", "shells", "stamps", "stones", "tickets", "tiles"),
)
PLACES: Final = (
    *("a bakery", "a box", "a farm", "a garage", "a kitchen", "a library", "a market stall", "a museum", "a school"),
    *("a shed", "a shop", "a station", "a storeroom", "a truck", "a warehouse", "a workshop"),
)
MOST: Final = 120
"""No count on the way is larger: more is another skill than thinking shorter."""
ASK: Final = "Put the final number in \\boxed{}."
CHECKS: Final = (0.45, 0.3, 0.15, 0.1)
"""How often a step is checked again 0, 1, 2, 3 times."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change: what the question says of it, and the sum that a solution writes."""

    said: str
    sum: str
    result: int


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A question, its answer, and the changes that lead there, from ``start`` things on."""

    things: str
    start: int
    question: str
    changes: tuple[Change, ...]

    @property
    def gold(self) -> str:
        """The answer."""
        return str(self.changes[-1].result)


def more(count: int, things: str, draw: random.Random) -> Change | None:
    """Some come."""
    added = draw.randint(2, 30)
    if count + added > MOST:
        return None
    said = draw.choice(
        ("Then {} more {} are brought in.", "Later {} more {} are added.", "After that, {} more {} come.")
    )
    return Change(said=said.format(added, things), sum=f"{count} + {added} = {count + added}", result=count + added)


def fewer(count: int, things: str, draw: random.Random) -> Change | None:
    """Some go."""
    if count < 6:
        return None
    gone = draw.randint(2, min(count - 2, 30))
    said = draw.choice(("Then {} {} are sold.", "Later {} {} are taken away.", "After that, {} of the {} break."))
    return Change(said=said.format(gone, things), sum=f"{count} - {gone} = {count - gone}", result=count - gone)


def times(count: int, things: str, draw: random.Random) -> Change | None:
    """They become several times as many."""
    by, name = draw.choice(((2, "doubled"), (3, "tripled")))
    if count * by > MOST:
        return None
    said = f"Then the number of {things} is {name}."
    return Change(said=said, sum=f"{count} * {by} = {count * by}", result=count * by)


def halves(count: int, things: str, _: random.Random) -> Change | None:
    """Half of them stay."""
    if count % 2 or count < 8:
        return None
    said = f"Then half of the {things} are given away."
    return Change(said=said, sum=f"{count} / 2 = {count // 2}", result=count // 2)


KINDS: Final[tuple[Callable[[int, str, random.Random], Change | None], ...]] = (more, more, fewer, fewer, times, halves)


def problems(seed: int) -> Iterator[Problem]:
    """Problems without end, no question twice."""
    draw, seen = random.Random(seed), set()
    while True:
        one = problem(draw, changes=draw.randint(1, 4))
        if one.question not in seen:
            seen.add(one.question)
            yield one


def problem(draw: random.Random, changes: int) -> Problem:
    """One problem of so many changes."""
    things, place, start = draw.choice(THINGS), draw.choice(PLACES), draw.randint(4, 60)
    done: list[Change] = []
    while len(done) < changes:
        count = done[-1].result if done else start
        if (change := draw.choice(KINDS)(count, things, draw)) is not None:
            done.append(change)
    told = " ".join(change.said for change in done)
    question = f"There are {start} {things} in {place}. {told} How many {things} are there in the end? {ASK}"
    return Problem(things=things, start=start, question=question, changes=tuple(done))


def solution(one: Problem, draw: random.Random) -> str:
    r"""A right solution, with waste.

    >>> seven = Problem(things="keys", start=4, question="", changes=(Change(said="", sum="4 + 3 = 7", result=7),))
    >>> print(solution(seven, random.Random(3)).partition("step. ")[2])
    At first there are 4 keys. Now 4 + 3 = 7. Wait, is that right? 4 + 3 = 7. The answer is \boxed{7}.
    """
    words = []
    if draw.random() < 0.5:
        words.append("Let me think about this step by step.")
    words.append(f"At first there are {one.start} {one.things}.")
    for change in one.changes:
        words.append(f"Now {change.sum}.")
        for _ in range(draw.choices(range(len(CHECKS)), CHECKS)[0]):
            words.append(draw.choice((f"Let me check that: {change.sum}, yes.", f"Wait, is that right? {change.sum}.")))
        if draw.random() < 0.6:
            words.append(f"So there are {change.result} {one.things} now.")
    if draw.random() < 0.4:
        words.append(f"In the end there are {one.gold} {one.things}.")
    return " ".join([*words, f"The answer is \\boxed{{{one.gold}}}."])
