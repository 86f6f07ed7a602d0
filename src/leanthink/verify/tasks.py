r"""What is asked of an answer: mathematics, a number, one of several choices, or an exact text.

A task decides in this process what it can, and leaves the rest to a worker:

- `math`: equal by its type, and as far evaluated as the gold answer: the shortcuts of `leanthink.verify.shortcuts`,
  then `leanthink.verify.typed`, then a worker.
- `numeric`: a number within a tolerance of the gold answer; plain numbers exactly, others as sympy evaluates them.
- `choice`: the same letter, or letters: `B`, `(b)`, `\text{(B)}`, `B. Paris`, `A, C`; also as a short unmarked response
  that is nothing else. Otherwise what follows the last "answer is", "Answer:" or "correct option is"; else the letter
  that stands beside the box. Another choice beside the first, as in `B or C`, counts as named.
- `exact`: the same text, but for white space and the marks of text, bold and maths around it.
- `"pkg.mod:fn"`: a function of yours, `fn(gold, answer) -> bool | None`, called in a worker.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import partial
from typing import Final, NamedTuple, Protocol

from leanthink.core.errors import ConfigError, did_you_mean
from leanthink.core.functions import load_function
from leanthink.verify.evaluated import is_echo
from leanthink.verify.extract import Found
from leanthink.verify.numbers import plain_number
from leanthink.verify.numerals import other_choices
from leanthink.verify.reading import read
from leanthink.verify.relations import is_label
from leanthink.verify.search import value_in
from leanthink.verify.shortcuts import shortcut
from leanthink.verify.tokens import Unreadable
from leanthink.verify.typed import told_by_types
from leanthink.verify.values import Formula, Items, Relation, Text, Union, Value
from leanthink.verify.verdict import Verdict
from leanthink.verify.words import DENIALS, HEDGES


class Decision(NamedTuple):
    """A verdict that needs no worker: who gave it, why, and the answer as it was read."""

    verdict: Verdict
    judge: str
    reason: str
    extracted: str | None


class Question(NamedTuple):
    """What only a worker can decide: how it has to read the answer, and the answer.

    Attributes:
        form: "proof", or how `leanthink.verify.judge` reads it.
        answer: the text.
        pairs: of a proof, the formulas as JSON.
        judge: who will have decided.
        blame: whether the answer is at fault if there is no end to it.
    """

    form: str
    answer: str
    pairs: str = ""
    judge: str = "math-verify"
    blame: bool = False


class Decide(Protocol):
    """Decides a pair without a worker, or says what to ask one."""

    def __call__(self, gold: str, found: Found, problem: str | None) -> Decision | Question | None:
        """A verdict, a question for a worker, or None: ask the worker about the answer as it is."""


def decide_math(
    gold: str, found: Found, problem: str | None, *, accept_unevaluated: bool = False
) -> Decision | Question:
    r"""By a shortcut, where one applies; then by the types.

    >>> decide_math("437", Found(text=r"19 \cdot 23"), None).reason
    'unevaluated'
    """
    text = (found.text or "").strip()
    if found.form == "boxed" and (decided := shortcut(gold, text)) is not None:
        if decided[1] and problem and not accept_unevaluated and is_echo(gold, text, problem):
            return Decision(Verdict.WRONG, decided[0], "echo", found.text)
        return _compared(*decided, found.text)
    if found.form != "boxed":
        text = _told_value(gold, text, marked=found.form == "text")
        if not text:
            return Decision(Verdict.WRONG, "extraction", "unmarked", None)
    told = told_by_types(gold, text, problem=problem, accept_unevaluated=accept_unevaluated)
    extracted = text if found.form == "search" else found.text
    if told.verdict == "ask":
        form = "proof" if told.reason == "proof" else "boxed"
        return Question(form, text, told.pairs, "sympy" if form == "proof" else "math-verify", told.blame)
    return Decision(Verdict(told.verdict), told.type, told.reason, extracted)


def decide_plainly(gold: str, found: Found) -> Decision | None:
    """By a shortcut, where one applies; a marked answer only."""
    decided = shortcut(gold, (found.text or "").strip()) if found.form == "boxed" else None
    return None if decided is None else _compared(*decided, found.text)


def _told_value(gold: str, text: str, *, marked: bool) -> str:
    """The answer in a sentence: all of it where that reads as one, else the value it ends in."""
    text = _LEAD.sub("", text)
    if marked or _is_short(text):
        try:
            value = read(text)
            prose = not marked and isinstance(value, Formula) and _PROSE.search(text)
            if _is_text(gold) or not (prose or _holds_prose(value)):
                return text
            if (told := value_in(text)) and _is_more(value, read(told)):
                return text
        except (Unreadable, RecursionError):
            pass
    return value_in(text) or (text if marked else "")


def _is_short(text: str) -> bool:
    return len(text) <= SHORT and "\n" not in text


def _holds_prose(value: Value) -> bool:
    """Whether words in a value are more than the name before a sign: "the sum is 1 + 2", "we get x", but not "area"."""
    if isinstance(value, Relation | Union):
        first = value.sides[0] if isinstance(value, Relation) else value.parts[0]
        if not isinstance(first, Text) or not DENIALS.isdisjoint(words := first.words.lower().split()):
            return False
        return not (words[-1].isalpha() and len(words[-1]) > 1) or not is_label(first)
    return isinstance(value, Text) or (isinstance(value, Items) and any(map(_holds_prose, value.parts)))


def _is_more(value: Value, told: Value) -> bool:
    """Whether a search lost a sign or a value: `the number is > 5` is not 5, `we get x = 2 and y = 3` not 3."""
    if _bounds(value) and not _bounds(told):
        return True
    if not isinstance(value, Items) or any(isinstance(part, Text) for part in value.parts):
        return False
    return not isinstance(told, Items) or len(told.parts) != len(value.parts)


def _bounds(value: Value) -> bool:
    """Whether there is a sign in a value that is not one of equality."""
    if isinstance(value, Relation):
        return not {"=", "\\approx"}.issuperset(value.signs)
    return isinstance(value, Items) and any(map(_bounds, value.parts))


def _is_text(gold: str) -> bool:
    try:
        return isinstance(read(gold), Text)
    except (Unreadable, RecursionError):
        return True


def decide_numeric(
    gold: str, found: Found, problem: str | None, *, relative: float, absolute: float
) -> Decision | None:
    """Plain numbers only.

    >>> decide_numeric("3", Found(text="3.01"), None, relative=0.01, absolute=0.0).verdict
    <Verdict.CORRECT: 'correct'>
    """
    text = found.text or ""
    left, right = plain_number(gold), plain_number(text.strip())
    if found.form == "search" or left is None or right is None:
        return None
    allowed = max(Fraction(str(relative)) * abs(left.value), Fraction(str(absolute)))
    return _compared("number", abs(left.value - right.value) <= allowed, text)


def decide_exact(gold: str, found: Found, problem: str | None = None) -> Decision:
    r"""Always; an unmarked response is the answer where it is the gold answer and nothing else.

    >>> decide_exact("New York", Found(text=r"\text{New  York}")).verdict
    <Verdict.CORRECT: 'correct'>
    """
    wanted = bare_text(gold)
    if not wanted:
        return _gold_unparsable("exact", gold, found)
    equal = bare_text(found.text or "") == wanted
    if found.form == "search" and not equal:
        return Decision(Verdict.WRONG, "extraction", "unmarked", None)
    return _compared("exact", equal, found.text)


def decide_choice(gold: str, found: Found, problem: str | None = None) -> Decision:
    """Always; naming more choices than the gold answer does is wrong."""
    wanted = letters(gold)
    if wanted is None:
        return _gold_unparsable("choice", gold, found)
    text = found.text or ""
    given = letters(text) if found.form != "search" or _is_bare_choice(text.strip()) else None
    if given is None and (told := list(_ANSWER_IS.finditer(text))):
        named = [told[-1][1], *other_choices(told[-1][1], text[told[-1].end(1) :], sentence=True)]
        text, given = " or ".join(named), frozenset(named)
    if given is None and (beside := _letter_beside(found.line)):
        text, given = beside, frozenset(beside)
    if given is not None:
        return _compared("choice", given == wanted, text)
    if found.form == "search":
        return Decision(Verdict.WRONG, "extraction", "unmarked", None)
    return Decision(Verdict.WRONG, "choice", "unparsable", text)


def decide_function(gold: str, found: Found, problem: str | None = None) -> None:
    """Never: a user's function runs in a worker, where it cannot do harm."""


