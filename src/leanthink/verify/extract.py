r"""Where the answer stands in a response: after the thinking, in a box or behind another mark.

Only text after the end of thinking counts, and of that only the tail, so a response of 100 kB costs what a short one
does; a box that reaches into the tail is followed to its start. Marks, best first:

1. `\boxed{...}` or `\fbox{...}`, braces balanced, `\boxed 5` too; a box that is never closed is no mark. The last box
   counts; the boxes before it join it as math-verify joins them (see `_join`), so `\boxed{3} and \boxed{4}` answers
   "3,4" and hedging is not rewarded.
2. `<answer>...</answer>`, the last one.
3. `#### 18`, a line of its own holding a plain number (`#### Step 3` is a heading).
4. "final answer is ...", "Final Answer: ...", up to the end of its line or sentence.

An unmarked response may be searched by math-verify (form "search"): its last sentences, never a piece of one. A
truncated one may not: its last number is where it was cut, not what it answered.

Reasons for having no answer: `unfinished_thinking`, `empty_box`, `truncated`, `unmarked`, `empty`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from leanthink.core.boxes import Box, boxes_in, unwrap

TAIL = 32_768  # characters searched for marks
SEARCH_TAIL = 4_096  # characters searched when there is no mark

Form = Literal["boxed", "text", "search"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An answer's text and how to read it, or the reason why there is none.

    The form is "boxed" for bare mathematics, "text" for a marked sentence in which math-verify finds the value, and
    "search" for an unmarked tail.
    """

    text: str | None = None
    form: Form = "boxed"
    reason: str = ""


def extract_answer(
    response: str,
    *,
    thinking_end: str = "</think>",
    require_thinking_end: bool = False,
    truncated: bool = False,
) -> str | None:
    r"""The marked answer of a response, or None.

    Args:
        response: The generated text.
        thinking_end: The tag that closes the thinking.
        require_thinking_end: Without the tag there is no answer. Set it for models whose prompt opens the thinking;
            otherwise a response with neither tag is all answer, as from a model that never thinks in tags.
        truncated: The response was cut; a mark that may be cut with it does not count.

    >>> extract_answer(r"<think>\boxed{3}?</think> So it is \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    >>> extract_answer(r"<think>I guess \boxed{3}") is None
    True
    >>> extract_answer("The final answer is $18$. I hope it is correct.")
    '18'
    """
    found = find_answer(
        response,
        thinking_end=thinking_end,
        require_thinking_end=require_thinking_end,
        require_marked=True,
        truncated=truncated,
    )
    return found.text


def find_answer(
    response: str,
    *,
    thinking_end: str,
    require_thinking_end: bool,
    require_marked: bool,
    truncated: bool,
    search_tail: int = SEARCH_TAIL,
) -> Found:
    """The answer with its form, or the reason why there is none."""
    part = answer_part(response, thinking_end=thinking_end, require_thinking_end=require_thinking_end)
    if part is None:
        return Found(reason="unfinished_thinking")
    tail = part[-TAIL:]
    boxes = boxes_in(tail, truncated=truncated)
    filled = [box for box in boxes if box.content]
    if not filled and len(part) > TAIL and "}" in tail:
        tail, filled = _box_into_tail(part)
    if filled:
        return Found(text=_join(tail, filled))
    if boxes:
        return Found(reason="empty_box")
    marked = _marked_text(tail, truncated=truncated)
    if marked:
        return Found(text=marked, form="text" if _PROSE.search(marked) else "boxed")
    if truncated:
        return Found(reason="truncated")
    if not part.strip():
        return Found(reason="empty")
    sentences = None if require_marked else _last_sentences(part, search_tail)
    return Found(text=sentences, form="search") if sentences else Found(reason="unmarked")


def opening_of(thinking_end: str) -> str | None:
    """The tag that opens what a tag ends: the same without its ``/``; None where it has none to tell them apart.

    >>> opening_of("</think>"), opening_of("END")
    ('<think>', None)
    """
    return thinking_end.replace("/", "", 1) if "/" in thinking_end else None


