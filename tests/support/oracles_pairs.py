"""A slow second implementation of AdaR1's released pair builder: loops from its description, without the package."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

Response = tuple[bool, int]  # correct, tokens


def released_pairs(
    long: Sequence[Response], short: Sequence[Response]
) -> tuple[str, set[tuple[int, int]], list[tuple[int, int]]] | None:
    """Style, candidates (own, other) of the group level, pairs (chosen, rejected) of the instance level, as indices.

    None where nothing is correct. Two instance pairs, less the degenerate ones.
    """
    right = {"long": 0, "short": 0}
    tokens = {"long": 0, "short": 0}
    for name, responses in (("long", long), ("short", short)):
        for correct, length in responses:
            right[name] += correct
            tokens[name] += length
    if right["long"] + right["short"] == 0:
        return None
    k = len(long) if len(long) > len(short) else len(short)
    g = Fraction(right["long"], len(long)) - Fraction(right["short"], len(short)) - Fraction(1, 2 * k)
    mean_long, mean_short = Fraction(tokens["long"], len(long)), Fraction(tokens["short"], len(short))
    ell = (mean_long - mean_short) / mean_short
    if ell == 0:
        gain = g
    elif g > 0:
        gain = g / ell
    else:
        gain = g * ell / 10
    style, own, other = ("long", long, short) if gain > 0 else ("short", short, long)
    chosen = [i for i in range(len(own)) if own[i][0]]
    if not chosen:
        chosen = list(range(len(own)))
    rejected = [i for i in range(len(other)) if not other[i][0]]
    if not rejected:
        rejected = list(range(len(other)))
    group = {(i, j) for i in chosen for j in rejected}
    best = chosen[0]
    for i in chosen:
        if own[i][1] < own[best][1]:
            best = i
    left, instance = list(chosen), []
    for _ in range(2):
        if left:
            longest = left[0]
            for i in left:
                if own[i][1] >= own[longest][1]:  # the last of equals
                    longest = i
            left.remove(longest)
            if longest != best:
                instance.append((best, longest))
    return style, group, instance
