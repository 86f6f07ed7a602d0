"""What the verifier says about one response."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import nan


class Verdict(StrEnum):
    """Correct, wrong, or not known because the judge could not decide."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """One verdict and where it comes from.

    The line between wrong and unknown: a fault of the *response* is wrong (no answer, thinking never ended, an answer
    that is no mathematics); a fault of the *judge* or of the *data* is unknown (time-out, crash, a gold answer that
    does not parse). Unknown is never a reward of 0: mask it.

    Attributes:
        verdict: correct, wrong or unknown.
        extracted: The answer that was judged, as text; None when the response has none.
        judge: Who decided: "extraction" (there was no answer to judge), a shortcut ("identical", "number", "letter"),
            "math-verify", the task ("choice", "exact") or the user's function by its name.
        reason: A code from the tables in `leanthink.verify.extract` and `leanthink.verify.judge`, then, after a
            colon, the details.
        seconds: What the verdict took: to find the answer, and, unless it was remembered, to judge it. Waiting for a
            worker does not count, and two judgements are equal whatever they took.

    >>> Judgement(verdict=Verdict.CORRECT, extracted="18", judge="number", reason="equal").correct
    1.0
    >>> Judgement(verdict=Verdict.UNKNOWN, extracted="9^{9^9}", judge="math-verify", reason="timeout: 5 s").code
    'unknown/timeout'
    """

    verdict: Verdict
    extracted: str | None
    judge: str
    reason: str
    seconds: float = field(default=0.0, compare=False)

    @property
    def correct(self) -> float:
        """1 for correct, 0 for wrong, nan for unknown: the `correct` column of a batch."""
        return {Verdict.CORRECT: 1.0, Verdict.WRONG: 0.0, Verdict.UNKNOWN: nan}[self.verdict]

    @property
    def code(self) -> str:
        """Verdict and reason without details: what the counters count by."""
        return f"{self.verdict}/{self.reason.split(':', 1)[0]}"
