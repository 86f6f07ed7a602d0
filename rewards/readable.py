r"""Whether a response says an answer that can be read: where it stands, and whether it is well formed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, final

from leanthink.core.boxes import last_box, unwrap
from leanthink.core.errors import ConfigError
from leanthink.core.measured import TextReward

_ANSWER: Final = ("<answer>", "</answer>")

_ROUND: Final = (")", "]")  # an interval may be half open
_CLOSERS: Final = {"{": ("}",), r"\{": (r"\}",), "(": _ROUND, "[": _ROUND}
_TOKEN: Final = re.compile(
    r"""
    (?P<skip> \s+ | [~$|] | \{,\} | \\[ ,;:!$|] | \\(?:left|right|displaystyle|q?quad)(?![A-Za-z]) )
  | (?P<both> [-+±\u2212] | \\(?:pm|mp)(?![A-Za-z]) )
  | (?P<infix> \*\* | [<>=!]= | [*/^_=<>:÷·≤≥≠≈\u00d7]
      | \\(?:cdot|times|div|leq?|geq?|neq?|lt|gt|approx|equiv|cong|in|cup|cap|setminus|to|mid)(?![A-Za-z]) )
  | (?P<before> √ | \\(?:[dtc]?frac|sqrt|[dt]?binom|text(?:bf|it|rm)?|math[a-z]+|mbox|operatorname|overline|begin|end)
      (?![A-Za-z]) )
  | (?P<after> [!'%°] | \\% )
  | (?P<open> [({[] | \\\{ )
  | (?P<close> [)}\]] | \\\} )
  | (?P<separator> [,;&] | \\\\ )
  | (?P<operand> \d+(?:\.\d*)? | \.\d+ | [^\W\d_]+ | ∞ | \\[A-Za-z]+ )
    """,
    re.VERBOSE,
)


def answer_in(response: str, open_tag: str, close_tag: str, opened_by_prompt: bool = False) -> str | None:
    r"""The answer a response says behind its last thinking; None where it says none.

    In a pair of answer tags: the last box, else the last mathematics in ``\(...\)``, else the text. Without: the last
    box. Thinking that was opened and not closed holds no answer; without any tag of thinking, everything may.

    >>> answer_in(r"<think> \boxed{3} </think> So \boxed{4}.", "<think>", "</think>")
    '4'
    >>> answer_in(r"<think> \boxed{3} </think> So 4.", "<think>", "</think>") is None
    True
    """
    _, closed, part = response.rpartition(close_tag)
    if opened_by_prompt and not closed:
        return None
    part = part.partition(open_tag)[0]
    end = part.rfind(_ANSWER[1])
    begin = part.rfind(_ANSWER[0], 0, max(end, 0))
    if begin < 0:
        return last_box(part)
    inside = part[begin + len(_ANSWER[0]) : end]
    box, maths = last_box(inside), _last_inline(inside)
    return box if box is not None else unwrap(inside if maths is None else maths)


def _last_inline(text: str) -> str | None:
    r"""What the last ``\(...\)`` holds, in one pass; None without one."""
    found, begin = None, text.find(r"\(")
    while begin >= 0 and (end := text.find(r"\)", begin + 2)) >= 0:
        found = text[begin + 2 : end]
        begin = text.find(r"\(", end + 2)
    return found


def well_formed(answer: str) -> bool:
    r"""Whether a text has the form of mathematics: operands, operators between them, brackets in pairs.

    One pass, and nothing is evaluated. Words are symbols, and what stands side by side is a product, as in sympy's
    parser with implicit multiplication.

    >>> [well_formed(text) for text in (r"\frac{1}{2}", "x = 5", "[0, 1)", "12 apples", "???", "2 +", "(3", "")]
    [True, True, True, True, False, False, False, False]
    """
    opened: list[str] = []
    complete = False  # whether an operand has just ended
    place = 0
    while place < len(answer):
        token = _TOKEN.match(answer, place)
        if token is None:
            return False
        place, kind, sign = token.end(), token.lastgroup, token[0]
        if kind in ("infix", "after", "close", "separator") and not complete:
            return False
        if kind == "open":
            opened.append(sign)
        elif kind == "close" and not (opened and sign in _CLOSERS[opened.pop()]):
            return False
        if kind != "skip":
            complete = kind in ("after", "close", "operand")
    return complete and not opened


@final
@dataclass(frozen=True, kw_only=True)
class Readable(TextReward):
    r"""1 where an answer can be read from a response, 0 elsewhere; right or wrong plays no part.

    ``F_ans`` of Surrogate Signals (arXiv 2505.19439): where the answer stands, see :func:`answer_in`. The paper's code
    has sympy's parser accept it, which runs what it reads as Python and may take for ever; here its form is checked in
    one pass (:func:`well_formed`). What sympy refuses and this accepts: half-open intervals, chains of relations,
    ratios such as ``3:4``, matrices, prose, commands without their arguments. What both refuse: what is empty, ends in
    an operator, leaves a bracket open, or holds other signs, as ``???``.

    Args:
        open_tag: what opens the thinking.
        close_tag: what closes it.
        opened_by_prompt: the chat template ends in the opening tag, as DeepSeek-R1's does: what never closes its
            thinking says no answer.

    >>> Readable().measure(r"It is \boxed{4}."), Readable().measure(r"<think> \boxed{4} </think> Done.")
    (1.0, 0.0)
    """

    open_tag: str = "<think>"
    close_tag: str = "</think>"
    opened_by_prompt: bool = False

    def __post_init__(self) -> None:
        if not self.open_tag or not self.close_tag:
            raise ConfigError("readable: open_tag and close_tag may not be empty; give the model's own")

    def measure(self, response: str) -> float:
        """1 or 0."""
        answer = answer_in(response, self.open_tag, self.close_tag, self.opened_by_prompt)
        return float(answer is not None and well_formed(answer))
