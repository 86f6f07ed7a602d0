"""VSRM's steps, arXiv 2508.10293: thinking, markers, cuts, tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from leanthink.rewards.segmentation import (
    MARKERS,
    Thinking,
    cut_points,
    find_thinking,
    marker_pattern,
    thinned,
    token_at,
    token_pieces,
)

TAGS = ("<think>", "</think>")
WORDS = ["wait", "Wait", "So", "but", "Solve", "x", "7", "3.14", ".", "!", "?", "\n", "However", "But wait", "hmm", "4"]


def test_there_are_34_markers() -> None:
    assert len(MARKERS) == len(set(MARKERS)) == 34
    assert "Therefore" not in MARKERS and "so" not in MARKERS


def test_worked_example() -> None:
    filler = "x" * 58
    text = f"<think>{filler}. Wait, x is 4. The end.</think> Wait, the answer is 4. But wait, 5."
    thinking = find_thinking(text, *TAGS)
    assert thinking is not None
    assert cut_points(text, thinking.begin, thinking.end, skip_chars=20, min_gap_chars=30) == [66]
    assert text[:66].endswith("x.")


@pytest.mark.parametrize(
    ("text", "opened", "expected"),
    [
        ("<think>ab</think>c", False, Thinking(begin=7, end=9, closed=17)),
        ("<think>ab", False, Thinking(begin=7, end=9, closed=None)),
        ("ab</think>c", False, None),
        ("ab</think>c", True, Thinking(begin=0, end=2, closed=10)),
        ("", True, Thinking(begin=0, end=0, closed=None)),
        ("</think>x<think>ab</think>c</think>", False, Thinking(begin=16, end=18, closed=26)),
    ],
)
def test_where_the_thinking_stands(text: str, opened: bool, expected: Thinking | None) -> None:
    assert find_thinking(text, *TAGS, opened) == expected


def slow_cut_points(
    text: str, begin: int, end: int, markers: Sequence[str], skip_chars: int, min_gap_chars: int, sentence_ends: str
) -> list[int]:
    """Scan the thinking for the longest marker at each place; move each accepted one to its sentence's start."""
    cuts: list[int] = []
    last: int | None = None
    place = begin
    while place < end:
        here = [marker for marker in markers if text[place:end].startswith(marker)]
        if not here:
            place += 1
            continue
        marker = place
        place += max(len(one) for one in here)
        if marker - begin < skip_chars:
            continue
        if last is not None and marker - last < min_gap_chars:
            continue
        cut = marker
        for earlier in range(begin, marker):
            if text[earlier] in sentence_ends:
                cut = earlier + 1
        last = cut
        cuts.append(cut)
    return sorted(set(cuts))


def test_agrees_with_the_scan() -> None:
    draw = random.Random(0)
    cuts_seen = 0
    for _ in range(1000):
        joint = draw.choice(["", " ", " "])
        text = joint.join(draw.choice(WORDS) for _ in range(draw.randint(0, 60)))
        begin = draw.randint(0, len(text) // 4)
        end = draw.randint(begin, len(text))
        skip, gap, ends = draw.choice((0, 20)), draw.choice((0, 15, 40)), draw.choice((".!?\n", "", "?"))
        given = cut_points(text, begin, end, skip_chars=skip, min_gap_chars=gap, sentence_ends=ends)
        assert given == slow_cut_points(text, begin, end, MARKERS, skip, gap, ends), (text, begin, end)
        cuts_seen += len(given)
    assert cuts_seen > 2000


def test_markers_fire_inside_words_unless_whole_words_are_wanted() -> None:
    text = "Some distribution awaits. So wait"
    everywhere = [match[0] for match in marker_pattern(MARKERS).finditer(text)]
    assert everywhere == ["So", "but", "wait", "So", "wait"]
    assert [match[0] for match in marker_pattern(MARKERS, True).finditer(text)] == ["So", "wait"]


def test_the_longest_marker_wins_and_matches_do_not_overlap() -> None:
    assert [match[0] for match in marker_pattern(MARKERS).finditer("But wait, but")] == ["But wait", "but"]
    assert [match[0] for match in marker_pattern(MARKERS).finditer("Wait, but")] == ["Wait, but"]


def test_the_gap_runs_from_the_marker_to_the_last_cut_and_the_moved_cut_is_not_checked_again() -> None:
    text = "aaaa. " + "b" * 20 + " wait " + "c" * 20 + " wait"
    first, second = text.index("wait"), text.rindex("wait")
    assert second - first < 40 < second - 5
    assert cut_points(text, 0, len(text), skip_chars=first, min_gap_chars=0) == [5]  # inside the skipped opening
    assert cut_points(text, 0, len(text), skip_chars=0, min_gap_chars=40, sentence_ends="") == [first]
    assert cut_points(text, 0, len(text), skip_chars=0, min_gap_chars=40) == [5]  # two markers, one sentence
    twice = text.replace("c" * 20, "c" * 19 + ".")
    assert cut_points(twice, 0, len(text), skip_chars=0, min_gap_chars=40) == [5, twice.index("c.") + 2]


def test_without_sentence_ends_a_cut_stands_at_its_marker() -> None:
    text = "<think> 47 + 12 = 58 wait + 12 = 59 wait + 12 = 59 </think>"
    cuts = cut_points(text, 7, text.index("</think>"), ("wait",), skip_chars=0, min_gap_chars=0)
    assert [text[cut : cut + 4] for cut in cuts] == ["wait", "wait"]


def test_thinning_keeps_the_ends_and_is_even() -> None:
    for count in range(0, 30):
        for limit in range(1, 12):
            kept = thinned(list(range(count)), limit)
            assert len(kept) == len(set(kept)) == min(count, limit) and kept == sorted(kept)
            if count:
                assert kept[-1] == count - 1 and (limit == 1 or kept[0] == 0)
            gaps = [b - a for a, b in pairwise(kept)]
            assert not gaps or max(gaps) - min(gaps) <= 1


def test_tokens_of_a_byte_level_tokenizer_may_end_within_a_character() -> None:
    parts = [
        b"<think>",
        "√2 ".encode()[:1],
        "√2 ".encode()[1:4],
        b" wait",
        "é".encode()[:1],
        "é".encode()[1:],
    ]
    decode = lambda ids: b"".join(parts[i] for i in ids).decode("utf-8", "replace")  # noqa: E731
    pieces = token_pieces(range(len(parts)), decode)
    assert pieces == ["<think>", "", "√2", " wait", "", "é"]
    text = "".join(pieces)
    assert token_at(pieces, [text.index("√"), text.index("wait"), text.index("é"), len(text)]) == [2, 3, 5, 6]


def test_tokens_of_a_text_cut_within_a_character() -> None:
    parts = [b"a", "√".encode()[:2]]
    pieces = token_pieces([0, 1], lambda ids: b"".join(parts[i] for i in ids).decode("utf-8", "replace"))
    assert pieces == ["a", "\ufffd"]


def test_pieces_join_to_the_text_that_the_tokenizer_gives() -> None:
    from leanthink.testbed.tokenizer import build_tokenizer

    tokenizer = build_tokenizer()
    text = r"<think> 47 + 12 = 58 wait + 12 = 59 </think> \boxed{ 59 } <eos>"
    ids = tokenizer.encode(text)
    pieces = token_pieces(ids, tokenizer.decode)
    assert "".join(pieces) == tokenizer.decode(ids) == text
    places = [text.index("wait"), text.index("</think>"), text.index("47")]
    assert [tokenizer.decode([ids[token]]) for token in token_at(pieces, places)] == ["wait", "</think>", "47"]