def answer_part(response: str, *, thinking_end: str, require_thinking_end: bool) -> str | None:
    """What follows the first end of thinking, less any later thinking; None when the thinking never ends.

    The first closing tag ends the thinking, and what a reader sees begins there; thinking opened again after it is
    still thinking. Without tags the whole response is the answer part.

    >>> answer_part("<think>a</think>b<think>c</think>d", thinking_end="</think>", require_thinking_end=False)
    'bd'
    """
    opening = opening_of(thinking_end)
    _, closed, part = response.partition(thinking_end)
    if not closed:
        opened = opening is not None and opening in response
        return None if opened or require_thinking_end else response
    if opening is None:
        return part
    seen, *blocks = part.split(opening)
    return seen + "".join(block.partition(thinking_end)[2] for block in blocks)


def _box_into_tail(part: str) -> tuple[str, list[Box]]:
    """The text from the last box that opens before the tail and closes in it, and that box."""
    edge = len(part) - TAIL
    start = max(part.rfind(command, 0, edge) for command in ("\\boxed", "\\fbox"))
    text = part[max(start, 0) :]
    boxes = boxes_in(text, truncated=True) if start >= 0 else []
    return text, [box for box in boxes if box.content and start + box.end > edge]


def _last_sentences(part: str, limit: int) -> str | None:
    """Whole sentences or lines within the last characters: half an expression is no answer."""
    if len(part) <= limit:
        return part
    tail = part[-limit:]
    start = _BREAK.search(tail)
    return tail[start.end() :].strip() or None if start else None


_BREAK = re.compile(r"\n|[.!?]\s")
_CLOSED_MATHS = re.compile(r"[^$]*?(?:\$|\\\)|\\\])\s*(.*?)\s*(?:\$|\\\(|\\\[)[^$]*", re.DOTALL)
_CONNECTOR = re.compile(r",?\s*and|,?\s*or|,|")
_SEPARATOR = re.compile(r"\b(?:and|or)\b|,|;")


def _join(text: str, boxes: list[Box]) -> str:
    r"""The last box and those before it that belong to the same answer, joined by commas.

    math-verify's rules: boxes in separate maths environments belong together when nothing but "and", "or" or a comma
    stands between the environments; boxes in one environment, or in none, when fewer than 10 characters stand between
    them, or fewer than 70 with a separator among them and different contents. Repeats count once.
    """
    last, *earlier = reversed(boxes)
    contents, start = [last.content], last.start
    for box in earlier:
        between = text[box.end : start]
        if apart := len(between) < 200 and _CLOSED_MATHS.fullmatch(between):
            together = _CONNECTOR.fullmatch(apart[1]) is not None
        else:
            near = len(between) < 70 and box.content != contents[-1] and _SEPARATOR.search(between)
            together = len(between) < 10 or bool(near)
        if not together:
            break
        if box.content != contents[-1]:
            contents.append(box.content)
        start = box.start
    return ",".join(reversed(contents))


_HASHES = re.compile(r"^####[ \t]*([-+]?\$?\d[\d,]*(?:\.\d+)?(?:/\d+)?)[ \t]*(\.?[ \t]*(?:\n|\Z))", re.MULTILINE)
_FINAL = re.compile(r"final\s+answer[^.\n:=]{0,80}?(?:\bis\b|[:=])[\s:*_]*([^\n]+)(\n|\Z)", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?:\*\*)?(?:\s|\Z)")
_PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}")


def _marked_text(text: str, *, truncated: bool) -> str | None:
    """The answer behind a mark other than a box; None where there is none or where it may have been cut."""
    end = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, end) if end >= 0 else -1
    if start >= 0:
        return unwrap(text[start + len("<answer>") : end])
    for match in reversed(list(_HASHES.finditer(text))):
        if not truncated or "\n" in match[2]:
            return unwrap(match[1].replace("$", ""))
    for match in reversed(list(_FINAL.finditer(text))):
        sentence = _SENTENCE_END.search(match[1])
        if truncated and not match[2] and (sentence is None or sentence.end() == len(match[1]) == sentence.start() + 1):
            continue
        return unwrap((match[1][: sentence.start()] if sentence else match[1]).strip("* "))
    return None
