r"""Where the answer stands in a response: after the thinking, behind its last mark.

Only text after the end of thinking counts, and of that only the tail, so a response of 100 kB costs what a short one
does; a box that reaches into the tail is followed to its start. The last mark counts, of whatever kind:

- `\boxed{...}` or `\fbox{...}`, braces balanced, `\boxed 5` too; a box that is never closed is no mark. Boxes between
  which nothing but "and", "or", a comma or a name like `x =` stands are one answer (see `_joined`).
- `<answer>...</answer>`
- `#### 18`, a line of its own that begins with a number (`#### Step 3` and `#### 3. Solve it` are headings).
- "final answer is ...", "Final Answer: ...", or a line "Answer: ...", up to the end of its line or sentence.

Where a mark is followed by another question ("Question:", "Problem 2:", a turn of the user's), the response has run on:
what follows is not its answer.

An unmarked response may be searched (form "search"): its last sentences, never a piece of one. A truncated one may not:
its last number is where it was cut, not what it answered.

Reasons for having no answer: `unfinished_thinking`, `empty_box`, `truncated`, `unmarked`, `empty`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from leanthink.core.boxes import Box, boxes_in, unwrap

TAIL = 32_768  # characters searched for marks
SEARCH_TAIL = 4_096  # characters searched when there is no mark
MOST_TURNS = 100  # beginnings of another question before which an answer is looked for; nobody runs on so often

Form = Literal["boxed", "text", "search"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An answer's text and how to read it, or the reason why there is none.

    The form is "boxed" for bare mathematics, "text" for a marked sentence in which the value is found, and "search" for
    an unmarked tail. ``line`` is what stands on the box's line beside it.
    """

    text: str | None = None
    form: Form = "boxed"
    reason: str = ""
    line: str = field(default="", compare=False)


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


def gold_answer(gold: str) -> str:
    r"""The answer of a gold text: what a whole solution marks, or says behind the ``####`` at its end; else itself.

    >>> gold_answer("Half of 144 is 72. #### 72"), gold_answer(r"Then $x=3$: $\boxed{3}$."), gold_answer(" 18 ")
    ('72', '3', '18')
    """
    _, hashes, end = gold.rpartition("####")
    if hashes and (end := end.strip()) and "\n" not in end and "#" not in end:
        return end
    solution = extract_answer(gold) if _SOLUTION.search(gold) else None
    return (solution or gold).strip()


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
    if (end := _runs_on(tail, filled)) is not None:
        tail, truncated, filled = tail[:end], False, [box for box in filled if box.end <= end]
    marked = _marked_text(tail, filled[-1].end if filled else 0, truncated=truncated)
    if filled and not marked:
        return Found(text=_joined(tail, filled), line=_line_of(tail, filled[-1]))
    if marked:
        return Found(text=marked, form="text" if _PROSE.search(marked) else "boxed")
    if boxes:
        return Found(reason="empty_box")
    if truncated:
        return Found(reason="truncated")
    if not part.strip():
        return Found(reason="empty")
    if require_marked:
        return Found(reason="unmarked")
    if formula := _LONE_FORMULA.fullmatch(part.strip()):
        return Found(text=next(group for group in formula.groups() if group is not None).strip())
    sentences = _last_sentences(part, search_tail)
    return Found(text=sentences, form="search") if sentences else Found(reason="unmarked")


def opening_of(thinking_end: str) -> str | None:
    """The tag that opens what a tag ends: the same without its ``/``; None where it has none to tell them apart.

    >>> opening_of("</think>"), opening_of("END")
    ('<think>', None)
    """
    return thinking_end.replace("/", "", 1) if "/" in thinking_end else None


def opens(prompt: str, tag: str) -> bool:
    r"""Whether a prompt ends in a tag, whatever white space follows.

    >>> opens("1 + 1 =<think>\n", "<think>"), opens("1 + 1 =", "")
    (True, False)
    """
    return bool(tag.rstrip()) and prompt.rstrip().endswith(tag.rstrip())


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
_LONE_FORMULA = re.compile(
    r"\$\$([^$]+)\$\$\.?|\$([^$]+)\$\.?|\\\(((?:(?!\\\)).)+)\\\)\.?|\\\[((?:(?!\\\]).)+)\\\]\.?", re.DOTALL
)
_DELIMITERS = re.compile(r"\$+|\\[()\[\]]|\\(?:text|quad|qquad|[,;: ])|[{}\s]|\*\*")
_NAME = r"(?:[A-Za-z](?:_\{?\w\}?)?=)?"
_CONNECTOR = re.compile(rf"(?:,?(?:and|or)|[,;&]|\\\\)*{_NAME}")
_RUN_ON = re.compile(
    r"\n[ \t]*(?:\*\*|#{1,6} *)?(?:Question|Problem|Exercise|Instruction|Human|User|Q) *\d{0,3} *(?:\*\*)?[:.]"
    r"|<\|im_start\|>|<\|user\|>"
)


