r"""A rule-based splitter of responses into solutions, for outcome and process efficiency: approximate by nature.

The paper (arXiv 2412.21187) splits with one large model and clusters with another. Here a solution ends with each
explicit answer (``\boxed{...}``, or "answer is ..."); what follows the last belongs to it. Answers are compared with
the gold answer as text. Two solutions share a perspective where their words overlap: a Jaccard index of ``overlap`` or
more.
"""

from __future__ import annotations

import re
from typing import Final

from leanthink.core.errors import ConfigError
from leanthink.metrics.efficiency import Solution

PERSPECTIVES: Final = 32
"""The most that are told apart in a response; solutions like none of these count as one more, together."""

_ANSWER: Final = re.compile(r"\\boxed\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}|\banswer\s+is:?\s+([^\s]+)", re.IGNORECASE)
_WORD: Final = re.compile(r"\w+|[^\w\s]")


def split_solutions(text: str, gold: str, *, overlap: float = 0.5) -> list[Solution]:
    r"""The solutions of a response, tokens counted in words and signs; a text without an answer is one wrong solution.

    >>> [(one.tokens, one.correct) for one in split_solutions(r"so \boxed{4} or \boxed{5}", "5")]
    [(6, False), (6, True)]
    """
    if not 0 <= overlap <= 1:
        raise ConfigError(f"split_solutions: overlap is {overlap}; give a share from 0 to 1")
    found = list(_ANSWER.finditer(text))
    ends = [match.end() for match in found[:-1]] + [len(text)]
    answers = [match[1] or match[2] or "" for match in found] or [None]
    seen: list[set[str]] = []
    solutions, start = [], 0
    gold = _plain(gold)
    for answer, end in zip(answers, ends, strict=True):
        words = _WORD.findall(text[start:end])
        own = set(words)
        perspective = next((place for place, other in enumerate(seen) if _alike(own, other, overlap)), len(seen))
        if perspective == len(seen) and len(seen) < PERSPECTIVES:
            seen.append(own)
        right = answer is not None and _plain(answer) == gold
        solutions.append(Solution(tokens=len(words), correct=right, perspective=perspective))
        start = end
    return solutions


def _alike(words: set[str], others: set[str], overlap: float) -> bool:
    shared = len(words & others)
    return shared >= overlap * (len(words) + len(others) - shared)


def _plain(answer: str) -> str:
    return re.sub(r"\s|\.$|\$", "", answer).lower()
