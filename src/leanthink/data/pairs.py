"""Preference pairs from stored rollouts of two models, as AdaR1 builds them for direct preference optimisation.

AdaR1 (arXiv 2504.21659, Sec. 4): for each problem, which style should solve it, long or short, and within that style
the shortest correct response over the longest ones.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, final

from leanthink.core.batch import PROMPT_KEY
from leanthink.core.errors import ConfigError, DataError
from leanthink.core.text import first_unstorable
from leanthink.data.fields import USUAL
from leanthink.data.parquet import write_parquet
from leanthink.data.records import Record
from leanthink.data.rollouts import Rollouts
from leanthink.files.writing import whole_file
from leanthink.verify import Verdict

Style = Literal["long", "short"]
Kind = Literal["group", "instance"]
Prompt = str | list[dict[str, Any]]

WRITTEN: Final = (".jsonl", ".parquet")
FORMS: Final = (
    "the prompts do not fit into one column",
    "give all of them as text, or all as messages of one form, or write JSONL",
)
CHOICE: Final = re.compile(r"\(?[A-F]\)?")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One response: its text, its verdict, its tokens."""

    text: str
    correct: bool
    length: float


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two responses to one problem, the better one first; ``preferred`` is the style chosen for the problem."""

    chosen: str
    rejected: str
    kind: Kind
    preferred: Style


@final
@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """How pairs are made. The defaults are the paper's, with the margin of its released code.

    Args:
        group_pairs: pairs of a problem's preferred style over the other, drawn at random (M1).
        instance_pairs: pairs of the shortest correct response over the longest of the preferred style (M2).
        margin: by how much the long style's accuracy must be higher to be preferred; the paper says above 0, None is
            the released ``1 / (2 K)`` with K samples of a style, the larger K where unknown verdicts make them unequal.
        chosen_correct_only: of group pairs, choose correct responses where the preferred style has any.
        rejected_wrong_first: and reject wrong ones where the other style has any.
        released: do as the released script does: both of these, problems that nothing solves, multiple choice and empty
            answers left out, the preferred style by its gain, and the longest correct responses rejected; where the
            preferred style has none, which takes a gain of the other sign, its shortest wrong over its longest. Unlike
            there, a pair of a response with itself, which the two longest may hold, is dropped: it has no gradient.
        seed: of the draws, which are not the script's.

    A pair of two equal texts is dropped with any settings.
    """

    group_pairs: int = 4
    instance_pairs: int = 2
    margin: float | None = None
    chosen_correct_only: bool = False
    rejected_wrong_first: bool = False
    released: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.group_pairs < 0 or self.instance_pairs < 0 or self.group_pairs + self.instance_pairs == 0:
            raise ConfigError(
                f"pairs: {self.group_pairs} group pairs and {self.instance_pairs} instance pairs a problem; give 0 or "
                "more of each, and not 0 of both"
            )
        if self.margin is not None and not 0 < self.margin < 1:
            raise ConfigError(f"pairs: margin is {self.margin}; give a share above 0 and below 1")
        if self.released and self.margin is not None:
            raise ConfigError("pairs: the released script has a margin of its own; leave out margin, or released")


def accuracy(candidates: Sequence[Candidate]) -> Fraction:
    """The share of correct responses, exactly."""
    return Fraction(sum(one.correct for one in candidates), len(candidates))


def released_gain(long: Sequence[Candidate], short: Sequence[Candidate]) -> float:
    """What the released script prefers the long style by, where it is above 0.

    ``g / l`` if ``g > 0``, else ``g l / 10``: ``g = C_L - C_S - 1 / (2 K)``, K the larger number of samples, ``l`` how
    much longer long responses are, as a share of the short; shorter ones turn the sign. Where both are equally long,
    which divides by zero there, ``g`` itself.
    """
    edge = accuracy(long) - accuracy(short) - Fraction(1, 2 * max(len(long), len(short)))
    mean_long, mean_short = (sum(one.length for one in style) / len(style) for style in (long, short))
    more = (mean_long - mean_short) / mean_short if mean_short else 0.0
    if more == 0:
        return float(edge)
    return float(edge) / more if edge > 0 else float(edge) * more / 10


def preferred_style(long: Sequence[Candidate], short: Sequence[Candidate], settings: PairSettings) -> Style:
    """Long where it is more accurate by more than the margin, else short."""
    if settings.released:
        return "long" if released_gain(long, short) > 0 else "short"
    widest = Fraction(1, 2 * max(len(long), len(short)))
    margin = widest if settings.margin is None else Fraction(str(settings.margin))  # 0.3 itself, not the float below it
    return "long" if accuracy(long) - accuracy(short) > margin else "short"


def group_candidates(
    preferred: Sequence[Candidate], other: Sequence[Candidate], settings: PairSettings
) -> tuple[list[Candidate], list[Candidate]]:
    """What the filters leave of the preferred style and of the other: any of those over any of these is a pair."""
    chosen, rejected = list(preferred), list(other)
    if settings.chosen_correct_only or settings.released:
        chosen = [one for one in preferred if one.correct] or chosen
    if settings.rejected_wrong_first or settings.released:
        rejected = [one for one in other if not one.correct] or rejected
    return chosen, rejected


def drawn_pairs(
    chosen: Sequence[Candidate], rejected: Sequence[Candidate], most: int, draw: random.Random
) -> list[tuple[Candidate, Candidate]]:
    """Some of all pairs, each at most once; the pairs are numbered, for there may be too many to hold them."""
    every = range(len(chosen) * len(rejected))
    places = (divmod(number, len(rejected)) for number in draw.sample(every, min(most, len(every))))
    return [(chosen[better], rejected[worse]) for better, worse in places]


def instance_candidates(preferred: Sequence[Candidate], settings: PairSettings) -> list[tuple[Candidate, Candidate]]:
    """The shortest correct response over the longest of its style; the first of equals, none over itself.

    As released, over the longest correct ones; where none is correct, the shortest over the longest.
    """
    rows = [row for row, one in enumerate(preferred) if one.correct]
    if not rows and settings.released:
        rows = list(range(len(preferred)))
    if not rows:
        return []
    best = min(rows, key=lambda row: (preferred[row].length, row))
    if settings.released:
        longest = sorted(rows, key=lambda row: (preferred[row].length, row))[::-1]
    else:
        longest = sorted(range(len(preferred)), key=lambda row: (-preferred[row].length, row))
        longest = [row for row in longest if row != best]
    taken = longest[: settings.instance_pairs]
    return [(preferred[best], preferred[row]) for row in taken if row != best]


def problem_pairs(
    long: Sequence[Candidate], short: Sequence[Candidate], settings: PairSettings, name: Hashable = ""
) -> list[Pair]:
    """The pairs of one problem; the draw follows from the seed and the problem's name alone.

    >>> long = [Candidate(text=f"L{n}", correct=n > 0, length=90 - n) for n in range(2)]
    >>> short = [Candidate(text=f"S{n}", correct=False, length=9 + n) for n in range(2)]
    >>> [(one.chosen, one.rejected) for one in problem_pairs(long, short, PairSettings(group_pairs=0))]
    [('L1', 'L0')]
    """
    if settings.released and not any(one.correct for one in (*long, *short)):
        return []
    style = preferred_style(long, short, settings)
    preferred, other = (long, short) if style == "long" else (short, long)
    chosen, rejected = group_candidates(preferred, other, settings)
    drawn = drawn_pairs(chosen, rejected, settings.group_pairs, random.Random(f"{settings.seed}/{name}"))
    kinds: list[tuple[Kind, list[tuple[Candidate, Candidate]]]] = [
        ("group", drawn),
        ("instance", instance_candidates(preferred, settings)),
    ]
    return [
        Pair(chosen=better.text, rejected=worse.text, kind=kind, preferred=style)
        for kind, pairs in kinds
        for better, worse in pairs
        if better.text != worse.text
    ]


@dataclass(frozen=True, kw_only=True)
class Built:
    """Rows ready to be written, and what became of the problems: counts by name."""

    rows: list[dict[str, Any]]
    counts: Mapping[str, int]


def build_pairs(long: Rollouts, short: Rollouts, settings: PairSettings) -> Built:
    """Pairs of every problem that both have responses to, shuffled; unknown verdicts take no part.

    Raises:
        DataError: texts or prompts are missing, no problem is in both, one name stands for two, or there are no pairs.
    """
    styles = {"long": _by_problem(long), "short": _by_problem(short)}
    shared = [name for name in styles["long"] if name in styles["short"]]
    if not shared:
        raise DataError(
            f"{long.records[0].file} and {short.records[0].file} have no prompt in common; a prompt must have the "
            "same name in both (prompt_key, prompt_id, group or input)"
        )
    rows: list[dict[str, Any]] = []
    counts = {"problems": len(shared), "long preferred": 0, "short preferred": 0, "without pairs": 0}
    for name in shared:
        (record, of_long), (other, of_short) = styles["long"][name], styles["short"][name]
        _check_same(record, other, name)
        skipped = settings.released and _is_choice(record)
        pairs = [] if skipped else problem_pairs(of_long, of_short, settings, name)
        if not pairs:
            counts["without pairs"] += 1
            continue
        counts[f"{pairs[0].preferred} preferred"] += 1
        prompt = _prompt(record)
        rows += [row_of(prompt, pair) for pair in pairs]
    if not rows:
        raise DataError(
            f"{long.records[0].file} and {short.records[0].file}: no pairs from {len(shared)} problems; a pair needs "
            "different responses, and an instance pair a right one; --released leaves out multiple choice, empty "
            "answers, and what nothing solves"
        )
    random.Random(settings.seed).shuffle(rows)
    for kind in ("group", "instance"):
        counts[f"{kind} pairs"] = sum(row["kind"] == kind for row in rows)
    return Built(rows=rows, counts=counts)


def row_of(prompt: Prompt, pair: Pair) -> dict[str, Any]:
    """A pair in the columns that trainers of preferences read; messages where the prompt is a list of them."""
    chosen: Any = pair.chosen
    rejected: Any = pair.rejected
    if not isinstance(prompt, str):
        chosen, rejected = ([{"role": "assistant", "content": text}] for text in (chosen, rejected))
    return {
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "kind": pair.kind,
        "preferred": pair.preferred,
    }


def check_path(path: Path) -> None:
    """Refuse a file of unknown ending, or one that stands.

    Raises:
        ConfigError: with the cure.
    """
    if path.suffix.lower() not in WRITTEN:
        raise ConfigError(f"--out {path}: give a name that ends in {' or '.join(WRITTEN)}")
    if path.exists():
        raise ConfigError(f"--out {path}: the file exists, and nothing is overwritten; give another name or remove it")


def write_pairs(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write JSONL or parquet by the name's ending; a whole file or none, and never over another.

    Raises:
        ConfigError: as :func:`check_path`.
        DataError: the prompts do not fit into one column of parquet, a row holds what is no text, or there is no
            place for the file.
    """
    check_path(path)
    try:
        with whole_file(path) as part:
            if path.suffix.lower() == ".parquet":
                write_parquet(rows, part, f"--out {path}", *FORMS)
            else:
                lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
                part.write_text("".join(lines), encoding="utf-8")
            check_path(path)  # building may have taken a while
    except UnicodeEncodeError as error:
        raise DataError(
            f"--out {path}: row {(first_unstorable(rows) or 0) + 1} holds half of a surrogate pair ({error.reason}); "
            "replace it, as leanthink.core.text.storable does"
        ) from error


