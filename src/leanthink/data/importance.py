"""How important each thought of a solution is, as Long⊗Short measures it to write its cold-start data.

``K`` thoughts of one solution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from leanthink.core.errors import BatchError, ConfigError


def thought_importance(
    length: Sequence[float],
    accuracy: Sequence[float | None],
    accuracy_without: float | None = None,
    redundancy_penalty: float = 0.25,
) -> list[float]:
    """The importance of each thought (Not All Thoughts are Generated Equal, arXiv 2505.11827, Eq. 1), in [-0.25, 1).

    ``M_i = log2(1 + (d - D_i)/d (d - d_i)/d p_i) - delta_i``: ``d_i`` is the length of thought ``i``, ``D_i`` that of
    all up to it, ``d`` that of all; ``p_i`` the accuracy of answers given after it; ``delta_i`` the penalty where
    ``p_i`` is not above ``p_(i-1)``. The last thought has 0 or less.

    Args:
        length: tokens of each thought (K,).
        accuracy: of answers given after each thought (K,): ``probe_accuracies`` are these. None among them, of a failed
            probe, is refused: neither that thought's importance nor the next one's is known then.
        accuracy_without: of answers given before any thought; None, which the paper does not settle, penalises the
            first thought never.
        redundancy_penalty: delta, 0 or more.

    Raises:
        BatchError: the two do not fit, hold what is no length or share, or a probe failed.
        ConfigError: the penalty is negative.

    >>> [round(one, 6) for one in thought_importance([120, 300, 80, 500, 200], [0.25, 0.5, 0.5, 0.75, 0.75], 0.0)]
    [0.266037, 0.314697, 0.097351, 0.101538, -0.25]
    """
    if len(length) != len(accuracy):
        raise BatchError(f"{len(length)} lengths and {len(accuracy)} accuracies; give one of each per thought")
    if not 0 <= redundancy_penalty < math.inf:
        raise ConfigError(f"redundancy_penalty is {redundancy_penalty}; give 0 or more")
    if accuracy_without is not None and not 0 <= accuracy_without <= 1:
        raise BatchError(f"accuracy_without is {accuracy_without}; give a share of 0 to 1, or None where it is unknown")
    known: list[float] = []
    for thought, (tokens, share) in enumerate(zip(length, accuracy, strict=True)):
        if share is None or math.isnan(share):
            raise BatchError(
                f"thought {thought}: accuracy {share}, that of a failed probe; ask again, or leave this solution out"
            )
        if not 0 < tokens < math.inf or not 0 <= share <= 1:
            raise BatchError(
                f"thought {thought}: {tokens} tokens, accuracy {share}; give above 0, and a share of 0 to 1"
            )
        known.append(share)
    total, read = sum(length), 0.0
    before = -math.inf if accuracy_without is None else accuracy_without
    importance = []
    for tokens, share in zip(length, known, strict=True):
        read += tokens
        gain = math.log2(1 + (total - read) / total * (total - tokens) / total * share)
        importance.append(gain - (0.0 if share > before else redundancy_penalty))
        before = share
    return importance


def long_thoughts(importance: Sequence[float]) -> list[bool]:
    """Which thoughts the long-thinking model keeps; the others are rewritten short. The cold-start split of the paper.

    The first is long; a later one if it is more important than every one before it.

    Raises:
        BatchError: an importance is not known.

    >>> long_thoughts([0.266037, 0.314697, 0.097351, 0.101538, -0.25])
    [True, True, False, False, False]
    """
    best = -math.inf
    kept = []
    for thought, value in enumerate(importance):
        if value is None or not math.isfinite(value):
            raise BatchError(f"thought {thought}: importance {value}; give the numbers of thought_importance")
        kept.append(value > best)
        best = max(best, value)
    return kept
