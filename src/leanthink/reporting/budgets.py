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
    questions = [[right_within(one, budgets, same) for one in own] for own in by_question(samples).values()]
    counts = [float(len(own)) for own in questions]
    return {
        budget: bootstrap(
            {"right": [sum(rights[place] for rights in own) for own in questions], "count": counts},
            lambda drawn: drawn["right"] / drawn["count"],
        )
        for place, budget in enumerate(budgets)
    }


def right_within(sample: Sample, budgets: Sequence[int], same: Same) -> list[float]:
    """Whether a response with a verdict is right after each number of tokens: 1 or 0."""
    correct = float(sample.correct or 0.0)
    cut = cut_texts(sample.text, sample.length, [budget for budget in budgets if budget < sample.length])
    answers = {budget: extract_answer(text, truncated=True) for budget, text in cut.items()}
    gold = gold_answer(sample.gold)

    def right(budget: int) -> float:
        if budget not in answers:
            return correct
        answer = answers[budget]
        if answer is None:
            return 0.0
        return correct if answer == sample.answer else float(same(gold, answer))

    return [right(budget) for budget in budgets]


def cut_texts(text: str, length: float, budgets: Sequence[int]) -> dict[int, str]:
    r"""What the first tokens of a text of ``length`` tokens say, by number of tokens.

    Dumps hold text. Where its words are as many as its tokens, the end token aside, a token is a word; elsewhere the
    text is cut at the budget's share of its words and signs.

    >>> cut_texts("30 + 12 = 42", 6, [4]), cut_texts("So it is \\boxed{42}.", 14, [6])
    ({4: '30 + 12 ='}, {6: 'So it is'})
    """
    if not budgets:
        return {}
    words = text.split()
    by_word = length - len(words) in (0, 1)
    pieces = words if by_word else words_and_signs(text)
    ends = [0]
    for piece in pieces:
        ends.append(text.index(piece, ends[-1]) + len(piece))
    kept = {budget: budget if by_word else int(budget / length * len(pieces)) for budget in budgets}
    return {budget: text[: ends[min(count, len(pieces))]] for budget, count in kept.items()}
