"""Stored rollouts: from rows of a file to the facts that training would have had about each response.

What a row needs: whose prompt it answers, a length (or token ids, or text to count), and a verdict (or a gold answer
and a text, which is then verified). `leanthink.data.fields` has the names by which each is known. Further fields that
all rows have are columns; ``unknown`` (1: no verdict), ``step`` and ``grader_correct`` have a meaning of their own.

A verdict that is not known is never a 0: the response takes no part in its group.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import index
from typing import Any, Final

from leanthink.core.batch import PROMPT_KEY, RolloutBatch
from leanthink.core.errors import ConfigError, DataError
from leanthink.core.text import listed
from leanthink.data.fields import (
    IDS,
    ROLES,
    Fields,
    flag_of,
    gold_of,
    of_source,
    problem_of,
    prompt_end_of,
    shown_names,
    sources_of,
    truncated_of,
)
from leanthink.data.records import Record, number_of, source_of, text_of
from leanthink.data.responses import one_by_one
from leanthink.files.models import reading, tokenizer_of
from leanthink.files.reading import whole_number
from leanthink.verify import Judgement, Verdict, Verifier
from leanthink.verify.extract import opening_of, opens

PROMPT: Final = (PROMPT_KEY, "prompt_id", "group", "input")
THINKING_END: Final = "</think>"
OTHER_ENDS: Final = (
    "</think>",
    "</thinking>",
    "</thought>",
    "</reasoning>",
    "</seed:think>",
    "<|end_of_thought|>",
    "[/THINK]",
    "◁/think▷",
)
"""By what models are known to close their thinking."""
USUALLY: Final = Fields()
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
    fields: Fields = USUALLY,
    source: str | None = None,
    **verify: Any,
) -> Rollouts:
    """The facts in the rows of a file, responses verified where it brings no verdicts.

    Args:
        records: the rows.
        tokenizer: a folder or Hub name, to count tokens where the file has text only.
        step: score everything as at this step, whatever the file says.
        workers: the verifier's processes.
        deadline: seconds for one judgement.
        fields: where the file's names are not the usual ones.
        source: take the rows of this data source only.
        verify: further settings of the verifier, as ``thinking_end``.

    Raises:
        DataError: naming file, line and field.
    """
    ends = str(verify.get("thinking_end", THINKING_END))
    records, notices = one_by_one(of_source(records, source), fields, ends)
    _check_fields(records, fields)
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
    group = _groups(records, fields, notices)
    if len(set(zip(group, steps or clock, strict=True))) == len(group) > 1:
        notices.append("every prompt has one response only: nothing within a group to compare, advantages are 0")
    truncated, told = truncated_of(records, fields)
    notices += told
    length, tokens = _lengths(records, fields, tokenizer, notices)
    texts = _texts(records, fields)
    judging = partial(Verifier, workers=workers, deadline=deadline, **verify)
    judgements = _judgements(records, truncated, fields, judging, notices)
    notices += tag_notices(texts or (), ends)
    return Rollouts(
        records=records,
        group=group,
        step=steps or clock,
        clock=clock,
        length=length,
        truncated=truncated,
        judgements=judgements,
        texts=texts,
        tokens=tokens,
        columns=_columns(records, group),
        notices=notices,
    )


def _check_fields(records: Sequence[Record], own: Fields) -> None:
    """Refuse rows that lack what they need, all of it named at once."""
    found = {role: own.find(records[:1], role) for role in ROLES}
    ids = any(records[0].has(name) for name in IDS)
    judged = found["correct"] or records[0].has("unknown") or (found["gold"] and found["response"])
    lacking = {
        "prompt group (group, prompt_id or uid, or the prompt's text)": not (found["group"] or found["prompt"]),
        "length (length or response_ids, or response, to count)": not (found["length"] or ids or found["response"]),
        "verdict (correct or acc, or gold and response, to verify)": not judged,
    }
    if any(lacking.values()):
        told = ", no ".join(what for what, lacks in lacking.items() if lacks)
        raise DataError(
            f"{records[0].place}: no {told}; give it in every row, by a name of docs/howto/data.md, or name "
            f"yours with --group-field, --response-field and the like (this row has: {shown_names(records[0])})"
        )


def tag_notices(texts: Sequence[str], thinking_end: str) -> list[str]:
    """What to say where responses close their thinking by other tags than the one that is looked for."""
    if not texts or any(thinking_end in text for text in texts):
        return []
    counts = {tag: sum(tag in text for text in texts) for tag in OTHER_ENDS if tag != thinking_end}
    tag, count = max(counts.items(), key=lambda item: item[1])
    if not count:
        return []
    return [
        f"no response has {thinking_end!r}, and {count} of {len(texts)} have {tag!r}: what stands before it counts as "
        f"answer; give --thinking-end {tag!r}"
    ]


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
        (record, judgement, flag_of(record, "grader_correct"))
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


def _groups(records: Sequence[Record], own: Fields, notices: list[str]) -> list[Hashable]:
    name = own.find(records, "group")
    if name is None:
        name = own.find(records, "prompt")
        assert name is not None
        notices.append(f"no prompt group in the file: responses with the same {name!r} are one group")
        return [str(record.get(name)) for record in records]
    groups: list[Hashable] = []
    for record in records:
        value = record.get(name)
        if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
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


def _lengths(
    records: Sequence[Record], own: Fields, tokenizer: str | None, notices: list[str]
) -> tuple[list[float], list[list[int]] | None]:
    """The lengths, and the token ids where there are any."""
    name, tokens = own.find(records, "length"), _response_ids(records)
    if tokenizer is not None and (name is not None or tokens is not None):
        notices.append(f"--tokenizer is not used: the file gives {name or 'token ids'!r}")
    if name is not None:
        lengths = [number_of(record, name, "a number of tokens, 0 or more") for record in records]
        for record, length in zip(records, lengths, strict=True):
            if length < 0:
                raise DataError(f"{record.place}: {name!r} is {length:g}; give a number of tokens, 0 or more")
        return lengths, tokens
    if tokens is None:
        text = own.find(records, "response")
        assert text is not None
        texts = [text_of(record, text) for record in records]
        if tokenizer is None:
            notices.append("lengths are counted in words and signs, not tokens; give --tokenizer for tokens")
            return [float(len(words_and_signs(text))) for text in texts], None
        notices.append(f"lengths are tokens of {tokenizer}, the end token not counted")
        tokens = _tokenized(texts, tokenizer)
    return [float(len(ids)) for ids in tokens], tokens


def _response_ids(records: Sequence[Record]) -> list[list[int]] | None:
    name = source_of(records, IDS)
    if name is None:
        return None
    assert isinstance(name, str)
    return [_ids(record, name) for record in records]


def _ids(record: Record, name: str) -> list[int]:
    """The token ids of a row as numbers of Python's own, by which repetition is told: tensors are equal to nothing."""
    ids: list[Any] = record.get(name)
    if not isinstance(ids, list):
        raise DataError(f"{record.place}: {name!r} is {ids!r:.80}; give a list of token ids")
    if set(map(type, ids)) <= {int}:
        return ids
    place = f"{record.place}, token ids {name!r}"
    return [whole_number(_plain(value), place) for value in ids]


