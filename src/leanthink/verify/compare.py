r"""When two typed values are equal: the rules that docs/reference/verifier.md states, type by type.

Where a rule needs two formulas to be equal, `leanthink.verify.equality` tells, or leaves the proof to the judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from leanthink.verify.arithmetic import TooLarge, exact
from leanthink.verify.equality import DIFFERENT, EQUAL, UNREASONABLE, Outcome, all_of, compare_trees
from leanthink.verify.ratios import fields
from leanthink.verify.relations import as_set, labelled, relations, rounded_value
from leanthink.verify.trees import Tree, num
from leanthink.verify.values import (
    Choice,
    Date,
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

UNIT_DIFFERS: Final = Outcome(False, "unit_differs")
TEXT_DIFFERS: Final = Outcome(False, "text_differs")
MOST_PARTS: Final = 40  # of a list that are compared in any order


def compare(gold: Value, answer: Value) -> Outcome:
    r"""Whether an answer is equal to the gold answer.

    >>> from leanthink.verify.reading import read
    >>> compare(read("18"), read("18 dollars")).equal, compare(read("5"), read(r"5\text{ million}")).equal
    (True, False)
    >>> compare(read("[3, \\infty)"), read("x \\ge 3")).equal, compare(read("10 cm"), read("10 m")).reason
    (True, 'unit_differs')
    """
    if gold == answer:
        return EQUAL
    if isinstance(gold, Choice) or isinstance(answer, Choice):
        return _choices(gold, answer)
    if isinstance(gold, Text) or isinstance(answer, Text):
        return _texts(gold, answer)
    if isinstance(gold, Relation) or isinstance(answer, Relation):
        return _related(gold, answer)
    if isinstance(gold, Union) or isinstance(answer, Union):
        return _unions(gold, answer)
    if isinstance(gold, Items) or isinstance(answer, Items):
        return _items(gold, answer)
    if isinstance(gold, Tuple) or isinstance(answer, Tuple):
        return _tuples(gold, answer)
    if isinstance(gold, Time | Date | Ratio) or isinstance(answer, Time | Date | Ratio):
        return fields(gold, answer)
    if isinstance(gold, Matrix) or isinstance(answer, Matrix):
        return _matrices(gold, answer)
    if isinstance(gold, Quantity) or isinstance(answer, Quantity):
        return _quantities(gold, answer)
    assert isinstance(gold, Formula) and isinstance(answer, Formula)
    return _formulas(gold, answer)


def _formulas(gold: Formula, answer: Formula) -> Outcome:
    if gold.base or answer.base:
        return _in_bases(gold, answer)
    if gold.percent or answer.percent:
        return _percentages(gold, answer)
    if gold.modulus is not None and answer.modulus is not None:
        return _residues(gold, answer)
    return compare_trees(gold.tree, answer.tree)


def _in_bases(gold: Formula, answer: Formula) -> Outcome:
    """Digits in a base: the same where both name one; the gold answer's base may be left out, none may be added."""
    if gold.base and answer.base:
        if gold.base != answer.base and gold.tree == answer.tree:
            return Outcome(False, "unevaluated")  # in another base: the task, not the answer
        return EQUAL if gold.tree == answer.tree else DIFFERENT
    if gold.base:
        written = exact(answer.tree) if answer.number else None
        said = "".join(str(part[1]) for part in answer.tree[1:]) if answer.tree[0] == "mul" else str(written)
        same = said == gold.digits
        return EQUAL if same else DIFFERENT
    return compare_trees(gold.tree, answer.tree) if answer.base == 10 else DIFFERENT


def _percentages(gold: Formula, answer: Formula) -> Outcome:
    r"""`50\%` is 50 and 0.5; but a bare number below 1 is a share: 0.5 is not `0.5\%`."""
    if gold.percent and answer.percent:
        return compare_trees(gold.tree, answer.tree)
    share = ("div", (gold if gold.percent else answer).tree, num(100))
    as_share = compare_trees(share, answer.tree) if gold.percent else compare_trees(gold.tree, share)
    if as_share.equal:
        return as_share
    if answer.percent:
        try:
            size = exact(answer.tree)
        except TooLarge:
            return UNREASONABLE
        if size is None or abs(size) < 1:
            return as_share
    return compare_trees(gold.tree, answer.tree)


def _residues(gold: Formula, answer: Formula) -> Outcome:
    assert gold.modulus is not None and answer.modulus is not None
    if (same := compare_trees(gold.modulus, answer.modulus)).equal is not True:
        return same
    try:
        wanted, given, modulus = exact(gold.tree), exact(answer.tree), exact(gold.modulus)
    except TooLarge:
        return UNREASONABLE
    if wanted is not None and given is not None and modulus:
        return EQUAL if (wanted - given) % modulus == 0 else DIFFERENT
    return compare_trees(gold.tree, answer.tree)


