"""Stored rollouts: from rows of a file to the facts that training would have had about each response.

Fields of a row, the first of each list that the file has:

    prompt group   group, prompt_id, uid (of verl's dumps: the part before the session's and the turn's number)
    length         length, response_ids (counted), response or output (counted by a tokenizer, or in words and signs)
    verdict        correct, acc (1 right, 0 wrong), or gold or gts with response or output: then it is verified
    optional       unknown (1: there is no verdict), truncated, step, grader_correct; any other field is a column
    prompt's text  prompt or input, for rewards and pairs that need it
    problem        problem, question, prompt or input: an answer that only copies it is none
    prompt         prompt_key, prompt_id, group or input: a name that is the same wherever the prompt is met again

A verdict that is not known is never a 0: the response takes no part in its group.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from leanthink.core.batch import PROMPT_KEY, RolloutBatch
from leanthink.core.errors import ConfigError, DataError, DependencyError
from leanthink.data.records import Record, number_of, source_of, text_of
from leanthink.verify import Judgement, Verdict, Verifier

GROUP: Final = ("group", "prompt_id", "uid")
PROMPT: Final = (PROMPT_KEY, "prompt_id", "group", "input")
PROMPT_TEXT: Final = ("prompt", "input")
PROBLEM: Final = ("problem", "question", *PROMPT_TEXT, "raw_prompt", "messages")
TEXT: Final = ("response", "output")
GOLD: Final = ("gold", "gts")
VERDICT: Final = ("correct", "acc")
VERL_DUMP: Final = frozenset({"input", "output", "gts", "score", "step"})

_VERL_UID = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_\d+_\d+")
_PIECE = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, kw_only=True, eq=False)
class Rollouts:
    """The facts about N responses, in the order of the file.

    Attributes:
        records: where each stands in its file.
        group: prompt ids.
        step: the step each was rolled out at, as the file counts; where it does not say, that of ``clock``.
        clock: the step by which schedules go, from 0; ``step - 1`` in verl's dumps, as verl counts from 1.
        length: tokens, or what ``notices`` says.
        truncated: whether the generation limit ended the response.
        judgements: the verdicts.
        texts: the responses, where the file has them.
        tokens: their token ids, where the file or a tokenizer gives them.
        columns: every further field that all rows have.
        notices: what the reader should know about how these facts came about.
    """

    records: Sequence[Record]
    group: Sequence[Hashable]
    step: Sequence[int]
    clock: Sequence[int]
    length: Sequence[float]
    truncated: Sequence[bool]
    judgements: Sequence[Judgement]
    texts: Sequence[str] | None
    tokens: Sequence[Sequence[int]] | None
    columns: Mapping[str, Sequence[Any]]
    notices: Sequence[str]

    def __len__(self) -> int:
        return len(self.records)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Our verdicts against the file's ``grader_correct``; an unknown verdict is neither."""

    agree: int
    differ: tuple[Record, ...]
    unknown: int


def read_rollouts(
    records: Sequence[Record],
    *,
    tokenizer: str | None = None,
    step: int | None = None,
    workers: int = 2,
    deadline: float = 5.0,
) -> Rollouts:
    """The facts in the rows of a file, responses verified where it brings no verdicts.

    Args:
        records: the rows.
        tokenizer: a folder or Hub name, to count tokens where the file has text only.
        step: score everything as at this step, whatever the file says.
        workers: the verifier's processes.
        deadline: seconds for one judgement.

    Raises:
        DataError: naming file, line and field.
    """
    notices: list[str] = []
    dump = all(record.fields.keys() >= VERL_DUMP for record in records)
    steps = _steps(records)
    if step is not None and step < 0:
        raise ConfigError(f"--step is {step}; give a training step, from 0")
    if step is not None:
        clock = [step] * len(records)
    elif steps is None:
        clock = [0] * len(records)
    else:
        clock = [max(number - 1, 0) for number in steps] if dump else steps
        if dump:
            notices.append("a dump of verl, which counts steps from 1: its step k is scored as the recipe's step k - 1")
    group = _groups(records)
    if len(set(zip(group, steps or clock, strict=True))) == len(group) > 1:
        notices.append("every prompt has one response only: nothing within a group to compare, advantages are 0")
    truncated = _truncated(records, notices)
    length, tokens = _lengths(records, tokenizer, notices)
    return Rollouts(
        records=records,
        group=group,
        step=steps or clock,
        clock=clock,
        length=length,
        truncated=truncated,
        judgements=_judgements(records, truncated, partial(Verifier, workers=workers, deadline=deadline), notices),
        texts=_texts(records),
        tokens=tokens,
        columns=_columns(records, group),
        notices=notices,
    )