def _by_problem(rollouts: Rollouts) -> dict[Hashable, tuple[Record, list[Candidate]]]:
    if rollouts.texts is None:
        raise DataError(f"{rollouts.records[0].place}: no text of the response; give 'response' or 'output'")
    names = rollouts.columns.get(PROMPT_KEY, rollouts.group)  # the uid of a verl dump is new in every run
    problems: dict[Hashable, tuple[Record, list[Candidate]]] = {}
    for row, record in enumerate(rollouts.records):
        judgement = rollouts.judgements[row]
        if judgement.verdict is Verdict.UNKNOWN:
            continue
        candidate = Candidate(
            text=rollouts.texts[row], correct=judgement.verdict is Verdict.CORRECT, length=rollouts.length[row]
        )
        first, candidates = problems.setdefault(names[row], (record, []))
        _check_same(first, record, names[row])
        candidates.append(candidate)
    return problems


def _check_same(one: Record, other: Record, name: Hashable) -> None:
    """Refuse two rows of one name that have different prompts."""
    if (prompt := _prompt(one)) != (another := _prompt(other)):
        texts = [prompt if isinstance(prompt, str) else str(prompt) for prompt in (prompt, another)]
        parting = next((at for at, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
        mine, its = (text[max(parting - 20, 0) :][:60] for text in texts)
        raise DataError(
            f"{other.place}: prompt {name!r} is {its!r}, but {mine!r} at {one.place}; give each problem a name of its "
            "own, the same in both files, as prompt_key or prompt_id"
        )


def _prompt(record: Record) -> Prompt:
    for name in USUAL["prompt"]:
        value = record.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list) and value and all(isinstance(message, dict) for message in value):
            return value
    raise DataError(f"{record.place}: no prompt; give its text, or its messages, as {' or '.join(USUAL['prompt'])}")


def _is_choice(record: Record) -> bool:
    """Whether the reference answer is empty or null, or the letter of a choice; not where the row has no such field."""
    named = [name for name in USUAL["gold"] if name in record.fields or record.has(name)]
    gold = next((str(record.get(name)).strip() for name in named if record.has(name)), "")
    return bool(named) and (not gold or CHOICE.fullmatch(gold) is not None)