SHORT: Final = 60  # characters of an unmarked response that may be the answer as a whole
TASKS: Final = ("math", "numeric", "choice", "exact")


def decide_by(task: str, *, relative: float, absolute: float, accept_unevaluated: bool = False) -> Decide:
    """What decides without a worker in a task.

    Args:
        task: one of `TASKS`, or "pkg.mod:fn".
        relative: tolerance of a numeric answer as a share of the gold answer.
        absolute: the same as a number; the larger of the two counts.
        accept_unevaluated: an answer of the task "math" may leave undone what the gold answer does.

    Raises:
        ConfigError: no such task, or no such function.

    >>> decide_by("choice", relative=0.0, absolute=0.0)("(B)", Found(text="b"), None).reason
    'equal'
    """
    if ":" in task:
        load_function(task, f"verifier: task {task!r}")
        return decide_function
    if task not in TASKS:
        raise ConfigError(f"verifier: no task {task!r}; {did_you_mean(task, TASKS)} (your own function: 'pkg.mod:fn')")
    if task == "numeric":
        return partial(decide_numeric, relative=relative, absolute=absolute)
    if task == "math":
        return partial(decide_math, accept_unevaluated=accept_unevaluated)
    return decide_choice if task == "choice" else decide_exact


_WRAPPER = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}|\$([^$]*)\$|\*\*([^*]*)\*\*")
_OPTION = re.compile(r"\A(?:option|choice)\s+", re.IGNORECASE)
_ONE = r"\(?([A-Za-z])\)?"
_NAMED = re.compile(r"(?:\(([A-Za-z])\)|([A-Z])[.):])\s+\S.*", re.DOTALL)
_PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}")
_BESIDE = re.compile(r"\(([A-J])\)|(?<![A-Za-z])([A-J])[.:)](?=[\s$]|\Z)|(?i:option|choice)\s+\**([A-J])\b")
_LEAD = re.compile(r"\A\s*(?:so|thus|hence|therefore|then)\b[,:]?\s+(?=[\w$(\\-])", re.IGNORECASE)
_BETWEEN = re.compile(r"\b[A-J]\)?\s*+(?:(?:,\s*+)?\b(?i:and|or)\b|[,/&])\s*+\(?[A-J]\b")
_ANSWER_IS = re.compile(
    r"(?i:answer|\b(?:correct|right|best)\s+(?:option|choice))\**\s*(?:(?i:is)\b|[:=])[\s*$:]*"
    r"(?:(?i:option|choice)\s+)?(?:\\\w+\{)?\(?([A-Z])(?![A-Za-z'])"
)