def _plain(value: Any) -> Any:
    """A whole number of numpy's or torch's as Python's; anything else as it is."""
    try:
        return value if isinstance(value, bool) else index(value)
    except TypeError:
        return value


def _tokenized(texts: Sequence[str], name: str) -> list[list[int]]:
    place = f"--tokenizer {name}"
    tokenizer = tokenizer_of(name, place)
    with reading(place, "tokenizer", "give another folder, or the name of a model on the Hub"):
        ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return ids


def _judgements(
    records: Sequence[Record],
    truncated: Sequence[bool],
    own: Fields,
    verifier: Callable[[], Verifier],
    notices: list[str],
) -> list[Judgement]:
    known = [record for record in records if not _is_unknown(record)]
    try:
        name = own.find(known, "correct") if known else None
    except DataError as error:
        if len(sources_of(records)) < 2:
            raise
        raise DataError(
            f"{error}, or take the rows of one source with --source (there are: {listed(sources_of(records))})"
        ) from error
    if name is not None or not known:
        if texts := sum(isinstance(record.get(str(name)), str) for record in known):
            notices.append(f"{texts} verdicts in {name!r} are text (True, False), as older dumps have them")
        return [_stored_judgement(record, str(name)) for record in records]
    started = time.perf_counter()
    with verifier() as judge:
        judgements = judged(records, truncated, own, judge, notices)
    seconds = time.perf_counter() - started
    notices.append(f"verified {len(records)} responses against {own.find(records, 'gold')!r} in {seconds:.1f} s")
    return judgements


def judged(
    records: Sequence[Record], truncated: Sequence[bool], own: Fields, verifier: Verifier, notices: list[str]
) -> list[Judgement]:
    """Verdicts on the responses of rows, each read as training reads it: behind the tag that its prompt ends in."""
    gold, text = own.find(records, "gold"), own.find(records, "response")
    if gold is None or text is None:
        raise DataError(f"{records[0].place}: no verdict; give 'correct', or 'gold' and 'response' in every row")
    golds = [gold_of(record, gold, own.gold_lists) for record in records]
    opening = opening_of(verifier.thinking_end) or ""
    opened = [opens(prompt_end_of(record, own.names("prompt")), opening) for record in records]
    texts = [f"{opening * begun}{text_of(record, text)}" for record, begun in zip(records, opened, strict=True)]
    if any(opened):
        notices.append(f"{sum(opened)} prompts end in {opening!r}: their responses begin within the thinking")
    return verifier.check_many(
        zip(golds, texts, strict=True), truncated=truncated, problems=[problem_of(record) for record in records]
    )


def _stored_judgement(record: Record, name: str) -> Judgement:
    """The file's own verdict; the reason and the answer where verl's dump has them from us."""
    verdict = Verdict.UNKNOWN if _is_unknown(record) else Verdict.CORRECT if flag_of(record, name) else Verdict.WRONG
    reason = str(record.fields.get("reason") or "no reason in the file").removeprefix(f"{verdict}/")
    pred = record.fields.get("pred")
    return Judgement(verdict=verdict, extracted=None if pred in (None, "") else str(pred), judge="file", reason=reason)


def _is_unknown(record: Record) -> bool:
    return record.has("unknown") and flag_of(record, "unknown")


def _texts(records: Sequence[Record], own: Fields) -> list[str] | None:
    names = own.names("response")
    name = next((name for name in names if all(record.has(name) for record in records)), None)
    return None if name is None else [text_of(record, name) for record in records]


def _columns(records: Sequence[Record], group: Sequence[Hashable]) -> dict[str, list[Any]]:
    """Every field that all rows have, less those that the batch has itself; and the prompts' keys."""
    names = [name for name in records[0].fields if name != "step" and all(record.has(name) for record in records)]
    stable = next((name for name in PROMPT if name in names), None)
    keys = [str(record.fields[stable]) for record in records] if stable else [str(name) for name in group]
    columns = {name: [record.fields[name] for record in records] for name in names if name not in RolloutBatch.CORE}
    return {**columns, PROMPT_KEY: keys}
