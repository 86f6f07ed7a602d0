"""Accuracy over token budgets: each stored response cut at a power of two, judged as it stands.

One length says little where answers come late: "The Art of Efficient Reasoning" (arXiv:2602.20945) asks for accuracy
over budgets. A response that ends within the budget keeps its verdict. A longer one is cut; where it then marks an
answer it is judged by that, and else it is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from leanthink.data.rollouts import words_and_signs
from leanthink.metrics import Interval, bootstrap
from leanthink.reporting.figures import by_question
from leanthink.reporting.sources import Sample
from leanthink.verify import extract_answer
from leanthink.verify.extract import gold_answer
from leanthink.verify.same import Same

LEAST: Final = 4
"""Tokens of the smallest budget."""


def budgets_of(samples: Sequence[Sample]) -> list[int]:
    """Powers of two, from the first that some response fits into to the first that all fit into."""
    lengths = [one.length for one in samples if one.correct is not None]
    if not lengths:
        return []
    powers = [LEAST]
    while powers[-1] < max(lengths):
        powers.append(2 * powers[-1])
    return [power for power in powers if power >= min(lengths)]


def accuracy_by_budget(samples: Sequence[Sample], same: Same, budgets: Sequence[int]) -> Mapping[int, Interval]:
    """Accuracy by budget, with bootstrap intervals over questions."""
    questions = list(by_question(samples).values())
    counts = [float(len(own)) for own in questions]
    return {
        budget: bootstrap(
            {"right": [sum(right_within(one, budget, same) for one in own) for own in questions], "count": counts},
            lambda drawn: drawn["right"] / drawn["count"],
        )
        for budget in budgets
    }


def right_within(sample: Sample, budget: int, same: Same) -> float:
    """Whether a response with a verdict is right after so many tokens: 1 or 0."""
    correct = float(sample.correct or 0.0)
    if sample.length <= budget:
        return correct
    answer = extract_answer(cut_text(sample.text, sample.length, budget), truncated=True)
    if answer is None:
        return 0.0
    return correct if answer == sample.answer else float(same(gold_answer(sample.gold), answer))


def cut_text(text: str, length: float, budget: int) -> str:
    r"""What the first ``budget`` of ``length`` tokens of a text say.

    Dumps hold text. Where its words are as many as its tokens, the end token aside, a token is a word; elsewhere the
    text is cut at the budget's share of its words and signs.

    >>> cut_text("30 + 12 = 42", 6, 4), cut_text("So it is \\boxed{42}.", 14, 6)
    ('30 + 12 =', 'So it is')
    """
    words = text.split()
    pieces = words if length - len(words) in (0, 1) else words_and_signs(text)
    kept = budget if pieces is words else int(budget / length * len(pieces))
    end = 0
    for piece in pieces[:kept]:
        end = text.index(piece, end) + len(piece)
    return text[:end]
