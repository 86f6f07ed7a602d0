"""Which field of a row is what, by the names that usual tools give it: one table for every command that reads rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from leanthink.core.errors import DataError
from leanthink.core.text import listed
from leanthink.data.records import Record, number_of, source_of
from leanthink.verify import gold_text
from leanthink.verify.golds import Lists

TOTAL: Final = "usage.completion_tokens"
"""A server's count of all tokens that it wrote to a prompt: a length where it wrote one response."""

USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "group": ("group", "prompt_id", "uid", "doc_id"),
    "gold": ("gold", "gts", "reward_model.ground_truth", "ground_truth", "target"),
    "response": (
        "response",
        "output",
        "completion",
        "generated_text",
        "outputs[0].text",
        "choices[0].message.content",
        "choices[0].text",
        "resps[0][0]",
    ),
    "prompt": ("prompt", "input", "question", "problem", "messages", "raw_prompt"),
    "length": ("length", "response_length", "completion_length", TOTAL),
    "correct": ("correct", "acc"),
    "truncated": ("truncated", "finish_reason", "stop_reason", "outputs[0].finish_reason", "choices[0].finish_reason"),
}
"""The names by which each is known, the first that a file has; leanthink's own, verl's, vLLM's, TRL's, lm-eval's."""

IDS: Final = ("response_ids", "token_ids", "outputs[0].token_ids")
PROBLEM: Final = ("problem", "question", "prompt", "input", "raw_prompt", "messages")
SOURCE: Final = "data_source"

CUT: Final = frozenset({"length", "max_tokens", "max_length", "max_new_tokens", "model_length", "abort"})
ENDED: Final = frozenset(
    ("stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_str", "matched", "tool_calls", "tool_use")
)
"""What engines say of how a response ended: cut by a limit, or by itself."""


@dataclass(frozen=True, kw_only=True)
class Fields:
    """The fields to read, where a file's are not the usual ones: names, or paths as `messages[-1].content`.

    ``gold_lists`` says how a list of golds is meant (`leanthink.verify.gold_text`).
    """

    group: str | None = None
    gold: str | None = None
    response: str | None = None
    prompt: str | None = None
    length: str | None = None
    correct: str | None = None
    truncated: str | None = None
    gold_lists: Lists = "any"

    def names(self, role: str) -> tuple[str, ...]:
        """The names to look for; the given one alone, where one is given."""
        given = getattr(self, role)
        return USUAL[role] if given is None else (given,)

    def find(self, records: Sequence[Record], role: str) -> str | None:
        """The field that the rows have; None where they have none of the usual.

        Raises:
            DataError: some rows have it and others do not, or one that is named here is not there.
        """
        name = source_of(records, self.names(role))
        assert name is None or isinstance(name, str)
        if name is None and getattr(self, role) is not None:
            raise DataError(
                f"{records[0].place}: no field {getattr(self, role)!r}, which --{role}-field names; it has: "
                f"{shown_names(records[0])}"
            )
        return name


ROLES: Final = tuple(field.name for field in fields(Fields) if field.name in USUAL)


def shown_names(record: Record) -> str:
    """The fields that a row has, for errors."""
    return listed(name for name in record.fields if record.has(name)) or "nothing"


def gold_of(record: Record, name: str, lists: Lists = "any") -> str:
    """The gold answer of a row, as the verifier takes it.

    Raises:
        DataError: it is no answer; naming the row, what stands there, and the cure.
    """
    try:
        return gold_text(record.get(name), lists)
    except ValueError as error:
        raise DataError(f"{record.place}: {name!r} is {error}") from error


def problem_of(record: Record) -> str | None:
    """The problem's text, by which the verifier knows a copy of it; None where the row has none.

    Of a list of messages it is what the last user says.
    """
    for name in PROBLEM:
        value = record.fields.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, Sequence) and value and all(isinstance(message, Mapping) for message in value):
            told = [message.get("content") for message in value if message.get("role") == "user"]
            return told[-1] if told and isinstance(told[-1], str) else None
    return None


def prompt_end_of(record: Record, names: Sequence[str]) -> str:
    """What the response follows: the rendered prompt where the row has it; empty where it has messages, or none."""
    value = next((record.get(name) for name in names if record.has(name)), None)
    return value if isinstance(value, str) else ""


def truncated_of(records: Sequence[Record], own: Fields) -> tuple[list[bool], list[str]]:
    """Whether a limit ended each response, and what to know of how that was told.

    Raises:
        DataError: a row says what is neither, or nothing where others do.
    """
    name = next((one for one in own.names("truncated") if any(record.has(one) for record in records)), None)
    if name is None:
        own.find(records, "truncated")  # a field that is named has to be there
        return [False] * len(records), ["no 'truncated' in the file: every response counts as finished"]
    if name == "truncated":
        bare = sum(not record.has(name) for record in records)
        told = [f"{bare} of {len(records)} rows have no 'truncated', and count as finished"] if bare else []
        return [record.has(name) and flag_of(record, name) for record in records], told
    flags = [_was_cut(record, name) for record in records]
    return flags, [f"{sum(flags)} of {len(flags)} responses were cut, by {name!r}"]


def _was_cut(record: Record, name: str) -> bool:
    value: Any = record.get(name)
    if isinstance(value, Mapping):  # as SGLang has it
        value = value.get("type")
    word = str(value).lower()
    if value in (0, 1) and isinstance(value, bool | int | float) and not name.endswith("reason"):
        return bool(value)
    if isinstance(value, int) or word in ENDED:  # a number is the token that ended it
        return False
    if value is None and name == "stop_reason":  # vLLM's, where the end token ended it
        return False
    if word in CUT:
        return True
    if word in ("true", "false"):
        return word == "true"
    raise DataError(
        f"{record.place}: {name!r} is {value!r:.40}, which does not say whether a limit ended the response; give "
        f"{' or '.join(sorted(CUT))} where one did, {' or '.join(sorted(ENDED))} where not, or 'truncated' of 0 and 1"
    )


def flag_of(record: Record, name: str) -> bool:
    """A field that is 0 or 1, false or true; as text, too, as older dumps of verl have it.

    Raises:
        DataError: it is neither.
    """
    value = record.get(name)
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if isinstance(value, str) and value.strip() in ("0", "1", "0.0", "1.0"):
        return float(value) == 1
    number = number_of(record, name, "0 or 1, false or true")
    if number not in (0, 1):
        cure = "; binarise graded scores first" if name in USUAL["correct"] else ""
        raise DataError(f"{record.place}: {name!r} is {number:g}; give 0 or 1, false or true{cure}")
    return number == 1


def of_source(records: Sequence[Record], name: str | None) -> list[Record]:
    """The rows of one data source; all of them without a name.

    Raises:
        DataError: there are none.
    """
    if name is None:
        return list(records)
    chosen = [record for record in records if str(record.get(SOURCE)) == name]
    if not chosen:
        raise DataError(
            f"{records[0].file}: no row of the source {name!r}; there are: "
            f"{listed(sources_of(records)) or 'none with a data_source'}"
        )
    return chosen


def sources_of(records: Sequence[Record]) -> list[str]:
    """The names of the data sources of rows."""
    return sorted({str(record.get(SOURCE)) for record in records if record.has(SOURCE)})
