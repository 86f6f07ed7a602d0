"""Golds of a data set that no response can match: found before anything is trained or scored against them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from leanthink.data.fields import gold_of
from leanthink.data.records import Record
from leanthink.verify import Verifier, bad_golds
from leanthink.verify.golds import Lists


class BadGold(NamedTuple):
    """A row whose gold answer is none, and why."""

    record: Record
    gold: str
    reason: str


def audit(records: Sequence[Record], name: str, verifier: Verifier, lists: Lists = "any") -> list[BadGold]:
    """The rows whose gold answer, in a field, no response can match (see `leanthink.verify.bad_golds`).

    What is no answer at all, as None or a mapping, is among them.
    """
    texts: dict[int, str] = {}
    found: dict[int, BadGold] = {}
    for row, record in enumerate(records):
        try:
            texts[row] = gold_of(record, name, lists)
        except ValueError as error:
            found[row] = BadGold(record, repr(record.get(name)), str(error).partition(" is ")[2] or str(error))
    reasons = bad_golds(texts.values(), verifier)
    found |= {row: BadGold(records[row], gold, reasons[gold]) for row, gold in texts.items() if gold in reasons}
    return [found[row] for row in sorted(found)]
