"""What rows ask, and what is right: questions and answers as data sets have them, and how they are to be read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from leanthink.core.errors import ConfigError, DataError, did_you_mean
from leanthink.data.fields import gold_of
from leanthink.data.records import Record
from leanthink.verify import Verifier, bad_golds
from leanthink.verify.golds import Lists

Split = Literal["train", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "test")

QUESTION: Final = "{question}"
TEMPLATES: Final[Mapping[str, str]] = {
    "boxed": QUESTION + "\n\nPlease reason step by step, and put your final answer within \\boxed{}.",
    "raw": QUESTION,
}
DIFFICULTY: Final = ("difficulty", "level")
MARK: Final = "####"
QUESTIONS: Final = ("question", "problem", "prompt", "messages", "input", "instruction")
ANSWERS: Final = ("answer", "gold", "reward_model.ground_truth", "ground_truth", "final_answer", "target")
BadGolds = Literal["refuse", "drop", "keep"]


_THOUSANDS = re.compile(r"[-+]?\$?\d{1,3}(,\d{3})+(\.\d+)?")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How rows become prompts, answers and splits.

    Attributes:
        data_source: the name verl groups its validation metrics by.
        template: a name in ``TEMPLATES``, or text that contains ``{question}``.
        question_field: the field of the question, or a path to it, as ``messages[-1].content``; ``answer_field`` that
            of the answer. None for the first of the usual names that the rows have (`QUESTIONS`, `ANSWERS`).
        answer_pattern: a regular expression that finds the answer in its field; its group, or else the whole match,
            the last one counts. Without it, what follows ``####`` where all answers have that.
        test_share: the share of questions held out, between 0 and 1; 0 and 1 write one file only.
        test_size: hold out this many instead, those of the smallest hashes.
        seed_text: another text gives another split.
        keep: further fields to carry in ``extra_info``, for recipes that need them as columns; null where a row has
            none.
        bad_golds: what becomes of a row whose answer no response can match: "refuse", "drop" or "keep".
        gold_lists: how a list of answers is meant: "any" of them is right, or "all" are asked for.
    """

    data_source: str
    template: str = "boxed"
    question_field: str | None = None
    answer_field: str | None = None
    answer_pattern: str | None = None
    test_share: float = 0.05
    test_size: int | None = None
    seed_text: str = "leanthink"
    keep: tuple[str, ...] = ()
    bad_golds: BadGolds = "refuse"
    gold_lists: Lists = "any"

    def __post_init__(self) -> None:
        if self.template not in TEMPLATES and QUESTION not in self.template:
            raise ConfigError(
                f"template {self.template!r}: no such name, and no {QUESTION} in it; "
                f"{did_you_mean(self.template, TEMPLATES)}; or give text with {QUESTION} where the question goes"
            )
        if not 0 <= self.test_share <= 1:
            raise ConfigError(f"test share is {self.test_share}; give a share between 0 and 1")
        if self.test_size is not None and self.test_size < 1:
            raise ConfigError(f"test size is {self.test_size}; give 1 or more")
        if self.bad_golds not in get_args(BadGolds):
            raise ConfigError(f"bad golds are {self.bad_golds!r}; give {', '.join(get_args(BadGolds))}")
        if self.answer_pattern is not None:
            try:
                re.compile(self.answer_pattern)
            except re.error as error:
                raise ConfigError(
                    f"answer pattern {self.answer_pattern!r}: {error}; give a regular expression"
                ) from error

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits to write."""
        if self.test_size is None and self.test_share in (0, 1):
            return ("test",) if self.test_share else ("train",)
        return SPLITS

    def prompt(self, question: str) -> str:
        """The question in its template."""
        return TEMPLATES.get(self.template, self.template).replace(QUESTION, question)


def field_of(records: Sequence[Record], given: str | None, usual: Sequence[str], what: str) -> str:
    """The field of the question or the answer."""
    if given is not None:
        return given
    name = next((one for one in usual if records[0].has(one)), None)
    if name is None:
        raise DataError(
            f"{records[0].place}: no {what} ({', '.join(usual)}); name yours with --{what}-field, or a path to it as "
            f"messages[-1].content (the row has: {', '.join(records[0].fields)})"
        )
    return name


def audited(records: Sequence[Record], answers: Sequence[str], settings: Settings) -> tuple[list[int], list[str]]:
    """The places of the rows to take, and what to know of those whose answer no response can match.

    Raises:
        DataError: there are such rows and the settings refuse them, or none is left.
    """
    with Verifier(workers=1) as verifier:
        reasons = bad_golds(answers, verifier)
    bad = [row for row, answer in enumerate(answers) if answer in reasons]
    if not bad:
        return list(range(len(records))), []
    counts = Counter(reasons[answers[row]] for row in bad)
    told = "; ".join(f"{count} x {reason}" for reason, count in counts.most_common(5))
    first = f"first {records[bad[0]].place}: {answers[bad[0]]!r:.60}"
    if settings.bad_golds == "refuse":
        raise DataError(
            f"{len(bad)} of {len(answers)} answers can be matched by no response ({told}; {first}): every response to "
            "them would count as wrong; put them right, or --bad-golds drop (or keep); `leanthink verify --golds FILE` "
            "lists them"
        )
    keeps = settings.bad_golds == "keep"
    notice = f"{len(bad)} answers that no response can match were {'kept' if keeps else 'dropped'}: {told}; {first}"
    if keeps:
        return list(range(len(records))), [notice]
    left = [row for row, answer in enumerate(answers) if answer not in reasons]
    if not left:
        raise DataError(f"no row is left: none of {len(answers)} answers can be matched ({told}; {first})")
    return left, [notice]


def messages_of(record: Record, name: str) -> list[dict[str, Any]] | None:
    """The conversation in a field; None where it holds text."""
    value = record.get(name)
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        return [dict(one) for one in value]
    return None


def question_of(record: Record, name: str) -> str:
    """The text of a question; of a conversation, what the user said last."""
    messages = messages_of(record, name)
    if messages is None:
        return _text(record, name, "--question-field")
    said = [one.get("content") for one in messages if one.get("role") == "user"]
    if messages[-1].get("role") != "user" or not isinstance(said[-1], str) or not said[-1].strip():
        raise DataError(
            f"{record.place}: {name!r} is a conversation that does not end in a user's text; end it there, or name the "
            f"question itself with --question-field, as {name}[0].content"
        )
    return said[-1]


def _text(record: Record, name: str, option: str) -> str:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value != value or not str(value).strip():
        given = f"{name!r} is {value!r:.80}" if record.has(name) or name in record.fields else f"no {name!r}"
        raise DataError(
            f"{record.place}: {given}; fill it in, remove the row, or name another field with {option} "
            f"(the row has: {', '.join(record.fields)})"
        )
    return str(value)


def _answer(record: Record, settings: Settings) -> str:
    """The field of the answer as text; of a list, its alternatives."""
    name = str(settings.answer_field)
    if isinstance(record.get(name), list | tuple):
        return gold_of(record, name, settings.gold_lists)
    if not record.has(name) and settings.bad_golds != "refuse":
        return ""
    return _text(record, name, "--answer-field")


def answers_of(records: Sequence[Record], settings: Settings) -> tuple[list[str], list[str]]:
    """The answers, and a notice on how they were found."""
    texts = [_answer(record, settings) for record in records]
    if settings.answer_pattern is not None:
        pattern, notice = re.compile(settings.answer_pattern), f"answers: found by {settings.answer_pattern!r}"
    else:
        marked = [MARK in text for text in texts]
        if not any(marked):
            return [text.strip() for text in texts], []
        if not all(marked):
            raise DataError(
                f"{records[marked.index(False)].place}: no {MARK} in the answer, which "
                f"{records[marked.index(True)].place} has; give --answer-pattern to say what the answer is"
            )
        pattern, notice = re.compile(rf"{MARK}\s*([^\n]+)"), f"answers: what follows {MARK}"
    answers = []
    for record, text in zip(records, texts, strict=True):
        found = [match[1] if pattern.groups else match[0] for match in pattern.finditer(text)]
        answer = (found[-1] or "").strip() if found else ""
        if not answer:
            raise DataError(f"{record.place}: no answer found by {pattern.pattern!r} in {text[-80:]!r}; check both")
        answers.append(answer.replace(",", "") if _THOUSANDS.fullmatch(answer) else answer)
    return answers, [notice]