def unknown_rows(rollouts: Rollouts) -> dict[str, list[Record]]:
    """The rows whose verdict is unknown, by reason."""
    rows: dict[str, list[Record]] = {}
    for record, judgement in zip(rollouts.records, rollouts.judgements, strict=True):
        if judgement.verdict is Verdict.UNKNOWN:
            rows.setdefault(judgement.code.partition("/")[2], []).append(record)
    return rows


def agreement(rollouts: Rollouts) -> Agreement | None:
    """How our verdicts compare with the file's ``grader_correct``; None where it has none."""
    pairs = [
        (record, judgement, _flag(record, "grader_correct"))
        for record, judgement in zip(rollouts.records, rollouts.judgements, strict=True)
        if record.has("grader_correct")
    ]
    if not pairs:
        return None
    known = [pair for pair in pairs if pair[1].verdict is not Verdict.UNKNOWN]
    differ = tuple(record for record, judgement, grade in known if (judgement.verdict is Verdict.CORRECT) != grade)
    return Agreement(agree=len(known) - len(differ), differ=differ, unknown=len(pairs) - len(known))


def words_and_signs(text: str) -> list[str]:
    r"""The words, numbers and single signs of a text: what stands for its tokens without a tokenizer.

    >>> words_and_signs("So \\boxed{42}.")
    ['So', '\\', 'boxed', '{', '42', '}', '.']
    """
    return _PIECE.findall(text)


def _groups(records: Sequence[Record]) -> list[Hashable]:
    name = source_of(records, GROUP)
    if name is None:
        raise _missing(records, "prompt group", GROUP, "the id of the prompt that the response answers")
    assert isinstance(name, str)
    groups: list[Hashable] = []
    for record in records:
        value = record.fields[name]
        if not isinstance(value, str | int | float) or value != value:
            raise DataError(f"{record.place}: {name!r} is {value!r:.80}; give text or a number")
        match = _VERL_UID.fullmatch(value) if name == "uid" and isinstance(value, str) else None
        groups.append(match[1] if match else value)
    return groups


def _steps(records: Sequence[Record]) -> list[int] | None:
    if source_of(records, ["step"]) is None:
        return None
    steps = []
    for record in records:
        number = number_of(record, "step", "a whole number from 0")
        if number < 0 or not number.is_integer():
            raise DataError(f"{record.place}: 'step' is {number:g}; give a whole number from 0")
        steps.append(int(number))
    return steps


def _truncated(records: Sequence[Record], notices: list[str]) -> list[bool]:
    if source_of(records, ["truncated"]) is None:
        notices.append("no 'truncated' in the file: every response counts as finished")
        return [False] * len(records)
    return [_flag(record, "truncated") for record in records]


def _lengths(
    records: Sequence[Record], tokenizer: str | None, notices: list[str]
) -> tuple[list[float], list[list[int]] | None]:
    """The lengths, and the token ids where there are any."""
    name = source_of(records, ["length", "response_ids", *TEXT])
    if tokenizer is not None and name in ("length", "response_ids"):
        notices.append(f"--tokenizer is not used: the file gives {name!r}")
    if name is None:
        raise _missing(records, "length", ["length", "response_ids", *TEXT], "the response's tokens, or its text")
    assert isinstance(name, str)
    tokens = _response_ids(records)
    if name == "length":
        lengths = [number_of(record, name, "a number of tokens, 0 or more") for record in records]
        for record, length in zip(records, lengths, strict=True):
            if length < 0:
                raise DataError(f"{record.place}: 'length' is {length:g}; give a number of tokens, 0 or more")
        return lengths, tokens
    if name != "response_ids":
        texts = [text_of(record, name) for record in records]
        if tokenizer is None:
            notices.append("lengths are counted in words and signs, not tokens; give --tokenizer for tokens")
            return [float(len(words_and_signs(text))) for text in texts], None
        notices.append(f"lengths are tokens of {tokenizer}, the end token not counted")
        tokens = _tokenized(texts, tokenizer)
    assert tokens is not None
    return [float(len(ids)) for ids in tokens], tokens