def _letter_beside(line: str) -> str | None:
    r"""The one letter that a box's line names: `(B) \boxed{24}`, `B: \boxed{24}`, `option B`."""
    named = {next(filter(None, match)) for match in _BESIDE.findall(line)}
    return named.pop() if len(named) == 1 and not _BETWEEN.search(line) else None


def _is_bare_choice(text: str) -> bool:
    """Whether an unmarked response is choices and what they stand for, and says nothing about them."""
    return _is_short(text) and not (HEDGES - {"and", "or"}).intersection(re.findall(r"[a-z']+", text.lower()))


def bare_text(text: str) -> str:
    r"""A text without white space and marks around it, and white space within it only single.

    >>> bare_text(r" $\textbf{(B)}$. ")
    '(B)'
    """
    text = " ".join(text.split()).removesuffix(".")
    while match := _WRAPPER.fullmatch(text):
        text = next(group for group in match.groups() if group is not None).strip()
    return text


def letters(text: str) -> frozenset[str] | None:
    """The choices a text names, as capital letters; None where it names none.

    >>> letters("b"), letters("(B) Paris"), letters("Paris"), sorted(letters("(B) Paris or (C) London"))
    (frozenset({'B'}), frozenset({'B'}), None, ['B', 'C'])
    """
    text = _OPTION.sub("", bare_text(text))
    if match := _NAMED.fullmatch(text):
        letter = match[1] or match[2]
        return frozenset([letter.upper(), *other_choices(letter, text[match.end(match.lastindex or 0) :])])
    named = [re.fullmatch(_ONE, piece) for piece in re.split(r" ?(?:,? ?\b(?:and|or)\b|[,;&/]) ?", text)]
    return frozenset(match[1].upper() for match in named if match) if all(named) else None


def _compared(judge: str, equal: bool, extracted: str | None) -> Decision:
    if equal:
        return Decision(Verdict.CORRECT, judge, "equal", extracted)
    return Decision(Verdict.WRONG, judge, "not_equal", extracted)


def _gold_unparsable(judge: str, gold: str, found: Found) -> Decision:
    return Decision(Verdict.UNKNOWN, judge, f"gold_unparsable: {gold[:100]!a}", found.text)
