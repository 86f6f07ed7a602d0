"""Steps of a thinking text: where it stands, where its steps begin, and which of the sampled tokens those are.

Characters throughout, as VSRM has it (arXiv 2508.10293); only `token_pieces` and `token_at` know tokens.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final

MARKERS: Final = (
    *("wait", "Wait", "WAIT"),
    *("but", "But", "BUT"),
    *("alternatively", "Alternatively", "ALTERNATIVELY"),
    *("however", "However", "HOWEVER"),
    *("hmm", "Hmm", "HMM"),
    *("Let me double-check", "let me double-check"),
    *("But wait", "but wait"),
    *("Hold on", "hold on"),
    *("Looking back", "looking back"),
    *("Seems solid", "seems solid"),
    *("Similarly", "similarly"),
    *("That's correct, but", "that's correct, but"),
    *("That seems right", "that seems right"),
    *("Wait, but", "wait, but"),
    "So",
)
"""The 34 step openers of VSRM's released code; it lacks the paper's "Therefore"."""


PENDING: Final = 16
"""The most tokens that a character is waited for; those that are no text at all would be read again and again."""


@dataclass(frozen=True, kw_only=True)
class Thinking:
    """Where the thinking stands in a response: characters ``[begin, end)``, and where its closing tag ends.

    Without a closing tag the thinking lasts to the end of the text, and ``closed`` is None.
    """

    begin: int
    end: int
    closed: int | None


def find_thinking(text: str, open_tag: str, close_tag: str, opened_by_prompt: bool = False) -> Thinking | None:
    """The first block of thinking; None where no tag opens it.

    Where the prompt ends in the opening tag, the thinking begins with the response.

    >>> find_thinking("<think>4?</think>4", "<think>", "</think>")
    Thinking(begin=7, end=9, closed=17)
    >>> find_thinking("4?", "<think>", "</think>") is None
    True
    """
    begin = 0
    if not opened_by_prompt:
        opened = text.find(open_tag)
        if opened < 0:
            return None
        begin = opened + len(open_tag)
    end = text.find(close_tag, begin)
    if end < 0:
        return Thinking(begin=begin, end=len(text), closed=None)
    return Thinking(begin=begin, end=end, closed=end + len(close_tag))


@lru_cache(maxsize=16)
def marker_pattern(markers: tuple[str, ...], whole_word: bool = False) -> re.Pattern[str]:
    """One expression for all markers, the longest first; as substrings, unless ``whole_word``."""
    pattern = "|".join(re.escape(marker) for marker in sorted(markers, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{pattern})(?!\w)" if whole_word else pattern)


def cut_points(
    text: str,
    begin: int,
    end: int,
    markers: tuple[str, ...] = MARKERS,
    *,
    whole_word: bool = False,
    skip_chars: int,
    min_gap_chars: int,
    sentence_ends: str = ".!?\n",
) -> list[int]:
    """Where the steps of the thinking ``text[begin:end]`` begin: at the sentences that hold a marker.

    A marker counts unless it stands within the first ``skip_chars`` characters of the thinking or less than
    ``min_gap_chars`` after the last cut. The cut is moved back to right after the last sentence end before the marker,
    if there is one in the thinking; neither rule is applied to the moved cut again.

    >>> cut_points("It is 4. Wait, 4. So 4.", 0, 23, skip_chars=5, min_gap_chars=0)
    [8, 17]
    """
    cuts: list[int] = []
    sentence_end, read = -1, begin  # the last one before ``read``
    for match in marker_pattern(markers, whole_word).finditer(text, begin, end):
        marker = match.start()
        if marker - begin < skip_chars or (cuts and marker - cuts[-1] < min_gap_chars):
            continue
        sentence_end = max([sentence_end, *(text.rfind(sign, read, marker) for sign in sentence_ends)])
        read = marker
        cut = sentence_end + 1 if sentence_end >= begin else marker
        if not cuts or cut != cuts[-1]:  # two markers in one sentence
            cuts.append(cut)
    return cuts


def thinned(cuts: Sequence[int], limit: int | None) -> list[int]:
    """At most ``limit`` of the cuts, spread evenly, the first and the last among them; a single one is the last.

    >>> thinned([10, 20, 30, 40, 50], 3), thinned([10, 20], None)
    ([10, 30, 50], [10, 20])
    """
    if limit is None or len(cuts) <= limit:
        return list(cuts)
    if limit == 1:
        return [cuts[-1]]
    return [cuts[round(place * (len(cuts) - 1) / (limit - 1))] for place in range(limit)]


def token_pieces(token_ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[str]:
    """The text that each token adds to those before it; joined, the text of all.

    A token that ends within a character adds nothing; the one that completes it adds the character. Each piece is the
    difference of two short decodings, which also finds the spaces that some tokenizers put between tokens.

    >>> token_pieces([104, 105, 33], lambda ids: " ".join(map(chr, ids)))
    ['h', ' i', ' !']
    """
    pieces = []
    start = read = 0
    for stop in range(1, len(token_ids) + 1):
        before, now = decode(token_ids[start:read]), decode(token_ids[start:stop])
        if now.endswith("\N{REPLACEMENT CHARACTER}") and stop < len(token_ids) and stop - read < PENDING:
            pieces.append("")
            continue
        pieces.append(now[len(before) :])
        start, read = read, stop
    return pieces


def token_at(pieces: Sequence[str], places: Sequence[int]) -> list[int]:
    """The token in whose text each character stands; the number of tokens for a place behind the last.

    >>> token_at(["<think>", " 4", "", "?"], [0, 7, 9, 10])
    [0, 1, 3, 4]
    """
    ends = list(accumulate(map(len, pieces)))
    return [bisect_right(ends, place) for place in places]