def _response_ids(records: Sequence[Record]) -> list[list[int]] | None:
    if not all(record.has("response_ids") for record in records):
        return None
    for record in records:
        if not isinstance(record.fields["response_ids"], list):
            given = f"{record.fields['response_ids']!r:.80}"
            raise DataError(f"{record.place}: 'response_ids' is {given}; give a list of token ids")
    return [record.fields["response_ids"] for record in records]


def _tokenized(texts: Sequence[str], name: str) -> list[list[int]]:
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise DependencyError(
            "--tokenizer needs transformers, which is not installed; run `pip install transformers`"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"--tokenizer {name}: no tokenizer there ({' '.join(str(error).split())[:200]}); give a folder that holds "
            "tokenizer.json, or the name of a model on the Hub"
        ) from error
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return ids


def _judgements(
    records: Sequence[Record], truncated: Sequence[bool], verifier: Callable[[], Verifier], notices: list[str]
) -> list[Judgement]:
    judged = [record for record in records if not _is_unknown(record)]
    name = source_of(judged, VERDICT)
    if name is not None or not judged:
        return [_stored_judgement(record, str(name)) for record in records]
    gold, text = source_of(records, GOLD), source_of(records, TEXT)
    if gold is None or text is None:
        wanted = "'correct', or 'gold' and 'response'"
        raise DataError(f"{records[0].place}: no verdict; give {wanted} in every row (this one has: {_names(records)})")
    assert isinstance(gold, str) and isinstance(text, str)
    pairs = [(gold_of(record, gold), text_of(record, text)) for record in records]
    started = time.perf_counter()
    with verifier() as judge:
        judgements = judge.check_many(pairs, truncated=truncated, problems=list(map(problem_of, records)))
    notices.append(f"verified {len(pairs)} responses against {gold!r} in {time.perf_counter() - started:.1f} s")
    return judgements


def _stored_judgement(record: Record, name: str) -> Judgement:
    """The file's own verdict; the reason and the answer where verl's dump has them from us."""
    verdict = Verdict.UNKNOWN if _is_unknown(record) else Verdict.CORRECT if _flag(record, name) else Verdict.WRONG
    reason = str(record.fields.get("reason") or "no reason in the file").removeprefix(f"{verdict}/")
    return Judgement(verdict=verdict, extracted=record.fields.get("pred") or None, judge="file", reason=reason)


def _is_unknown(record: Record) -> bool:
    return record.has("unknown") and _flag(record, "unknown")


def _flag(record: Record, name: str) -> bool:
    value = number_of(record, name, "0 or 1, false or true")
    if value not in (0, 1):
        cure = "; binarise graded scores first" if name in VERDICT else ""
        raise DataError(f"{record.place}: {name!r} is {value:g}; give 0 or 1, false or true{cure}")
    return value == 1


def gold_of(record: Record, name: str) -> str:
    """The gold answer of a row, as text.

    Raises:
        DataError: it is neither text nor a number.
    """
    value = record.fields[name]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"{record.place}: {name!r} is {value!r:.80}; give one answer, as text or a number")
    return str(value)


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


def _texts(records: Sequence[Record]) -> list[str] | None:
    for name in TEXT:
        texts = [record.fields.get(name) for record in records]
        if all(isinstance(text, str) for text in texts):
            return [str(text) for text in texts]
    return None


def _columns(records: Sequence[Record], group: Sequence[Hashable]) -> dict[str, list[Any]]:
    """Every field that all rows have, less those that the batch has itself; and the prompts' keys."""
    names = [name for name in records[0].fields if name != "step" and all(record.has(name) for record in records)]
    stable = next((name for name in PROMPT if name in names), None)
    keys = [str(record.fields[stable]) for record in records] if stable else [str(name) for name in group]
    columns = {name: [record.fields[name] for record in records] for name in names if name not in RolloutBatch.CORE}
    return {**columns, PROMPT_KEY: keys}


def _names(records: Sequence[Record]) -> str:
    return ", ".join(name for name in records[0].fields if records[0].has(name)) or "nothing"


def _missing(records: Sequence[Record], what: str, allowed: Sequence[str], meaning: str) -> DataError:
    return DataError(
        f"{records[0].place}: no {what}; give {meaning}, as one of {', '.join(allowed)}, in every row "
        f"(this one has: {_names(records)})"
    )
