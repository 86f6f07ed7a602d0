"""Rows as one response each: those of several are taken apart, and thinking beside an answer is put before it.

Engines write the n responses to a prompt as a list in its row; servers with a reasoning parser write a response's
thinking in a field of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from leanthink.core.errors import DataError
from leanthink.core.text import listed
from leanthink.data.fields import IDS, TOTAL, Fields
from leanthink.data.records import Record
from leanthink.verify.extract import opening_of

THINKING: Final = ("reasoning_content", "reasoning")
"""What servers call the thinking in a message; in a row itself the second may be a data set's rationale."""
FILTER: Final = "filter"
REPEATED: Final = "resps"
"""lm-eval's: how it looked for answers, and the responses that every such look has a row with."""


def one_by_one(records: Sequence[Record], own: Fields, thinking_end: str) -> tuple[list[Record], list[str]]:
    """The rows as one response each, its thinking before it, and what to know of that.

    Rows that are so already stay as they are.

    Raises:
        DataError: what a row says once of several responses can be true of one only, or one of them has no text.
    """
    once, notices = _of_one_filter(records, own)
    single = [one for record in once for one in split(record, own)]
    if len(single) > len(once):
        rows = "1 row" if len(once) == 1 else f"{len(once)} rows"
        notices.append(f"{len(single)} responses in {rows}: those of a row are read one by one")
    thought = [_with_thinking(record, own, thinking_end) for record in single]
    if count := sum(new is not old for new, old in zip(thought, single, strict=True)):
        whose = "1 response" if count == 1 else f"{count} responses"
        notices.append(f"the thinking of {whose} stands in a field of its own: it is read before the answer")
    return thought, notices


def split(record: Record, own: Fields) -> Iterator[Record]:
    """A row for each response in a row, in order; a field that names one of them takes that alone.

    Raises:
        DataError: as `one_by_one`.
    """
    name, count, parts = next(_lists(record, own), ("", 1, [record]))
    if count == 1:
        yield record
        return
    where = name.partition("[")[0]
    for number, part in enumerate(parts, 1):
        if not _has_response(part, name):
            raise DataError(
                f"{record.place}: response {number} of {count} in {where!r} has no text ({name!r} where it is the "
                "first); give it, or leave that response out"
            )
        for told in _told_once(record, own):
            part = part.having(told, _its_own(record, told, number - 1, count, where, own))
        yield replace(part, response=number)


def _lists(record: Record, own: Fields) -> Iterator[tuple[str, int, list[Record]]]:
    """The name that a row's responses go by, how many there are, and the row with each of them alone."""
    for name in own.names("response"):
        where, first, _ = name.partition("[0]")
        responses = record.get(where) if first and own.response is None else None
        if isinstance(responses, list) and responses:
            if where == REPEATED:  # a list for each request of a document, of all that was answered to it
                nested = all(isinstance(one, list) for one in responses)
                alone = [[[each]] for one in responses for each in one] if nested else []
                if not any(isinstance(one[0][0], str) for one in alone):  # else they are scores of choices
                    continue
            else:
                alone = [[one] for one in responses]
            parts = [record.having(where, one) for one in alone] if len(alone) > 1 else [record]
            if any(_has_response(part, name) for part in parts):
                yield name, len(parts), parts
        elif _has_response(record, name):
            yield name, 1, [record]


def _told_once(record: Record, own: Fields) -> Iterator[str]:
    """The fields of a row that tell of one response, beside the list of them."""
    roles = (name for role in ("length", "correct", "truncated") for name in own.names(role))
    for name in (*roles, *IDS, "unknown", "grader_correct"):
        if record.has(name) and "[" not in name:
            yield name


def _its_own(record: Record, name: str, place: int, count: int, where: str, own: Fields) -> Any:
    """What a field says of one of several responses."""
    value = record.get(name)
    if isinstance(value, list) and len(value) == count:
        return value[place]
    if name == TOTAL and own.length is None:  # of all of them together
        return None
    raise DataError(
        f"{record.place}: {count} responses in {where!r}, and {name!r} is {value!r:.40} for all of them; give a list "
        f"of {count}, or a row for each response, or leave {name!r} out"
    )


def _has_response(record: Record, name: str) -> bool:
    """Whether there is a response by a name: text, or the thinking of one that came no further."""
    mapped = "." in name or name in record.fields
    return record.has(name) or (mapped and _thinking_beside(record, name) is not None)


def _with_thinking(record: Record, own: Fields, thinking_end: str) -> Record:
    """A response whose thinking stands beside it, as the model wrote it; where it wrote no more, it never closed it."""
    name = next((name for name in own.names("response") if _has_response(record, name)), None)
    thinking = _thinking_beside(record, name) if name is not None else None
    if name is None or thinking is None:
        return record
    path, opening = _content_of(record, name), opening_of(thinking_end) or ""
    said = record.get(path)
    if said is not None and not isinstance(said, str):
        return record
    inside = thinking.replace(thinking_end, "")  # all of it is thinking, whatever it says
    if said and (thinking in said or inside in said) and (thinking_end in said or (opening and opening in said)):
        return record  # it has its thinking already
    return record.having(path, f"{opening}{inside}{thinking_end}\n{said}" if said else f"{opening}{inside}")


def _thinking_beside(record: Record, name: str) -> str | None:
    beside = _content_of(record, name).rpartition(".")[0]
    for thinking in THINKING if beside else THINKING[:1]:
        value = record.get(f"{beside}.{thinking}" if beside else thinking)
        if isinstance(value, str) and value.strip():
            return value
    return None


def _content_of(record: Record, name: str) -> str:
    """The path to a response's text; of a conversation, to what was said last."""
    value = record.get(name)
    talk = isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value)
    return f"{name}[-1].content" if talk else name


def _of_one_filter(records: Sequence[Record], own: Fields) -> tuple[list[Record], list[str]]:
    """The rows of lm-eval's first filter where each has the same responses; else all, and a notice where some have."""
    if not all(record.has(FILTER) and record.has(REPEATED) for record in records):
        return list(records), []
    told = (REPEATED, *own.names("group"), *own.names("prompt"), *own.names("gold"), *own.names("correct"))
    rows: dict[str, Counter[str]] = {}
    for record in records:
        said = repr([record.get(name) for name in told])
        rows.setdefault(str(record.get(FILTER)), Counter())[said] += 1
    first, *others = rows.values()
    if not others:
        return list(records), []
    names = listed(rows)
    if all(other == first for other in others):
        kept = [record for record in records if str(record.get(FILTER)) == next(iter(rows))]
        return kept, [
            f"every response stands once in the file for each of {len(rows)} filters ({names}): the {len(kept)} rows "
            f"of {next(iter(rows))!r} are read"
        ]
    seen: set[str] = set()
    for one in rows.values():
        if seen & one.keys():
            return list(records), [
                f"rows of {len(rows)} filters ({names}) have some responses in common, which count once for each; keep "
                "the rows of one filter"
            ]
        seen |= one.keys()
    return list(records), []
