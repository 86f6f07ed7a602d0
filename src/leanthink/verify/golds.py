"""What data hold as a gold answer: text of one, lists of alternatives, and what is none at all."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, get_args

import numpy

from leanthink.core.errors import ConfigError
from leanthink.verify.extract import gold_answer
from leanthink.verify.reading import type_of
from leanthink.verify.service import Verifier
from leanthink.verify.verdict import Judgement, Verdict

Lists = Literal["any", "all"]
"""How a list of golds is meant: any of them is right, or a response has to give all."""

PROSE_WORDS: Final = 6
"""From so many words on, a gold answer that no rule reads as a value is prose, which no response repeats."""

CURE: Final = "give one answer as text or a number, or a list of alternatives"
OTHER: Final = r"\boxed{71993}"
"""A response that is about no gold answer: what is unknown of it, the gold answer is to blame for."""


def gold_text(value: Any, lists: Lists = "any") -> str:
    r"""A gold answer as the verifier takes it: text; of a list, the JSON list of its alternatives, or all in one.

    Lists, arrays, JSON lists in text and numbers of numpy do as well as text and numbers.

    Raises:
        ValueError: it is no answer: None, NaN, true or false, a mapping, an empty or a nested list; with the cure.
        ConfigError: ``lists`` is neither "any" nor "all".

    >>> gold_text(18), gold_text(["1/2", "0.5"]), gold_text('["3", "4"]', "all")
    ('18', '["1/2", "0.5"]', '3, 4')
    """
    if lists not in get_args(Lists):
        raise ConfigError(f"gold lists are {lists!r}; give any or all")
    value = _plain(value)
    if isinstance(value, str) and value.lstrip().startswith('["'):
        try:
            value = json.loads(value)
        except ValueError:
            return str(value)
        except RecursionError as error:
            raise ValueError(f"{value:.40}..., lists within lists, is no answer; {CURE}") from error
    if not isinstance(value, list | tuple):
        return _one(value)
    if not value:
        raise ValueError("an empty list; give one answer, or a list of alternatives")
    texts = [_one(item) for item in value]
    return ", ".join(texts) if lists == "all" else json.dumps(texts, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Arrays and numbers of numpy or torch as Python's; those of few bits as the shortest decimals that these read."""
    if not hasattr(value, "tolist"):
        return value
    plain, kind = value.tolist(), str(getattr(value, "dtype", "")).removeprefix("torch.")
    if kind in ("float16", "float32"):  # in 64 bits, the 0.1 of 32 is 0.10000000149011612
        return numpy.array(plain, kind).astype(str).astype(float).tolist()
    return plain


def _one(value: Any) -> str:
    value = _plain(value)
    shown = f"{value!r:.80}"
    if isinstance(value, bool):
        raise ValueError(f"{shown} is no answer; write it as responses do, as text (Yes, True)")
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{shown} stands for no answer; drop the row, or {CURE}")
    if isinstance(value, Mapping):
        raise ValueError(f"{shown} is a mapping; name the field within it, as in reward_model.ground_truth, or {CURE}")
    if not isinstance(value, str | int | float):
        raise ValueError(f"{shown} is no answer; {CURE}")
    return str(value)


def bad_golds(golds: Iterable[str], verifier: Verifier) -> dict[str, str]:
    r"""Golds that no response can match, each with the reason.

    Each is read as responses are: it has to match itself, as a response or in a box. What stands for "no answer"
    (`proof`, `None`), what cannot be read, and prose without a marked answer does not.

    >>> with Verifier(workers=1) as verifier:
    ...     bad_golds(["18", "proof", r"So it is \boxed{3}."], verifier)
    {'proof': 'stands for no answer'}
    """
    distinct = list(dict.fromkeys(golds))
    judged = [
        verifier.check_many([(gold, response.replace("GOLD", gold)) for gold in distinct])
        for response in (OTHER, r"\boxed{GOLD}", "GOLD")
    ]
    reasons = {gold: _fault(gold, *of_gold) for gold, *of_gold in zip(distinct, *judged, strict=True)}
    return {gold: reason for gold, reason in reasons.items() if reason is not None}


def _fault(gold: str, of_other: Judgement, of_box: Judgement, of_itself: Judgement) -> str | None:
    if not gold.strip() or of_other.reason.startswith("gold_unparsable"):
        return "stands for no answer"
    words = len(gold.split())
    unreadable, marked = type_of(gold).startswith("unreadable"), gold_answer(gold) != gold.strip()
    if unreadable and not marked and (words >= PROSE_WORDS or "sentence" in type_of(gold)):
        return f"prose of {words} words, without a marked answer"
    if unreadable and not any(map(str.isalnum, gold)):
        return "cannot be read"
    if of_box.correct or of_itself.correct:
        return None
    for one in (of_box, of_itself):
        if one.verdict is Verdict.UNKNOWN:
            return f"cannot be judged ({one.code})"
    return f"does not even match itself ({of_box.code})"