def _joined(text: str, boxes: list[Box]) -> str:
    r"""The last box and those before it that belong to the same answer, joined by commas.

    They belong together when nothing but "and", "or", a comma and the name of the next value stands between them, so
    that hedging is not rewarded; repeats count once. A box that `\approx` leads to only says the one before it again.
    """
    last, *earlier = reversed(boxes)
    contents, start = [last.content], last.start
    for box in earlier:
        between = _DELIMITERS.sub("", text[box.end : start]) if start - box.end < 200 else "."
        if between in ("\\approx", "≈"):
            contents[-1] = box.content
        elif _CONNECTOR.fullmatch(between) is None:
            break
        elif box.content != contents[-1]:
            contents.append(box.content)
        start = box.start
    separated = any(re.match(r"\d{3}(?!\d)", one) for one in contents[:-1])  # 42 and 277 are not 42,277
    return (", " if separated else ",").join(reversed(contents))


def _line_of(text: str, box: Box) -> str:
    """What stands on a box's line beside it."""
    end = text.find("\n", box.end)
    return text[text.rfind("\n", 0, box.start) + 1 : box.start] + " " + text[box.end : end if end >= 0 else len(text)]


def _runs_on(text: str, boxes: list[Box]) -> int | None:
    """Where another question begins after an answer; None where none does."""
    if not any(word in text for word in _TURNS):
        return None
    for match in islice(_RUN_ON.finditer(text), MOST_TURNS):
        before = text[: match.start()]
        if any(box.end <= match.start() for box in boxes) or _marked_text(before, 0, truncated=False):
            return match.start()
    return None


_TURNS = ("Question", "Problem", "Exercise", "Instruction", "Human", "User", "Q:", "Q ", "<|")
_TAG = ("<answer>", "</answer>")
_HASHES = re.compile(  # a number may begin with a sign, of Unicode too, or be one of its fractions
    r"^####[ \t]*+((?:[-+(.\u2010-\u2015\u2212±√∛≈€£¥]|\\?\$|\\[a-z])*[\d\u00bc-\u00be\u2150-\u215e]"
    r"(?!\d*[.)][ \t]+\S)[^\n]*+)(\n|\Z)",
    re.MULTILINE,
)
_SOLUTION = re.compile(r"\\boxed|^#### ?\S|(?i:final answer)", re.MULTILINE)
_FINAL = re.compile(
    r"(?:final\s+answer[^.\n:=]{0,80}?(?:\bis\b|[:=])|(?:^|(?<=\[)|(?<=\$)|(?<=\\\())[ \t*_]*answer[ \t*_]*:)[\s:*_]*"
    r"((?:(?!final\s+answer)[^\n])+)(\n|\Z)?",
    re.IGNORECASE | re.MULTILINE,
)
_MATHS = re.compile(r"[\d$\\]")
_SENTENCE_END = re.compile(r"[.!](?:\*\*)?(?:\s|\Z)")
_PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}")


def _marked_text(text: str, box_end: int, *, truncated: bool) -> str | None:
    """The answer behind the last mark after the last box; None where there is none.

    After a box, words alone are no other answer: "the final answer is boxed above".
    """
    text, boxed = text[box_end:], box_end > 0
    found: list[tuple[int, str]] = []
    end = text.rfind(_TAG[1])
    start = text.rfind(_TAG[0], 0, end) if end >= 0 else -1
    if start >= 0:
        found.append((start + len(_TAG[0]), unwrap(text[start + len(_TAG[0]) : end])))
    for match in reversed(list(_HASHES.finditer(text)) if "####" in text else []):
        if not truncated or match[2]:
            said = match[1].rstrip(" \t").removesuffix(".").rstrip(" \t")
            found.append((match.start(1), unwrap(_without_dollar(said))))
            break
    for match in reversed(list(_FINAL.finditer(text)) if "nswer" in text or "NSWER" in text else []):
        if start >= 0 and start < match.start() < end:
            continue
        sentence = _SENTENCE_END.search(match[1])
        if truncated and not match[2] and (sentence is None or sentence.end() == len(match[1]) == sentence.start() + 1):
            continue
        said = unwrap((match[1][: sentence.start()] if sentence else match[1]).strip("* "))
        if said not in ("", "\\[", "\\(", "$$", "$") and (not boxed or _MATHS.search(said)):
            found.append((match.start(1), said.removesuffix("\\]").removesuffix("\\)").strip()))
            break
    return max(found, default=(-1, None))[1]


def _without_dollar(text: str) -> str:
    """`$18` is money, `$18$` is maths; neither sign belongs to the number."""
    return re.sub(r"\\?\$(?=\d)", "", text, count=1) if text.count("$") == 1 else text
