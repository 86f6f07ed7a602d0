r"""Whether an answer is as far evaluated as the gold answer, and whether it is the problem's own text.

The shortest answer to many problems is the problem, and rewards of length lead there. So a plain number wants a number;
other gold answers allow what stands in them: a root, a power, a logarithm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from leanthink.verify.arithmetic import TooLarge, exact
from leanthink.verify.clean import clean
from leanthink.verify.equality import PLACES, places
from leanthink.verify.formulas import formulas_in
from leanthink.verify.reading import read
from leanthink.verify.relations import labelled, rounded_value
from leanthink.verify.tokens import Unreadable
from leanthink.verify.trees import HYPERBOLIC, INVERSE, TRIG, Tree, has, letters_of
from leanthink.verify.values import (
    Choice,
    Formula,
    Items,
    Matrix,
    Quantity,
    Ratio,
    Relation,
    Text,
    Time,
    Tuple,
    Union,
    Value,
)

_FAMILIES: Final = {
    **dict.fromkeys(TRIG, "trigonometric"),
    **dict.fromkeys(INVERSE, "inverse trigonometric"),
    **dict.fromkeys((*HYPERBOLIC, "cis"), "exponential"),
    **dict.fromkeys(("ln", "log", "lg"), "logarithm"),
}


def unevaluated(gold: Value, answer: Value) -> bool:
    r"""Whether an answer leaves undone what the gold answer does.

    >>> unevaluated(read("437"), read(r"19 \cdot 23")), unevaluated(read("437"), read(r"\frac{874}{2}"))
    (True, False)
    >>> unevaluated(read(r"2\sqrt{2}"), read(r"\sqrt{8}")), unevaluated(read("(x-1)(x+1)"), read("x^2-1"))
    (False, True)
    """
    if isinstance(gold, Choice):
        if (
            gold.value is None
            or isinstance(answer, Choice)
            or (isinstance(answer, Formula) and answer.tree[0] == "sym")
        ):
            return False
        gold = gold.value
    if isinstance(gold, Formula) and gold.base:
        return False
    golds, answers = list(trees_of(gold)), list(trees_of(answer))
    if not golds or not answers:
        return False
    allowed = frozenset[str]().union(*(_features(tree) for tree in golds))
    plain = all(_literal(tree) and places(tree) < PLACES for tree in golds)  # a longer decimal may be a rounded root
    numbers = not any(letters_of(tree) for tree in golds)
    for tree in answers:
        if plain and not _literal(tree):
            return True
        left = _features(tree) - allowed
        if numbers and not letters_of(tree):
            if left:
                return True
        elif any(one.startswith("operation") for one in left):
            return True
    return len(golds) == len(answers) == 1 and _factors(golds[0]) > 1 >= _factors(answers[0])


def trees_of(value: Value) -> Iterator[Tree]:
    """The formulas that a value is made of; of an equation for something the last side."""
    if isinstance(value, Formula):
        yield value.tree
    elif isinstance(value, Quantity):
        yield from (number.tree for number, _ in value.parts)
    elif isinstance(value, Ratio):
        yield from value.terms
    elif isinstance(value, Choice):
        if value.value is not None:
            yield from trees_of(value.value)
    elif isinstance(value, Items | Tuple | Union):
        for part in value.parts:
            yield from trees_of(part)
    elif isinstance(value, Relation):
        if (side := rounded_value(value) or labelled(value)) is not None:
            yield from trees_of(side)
        elif set(value.signs) <= {"=", "\\equiv", "\\approx"}:
            yield ("add", *(tree for side in value.sides for tree in trees_of(side)))
        else:
            yield from (tree for side in value.sides for tree in trees_of(side) if tree[0] != "sym")
    elif isinstance(value, Matrix):
        for row in value.rows:
            yield from row


@lru_cache(maxsize=4096)
def _literal(tree: Tree) -> bool:
    r"""A number as it is written: whole, decimal, fraction of whole numbers, mixed, `2.5 \cdot 10^{-3}`, infinity."""
    head, *parts = tree
    if head in ("num", "mixed", "oo"):
        return True
    if head == "neg":
        return _literal(parts[0])
    if head == "div":
        return all(part[0] == "num" or (part[0] == "neg" and part[1][0] == "num") for part in parts)
    if head == "mul" and len(parts) == 2:
        return parts[0][0] == "num" and _power_of_ten(parts[1])
    return _power_of_ten(tree)


def _power_of_ten(tree: Tree) -> bool:
    if tree[0] != "pow" or tree[1][:2] != ("num", 10):
        return False
    exponent = tree[2][1] if tree[2][0] == "neg" else tree[2]
    return bool(exponent[0] == "num" and exponent[1].denominator == 1 and exponent[1] <= 400)


@lru_cache(maxsize=4096)
def _features(tree: Tree) -> frozenset[str]:
    """What is left to do in a formula, each by a name."""
    if _literal(tree):
        return frozenset()
    head, *parts = tree
    found: set[str] = set()
    if head == "fn":
        found.add(f"operation {_FAMILIES.get(parts[0], parts[0])}" if not parts[0].endswith("()") else "call")
        parts = parts[1:]
    elif head in ("fact", "big"):
        found.add(f"operation {head} {parts[0] if head == 'big' else ''}")
    elif head == "pow" and parts[0] == ("e",):
        found.add("operation exponential")
    if not letters_of(tree):
        found |= _undone(tree)
    for part in parts:
        if isinstance(part, tuple):
            found |= _features(part)
    if "operation exponential" in found and head == "pow":
        found.discard("power")
    return frozenset(found)


def _undone(tree: Tree) -> set[str]:
    """What arithmetic one node of a number leaves undone."""
    head, *parts = tree
    found: set[str] = set()
    if head == "add":
        rests = [_irrational_part(part) for part in parts]
        if len(set(rests)) < len(rests):
            found.add("a sum of like terms")
        if any(part[0] in ("mul", "div", "neg") and _has_sum(part) for part in parts):
            found.add("a bracket in a sum")
    elif head == "mul":
        factors = [part for part in parts if _rational(part)]
        if len(factors) > 1:
            found.add("a product of numbers")
        if sum(_sums(part) for part in parts) > 1:
            found.add("a product of sums")
    elif head == "div":
        if _rational(tree):
            found.add("a quotient")
        if has(parts[1], "add") and not _rational(parts[1]):
            found.add("a sum below a fraction")
    elif head == "pow":
        if (_rational(parts[0]) or parts[0] in (("i",), ("neg", ("i",)))) and _whole(parts[1]):
            found.add("a power")
        if _sums(tree) > 1:
            found.add("a product of sums")
    elif head == "root" and _rational(tree):
        found.add("a root")
    return found


def _irrational_part(tree: Tree) -> Tree:
    """A term without its rational factors."""
    head, *parts = tree
    if _rational(tree):
        return ("1",)
    if head == "neg":
        return _irrational_part(parts[0])
    if head == "div" and _rational(parts[1]):
        return _irrational_part(parts[0])
    if head == "mul":
        rest = [_irrational_part(part) for part in parts if not _rational(part)]
        return rest[0] if len(rest) == 1 else ("mul", *rest)
    return tree


def _rational(tree: Tree) -> bool:
    try:
        return exact(tree) is not None
    except TooLarge:
        return not (has(tree, "root") or has(tree, "pi") or has(tree, "e") or has(tree, "i") or has(tree, "fn"))


def _whole(tree: Tree) -> bool:
    try:
        value = exact(tree)
    except TooLarge:
        return True
    return value is not None and value.denominator == 1


def _has_sum(tree: Tree) -> bool:
    head, *parts = tree
    return head == "add" or (head in ("mul", "div", "neg") and any(_has_sum(part) for part in parts))


def _sums(tree: Tree) -> int:
    """How many sums are multiplied: 2 for a square of one."""
    if tree[0] == "add":
        return 1
    if tree[0] == "pow" and _sums(tree[1]):
        return 2 if _whole(tree[2]) else 1
    return sum(_sums(part) for part in tree[1:]) if tree[0] == "mul" else 0


def _factors(tree: Tree) -> int:
    """Factors with letters, where a sum is one of them: what makes a formula a factored one."""
    head, *parts = tree
    if head == "neg":
        return _factors(parts[0])
    if not has(tree, "add") or head not in ("mul", "pow") or has(tree, "fn") or has(tree, "div"):
        return 1
    if head == "pow":
        return 2 if parts[0][0] == "add" and letters_of(parts[0]) and _whole(parts[1]) else 1
    sums = sum(_factors(part) for part in parts if part[0] in ("add", "pow", "mul") and has(part, "add"))
    letters = any(part[0] in ("sym", "pow") and letters_of(part) and not has(part, "add") for part in parts)
    one_letter = len(letters_of(tree)) == 1
    return sums + (1 if letters and one_letter and sums else 0)


_DOLLARS = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.DOTALL)


def is_echo(gold: str, answer: str, problem: str) -> bool:
    r"""Whether an answer stands in the problem, unchanged, and is not the gold answer's own text.

    >>> is_echo("437", r"19\cdot 23", r"What is $19 \cdot 23$?"), is_echo("5", "5", "Which is larger, $3$ or $5$?")
    (True, False)
    """
    given = compact(answer)
    if not given or given == compact(gold):
        return False
    found, plain = _formulas(problem)
    if given not in found and not _stands_in(given, plain) and not _ratio_in(given, problem):
        return False
    try:
        wanted, read_as = read(gold), read(answer)
    except Unreadable:
        return True
    if isinstance(read_as, Text | Choice) or (isinstance(read_as, Time) and isinstance(wanted, Time)):
        return False
    return _bare(wanted) != _bare(read_as)


def compact(text: str) -> str:
    """A text as it is compared with another: clean, without spaces and braces that change nothing."""
    text = clean(text)
    text = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"(?<=[\^_])\{([-+*\w']|\\[A-Za-z]+)\}", r"\1", text)
    text = re.sub(r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\(?:cdot|times)(?![A-Za-z])", "*", text)
    return re.sub(r"(?<![0-9]) | (?![0-9])|\\[,!]", "", text)


@lru_cache(maxsize=1024)
def _formulas(problem: str) -> tuple[frozenset[str], str]:
    """The formulas of a problem, each side of an equation among them, and all of it as one compact text."""
    found: set[str] = set()
    for inner, _, _ in formulas_in(problem, _DOLLARS):
        whole = compact(inner)
        found.add(whole)
        found.update(re.split(r"=|\\le(?![a-z])|\\ge(?![a-z])|[<>]", whole))
    return frozenset(found), compact(problem)[:100_000]


def _stands_in(given: str, plain: str) -> bool:
    """A piece of the problem's text that leaves something to do, and that nothing continues on either side."""
    if not re.search(r"[-+*/^!]|\\[a-z]", given[1:]) or len(given) < 3:
        return False
    start = plain.find(given)
    while start >= 0:
        before, after = plain[max(start - 1, 0) : start], plain[start + len(given) :][:1]
        if not re.match(r"[\w\\^_+*/-]", before or " ") and not re.match(r"[\w^_+*/!-]", after or " "):
            return True
        start = plain.find(given, start + 1)
    return False


def _ratio_in(given: str, problem: str) -> bool:
    """Whether an answer like `6:8:10` is a ratio that the problem's text has."""
    if len(given) > 100 or not re.fullmatch(r"\d+(?::\d+)+", given):
        return False
    written = r"\s*:\s*".join(given.split(":"))
    return re.search(rf"(?<![\d:.]){written}(?!\d|\s*:\s*\d)", problem[:100_000]) is not None


def _bare(value: Value) -> object:
    """A value without what may be left out: its label, its unit, its braces."""
    if isinstance(value, Relation) and set(value.signs) <= {"=", "\\equiv"}:
        return _bare(value.sides[-1])
    if isinstance(value, Quantity) and len(value.parts) == 1:
        return _bare(value.parts[0][0])
    if isinstance(value, Formula):
        return _number_written(value.tree)
    if isinstance(value, Items | Union):
        return frozenset(_bare(part) for part in value.parts)
    return value


def _number_written(tree: Tree) -> Tree:
    r"""`5` and `5.0` are written alike, `0.5` and `\frac{1}{2}` are not."""
    if tree[0] == "num":
        return ("num", tree[1])
    if tree[0] == "neg":
        return ("neg", _number_written(tree[1]))
    return tree