def _quantities(gold: Value, answer: Value) -> Outcome:
    """Numbers and units are equal; a unit may be left out, or added to a bare number, but not be another."""
    wanted, given = _with_units(gold), _with_units(answer)
    if wanted is None or given is None:
        return DIFFERENT
    if len(wanted) != len(given):
        return UNIT_DIFFERS
    if len(wanted) > 1 and any(one[1] == "" for one in (*wanted, *given)):
        return UNIT_DIFFERS
    for (number, unit), (other, other_unit) in zip(wanted, given, strict=True):
        if unit and other_unit and not _same_unit(unit, other_unit):
            return UNIT_DIFFERS
        if (number.percent and not other.percent and other_unit) or (other.percent and unit):
            return UNIT_DIFFERS
    return all_of(_formulas(one, other) for (one, _), (other, _) in zip(wanted, given, strict=True))


def _with_units(value: Value) -> Sequence[tuple[Formula, str]] | None:
    if isinstance(value, Formula):
        return ((value, ""),)
    return value.parts if isinstance(value, Quantity) else None


def _same_unit(one: str, other: str) -> bool:
    """The same unit, or the same thing counted: `eggs` and `white eggs`."""
    if one == other:
        return True
    if one.startswith("#") and other.startswith("#"):
        return _noun(one) == _noun(other)
    return False


def _noun(name: str) -> str:
    last = name.lstrip("#").split(" of ")[0].split(" per ")[0].split()[-1]
    return last.removesuffix("s") if len(last) > 3 else last


def _choices(gold: Value, answer: Value) -> Outcome:
    r"""By letter, by what the letter stands for, or by both, which then must agree."""
    wanted, given = _as_choice(gold), _as_choice(answer)
    if wanted is not None and given is not None:
        if wanted.letters != given.letters:
            return DIFFERENT
        if wanted.value is not None and given.value is not None:
            return compare(wanted.value, given.value)
        return EQUAL
    if wanted is not None:
        return compare(wanted.value, answer) if wanted.value is not None else DIFFERENT
    assert given is not None
    return compare(gold, given.value) if given.value is not None else DIFFERENT


def _as_choice(value: Value) -> Choice | None:
    if isinstance(value, Choice):
        return value
    if isinstance(value, Formula) and value.tree[0] == "sym" and len(value.tree[1]) == 1:
        letter = value.tree[1]
        return Choice(frozenset(letter)) if "A" <= letter <= "J" else None
    return None


def _texts(gold: Value, answer: Value) -> Outcome:
    """The same words, in whatever case; a text is equal to nothing else, unless a label stands before it."""
    if isinstance(answer, Relation) and (side := labelled(answer)) is not None and not isinstance(gold, Relation):
        return compare(gold, side)
    if isinstance(gold, Text) and isinstance(answer, Text) and _said(gold) == _said(answer):
        return EQUAL
    return TEXT_DIFFERS


def _said(text: Text) -> str:
    return text.words.replace("-", " ").replace(" ", "") if "-" in text.words else text.words


def _items(gold: Value, answer: Value) -> Outcome:
    """The same values in any order; a single value is a list of one."""
    wanted, given = _parts_of(gold), _parts_of(answer)
    if wanted is None or given is None or len(wanted) != len(given) or len(wanted) > MOST_PARTS:
        return DIFFERENT
    if isinstance(gold, Items) and isinstance(answer, Items) and _joined_otherwise(gold, answer):
        return DIFFERENT
    if isinstance(gold, Items) and isinstance(answer, Tuple):
        if (named := _by_name(gold)) is not None and (answer.left, answer.right) == ("(", ")"):
            return all_of(map(compare, named, given))
        if gold.braces or (answer.left, answer.right) != ("(", ")"):
            return DIFFERENT
        return all_of(map(compare, wanted, given))
    if isinstance(gold, Tuple) and isinstance(answer, Items):
        if (named := _by_name(answer)) is not None and (gold.left, gold.right) == ("(", ")"):
            return all_of(map(compare, wanted, named))
        if answer.braces or answer.word == "or" or (gold.left, gold.right) != ("(", ")"):
            return DIFFERENT
        return all_of(map(compare, wanted, given))
    return _in_any_order(wanted, given)


def _by_name(items: Items) -> list[Value] | None:
    """The values of `x = 2, y = 3` in the order of their letters; None where they have none."""
    named: dict[str, Value] = {}
    for part in items.parts:
        if not isinstance(part, Relation) or (side := labelled(part)) is None:
            return None
        first = part.sides[0]
        if not isinstance(first, Formula) or first.tree[0] != "sym" or first.tree[1] in named:
            return None
        named[first.tree[1]] = side
    return [named[name] for name in sorted(named)]


def _joined_otherwise(gold: Items, answer: Items) -> bool:
    """Inequalities between which "and" stands are not those between which "or" does."""
    return {gold.word, answer.word} == {"and", "or"} and any(
        isinstance(part, Relation) and labelled(part) is None for part in gold.parts
    )


def _parts_of(value: Value) -> Sequence[Value] | None:
    if isinstance(value, Items | Tuple):
        return value.parts
    return (value,)


def _in_any_order(wanted: Sequence[Value], given: Sequence[Value]) -> Outcome:
    """A partner for every value: proven ones first, then those that the judge has to prove."""
    rest = list(given)
    outcomes, failure = [], DIFFERENT
    for value in wanted:
        found = [(place, compare(value, other)) for place, other in enumerate(rest)]
        match = next((one for one in found if one[1].equal), None) or next(
            (one for one in found if one[1].equal is None), None
        )
        if match is None:
            failure = next((outcome for _, outcome in found if outcome.reason == "unreasonable"), failure)
            return failure
        outcomes.append(match[1])
        del rest[match[0]]
    return all_of(outcomes)


def _tuples(gold: Value, answer: Value) -> Outcome:
    """The same values in the same order between the same brackets; a column or a row of a matrix is a vector."""
    if isinstance(gold, Matrix) or isinstance(answer, Matrix):
        return _vectors(gold, answer)
    if not (isinstance(gold, Tuple) and isinstance(answer, Tuple)):
        return DIFFERENT
    brackets = [(one.left.replace("\\langle", "("), one.right.replace("\\rangle", ")")) for one in (gold, answer)]
    if brackets[0] != brackets[1] or len(gold.parts) != len(answer.parts):
        return DIFFERENT
    return all_of(map(compare, gold.parts, answer.parts))


def _vectors(gold: Value, answer: Value) -> Outcome:
    sides = []
    for value in (gold, answer):
        if isinstance(value, Tuple) and value.left != "[":
            trees = [part.tree for part in value.parts if isinstance(part, Formula)]
            if len(trees) == len(value.parts):
                sides.append(trees)
        elif isinstance(value, Matrix) and 1 in (len(value.rows), len(value.rows[0])):
            sides.append([cell for row in _cells(value) for cell in row])
    if len(sides) < 2 or len(sides[0]) != len(sides[1]):
        return DIFFERENT
    return all_of(map(compare_trees, *sides))


def _matrices(gold: Value, answer: Value) -> Outcome:
    """The same shape and the same values, a number in front multiplied in."""
    if not (isinstance(gold, Matrix) and isinstance(answer, Matrix)):
        return DIFFERENT
    rows, others = _cells(gold), _cells(answer)
    if [len(row) for row in rows] != [len(row) for row in others]:
        return DIFFERENT
    return all_of(
        compare_trees(one, other)
        for row, other_row in zip(rows, others, strict=True)
        for one, other in zip(row, other_row, strict=True)
    )


def _cells(matrix: Matrix) -> list[list[Tree]]:
    if matrix.factor is None:
        return [list(row) for row in matrix.rows]
    return [[("mul", matrix.factor, cell) for cell in row] for row in matrix.rows]


def _unions(gold: Value, answer: Value) -> Outcome:
    """The same intervals and sets, in any order."""
    if isinstance(gold, Items):
        gold = as_set(gold) or gold
    if isinstance(answer, Items):
        answer = as_set(answer) or answer
    if not (isinstance(gold, Union) and isinstance(answer, Union)) or len(gold.parts) != len(answer.parts):
        return DIFFERENT
    return _in_any_order(gold.parts, answer.parts)


def _related(gold: Value, answer: Value) -> Outcome:
    """A label before a value may be left out or added; inequalities are the sets of what they allow."""
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        return relations(gold, answer, compare)
    relation, other = (gold, answer) if isinstance(gold, Relation) else (answer, gold)
    assert isinstance(relation, Relation)
    if (side := labelled(relation)) is not None:
        told = compare(side, other) if relation is gold else compare(other, side)
        if told.equal is False and relation is answer and (rounded := rounded_value(relation)) is not None:
            return compare(other, rounded)
        return told
    if (allowed := as_set(relation)) is not None and isinstance(other, Tuple | Union | Items):
        if isinstance(other, Items) and not other.braces and (as_other := as_set(other)) is not None:
            other = as_other
        return compare(allowed, other) if relation is gold else compare(other, allowed)
    if isinstance(other, Items) and len(other.parts) == 1:
        return compare(relation, other.parts[0]) if relation is gold else compare(other.parts[0], relation)
    return DIFFERENT
