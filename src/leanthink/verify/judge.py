r"""The judge: math-verify with its known faults repaired, and what else a worker may be asked to decide.

This file imports the standard library, math-verify and sympy, never `leanthink`: `worker.py` loads it by its path.

math-verify reads and compares; what is known to go wrong in it is repaired, each repair by its name in `repair`:

- `percent`: under antlr 4.9.3 no boxed percentage parses. `\%`, `%`, "percent" at the end are read apart, and the value
  equals, by math-verify's own rule, both the bare number and the fraction (50% = 50 = 0.5); other percent signs go.
- `thousands`: `10\,000`, `10\ 000`, `10~000` and `10 000` are one number, not the product 10 · 000 = 0.
- `exponent`: `1.5e-3` is a number, not a product with Euler's e.
- `imaginary`: `5i` is read like `5 i`; otherwise only one of the two has a complex unit, and they differ.
- `bases`: `123_5` and `123_6` are compared by value; otherwise the base is dropped.
- `units`: `10 cm` is not `10 m`; otherwise units are dropped. A letter glued to the gold answer, as in `4t`, may be a
  unit or a variable: an answer that is right with the unit only, as `4`, is unknown, reason `ambiguous_unit`.
- `rounding`: 1/2004! is not 1/2006!; otherwise whatever is closer than 1e-6 or so is equal. Exact numbers must agree to
  20 digits, and with a decimal among them to a thousandth of their size, which only matters below 0.001.

Always: full-width characters (`５`) become ASCII, for the grammar knows ASCII digits only, and a full stop at the end
goes, for `5.` does not parse.

Reasons: `equal`; `not_equal`, `not_equal_text` (the gold answer is no mathematics, so both were compared as text: where
there are many, look at the data), `unit_differs`, `unparsable` (the answer is no mathematics, or parsing it fails),
`unmarked` (an unmarked text in which nothing is found); `gold_unparsable` (not even text), `ambiguous_unit`,
`undecided` (the user's function returned None), `judge_error`, `memory`. math-verify calls a pair unequal when memory
or stack gave out; here that is unknown. Other errors of sympy that it swallows stay hidden, those it lets out are
`judge_error`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, NamedTuple

REPAIRS = ("percent", "thousands", "exponent", "imaginary", "bases", "units", "rounding")

Answer = tuple[str, str, str | None]  # verdict, reason, the answer as text

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_PERCENT_END = re.compile(r"\s*(?:\\?%|\\text\s*\{\s*percent\s*\}|(?<=[\d\s}])percent)\s*\Z")
_THIN_SPACE = re.compile(r"(?<=\d)\\[,;:!]\s*(?=\d{3}(?!\d))")
_SPACED_NUMBER = re.compile(r"([-+]?[1-9]\d{0,2})((?:(?:\\ |~|\s)\d{3})+)(\.\d+)?")
_EXPONENT = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))[eE]([-+]?\d{1,4})")
_IMAGINARY = re.compile(r"(?<=\d)i(?![A-Za-z])")
_BASE = re.compile(r"(-?[0-9A-Za-z]+)_\{?(\d+)\}?")
_GLUED = re.compile(r"[0-9}]([tchslgmdo])\Z")  # letters that math-verify takes for units
_UNIT = re.compile(
    r"(?:\\(?:text|mbox|mathrm|textrm)\s*\{([A-Za-z ]+)\}|(?<=[\d\s}])([A-Za-z]+))\s*(?:\^\s*\{?([23])\}?)?\s*\Z"
)
_UNIT_NAMES = """
    mm millimeter millimetre | cm centimeter centimetre | m meter metre | km kilometer kilometre
    in inch inche | ft foot feet | yd yard | mi mile
    mg milligram | g gram | kg kilogram | oz ounce | lb pound
    ml milliliter millilitre | l liter litre | gal gallon
    s sec second | min minute | h hr hour | day | week | month | yr year
    cent | dollar | deg degree | rad radian
"""
_UNITS = {name: names.split()[0] for names in re.split(r"[|\n]", _UNIT_NAMES) for name in names.split()}
_POWERS = {"square": "2", "sq": "2", "cubic": "3", "cu": "3"}


def normalise(text: str, repair: Collection[str] = REPAIRS) -> tuple[str, bool]:
    r"""The text as the grammar can read it, and whether it was a percentage.

    >>> normalise(r"50\%")
    ('50', True)
    >>> normalise(r"10\,000."), normalise("1.5e-3")
    (('10000', False), ('1.5\\cdot 10^{-3}', False))
    >>> normalise(r"10\%, 20\%, 70")
    ('10, 20, 70', False)
    """
    text = text.translate(_FULL_WIDTH).strip().removesuffix(".")
    percent = False
    if "percent" in repair:
        whole, found = _PERCENT_END.subn("", text)
        percent = bool(found) and "%" not in whole
        text = whole.replace("\\%", "").replace("%", "")
    if "thousands" in repair:
        text = _THIN_SPACE.sub("", text)
        if match := _SPACED_NUMBER.fullmatch(text):
            text = match[1] + re.sub(r"\D", "", match[2]) + (match[3] or "")
    if "exponent" in repair and (match := _EXPONENT.fullmatch(text)):
        text = rf"{match[1]}\cdot 10^{{{int(match[2])}}}"
    if "imaginary" in repair:
        text = _IMAGINARY.sub(" i", text)
    return text, percent


def judge(gold: str, answer: str, form: str, repair: Collection[str] = REPAIRS) -> Answer:
    r"""Verdict, reason and the answer as text, for one gold answer and one extracted answer of some form.

    >>> judge("\\frac{1}{2}", "0.5", "boxed")
    ('correct', 'equal', '0.5')
    >>> judge("3", "{3", "boxed")
    ('wrong', 'unparsable', '{3')
    >>> judge("18", "She makes 18 dollars a day.", "search")
    ('correct', 'equal', '18')
    """
    repair = frozenset(repair)
    if form == "boxed" and "bases" in repair and (equal := _equal_in_bases(gold, answer)) is not None:
        return ("correct", "equal", answer) if equal else ("wrong", "not_equal", answer)
    judged = _compare(gold, answer, form, repair)
    if form != "boxed" or "units" not in repair:
        return judged
    if judged[0] == "correct" and _units_differ(gold, answer):
        return "wrong", "unit_differs", answer
    wanted, given = (text.strip().rstrip("$.") for text in (gold, answer))
    if glued := _GLUED.search(wanted):
        kept = f"({given})" if re.search(rf"[0-9}}\s]{glued[1]}\Z", given) else answer
        as_variable = _compare(f"({wanted})", kept, form, repair)
        if as_variable[0] == "correct":
            return as_variable[0], as_variable[1], answer
        if judged[0] == "correct":
            return "unknown", f"ambiguous_unit: {glued[1]} in {gold[:100]!a}", answer
    return judged


def _compare(gold: str, answer: str, form: str, repair: frozenset[str]) -> Answer:
    equal = _engine()
    golds, answers = _parsed_gold(gold, repair), _parsed(_PARSERS[form], answer, repair)
    if form == "search":
        answer = answers.text
    failure = ""
    _exhausted.clear()
    for expected in golds.values:
        for given in answers.values:
            try:
                if equal(expected, given, "rounding" in repair):
                    return "correct", "equal", answer
            except MemoryError:
                raise
            except Exception as error:
                failure = _told(error)
    if MemoryError in _exhausted:
        raise MemoryError
    if golds.too_deep or answers.too_deep or _exhausted:
        return "unknown", "judge_error: nested too deep for the judge", answer
    if not golds.values:
        return "unknown", f"gold_unparsable: {gold[:100]!a}{golds.error}", answer
    if form == "search" and not answers.values and not answers.error:
        return "wrong", "unmarked", None
    if all(isinstance(expected, str) for expected in golds.values):
        return "wrong", "not_equal_text", answer
    if all(isinstance(given, str) for given in answers.values):
        return "wrong", f"unparsable{answers.error}", answer
    if failure:
        return "unknown", f"judge_error: {failure}", answer
    return "wrong", "not_equal", answer


def judge_number(gold: str, answer: str, form: str, tolerances: tuple[float, float]) -> Answer:
    r"""Like `judge`, but numbers within the relative or the absolute tolerance of the gold answer are equal.

    >>> judge_number(r"\sqrt{2}", "1.414", "boxed", (1e-3, 0.0))
    ('correct', 'equal', '1.414')
    """
    _engine()
    repair = frozenset(REPAIRS)
    golds = [value for found in _parsed_gold(gold, repair).values for value in _values(found)]
    answers = _parsed(_PARSERS[form], answer, repair)
    if form == "search":
        answer = answers.text
    given = [value for found in answers.values for value in _values(found)]
    if not golds:
        return "unknown", f"gold_unparsable: {gold[:100]!a}", answer
    if answers.too_deep:
        return "unknown", "judge_error: nested too deep for the judge", answer
    if not given:
        unmarked = form == "search" and not answers.values
        return ("wrong", "unmarked", None) if unmarked else ("wrong", "unparsable", answer)
    relative, absolute = tolerances
    equal = any(abs(one - other) <= max(relative * abs(one), absolute) for one in golds for other in given)
    return ("correct", "equal", answer) if equal else ("wrong", "not_equal", answer)


def judge_function(function: Callable[[str, str], Any], gold: str, answer: str) -> Answer:
    """The verdict of a user's function: true, false, or None where it cannot tell.

    >>> judge_function(str.startswith, "42 apples", "42")
    ('correct', 'accepted', '42')
    """
    told = function(gold, answer)
    if told is None:
        return "unknown", "undecided", answer
    if told not in (0, 1):  # True and False among them
        return "unknown", f"judge_error: the function returned {told!r:.100}; give true, false or None", answer
    return ("correct", "accepted", answer) if told else ("wrong", "rejected", answer)


def _values(found: Any) -> list[complex]:
    """The numbers a parsed answer can stand for; a percentage is both its number and its fraction."""
    from math_verify.grader import get_pct_val
    from sympy import Eq

    if isinstance(found, str):
        return []
    if isinstance(found, Eq):
        found = found.rhs
    values = []
    for reading in (found, get_pct_val(found, found)):
        try:
            values.append(complex(reading.doit().evalf()))
        except (AttributeError, TypeError, ValueError):
            continue
    return [value for value in values if value == value]


def _equal_in_bases(gold: str, answer: str) -> bool | None:
    """Whether two numbers that both name their base have one value; None where they are no such numbers."""
    values = []
    for text in (gold, answer):
        match = _BASE.fullmatch(text.strip().strip("$").removesuffix("."))
        try:
            values.append(int(match[1], int(match[2])) if match else None)
        except ValueError:
            return None
    return None if None in values else values[0] == values[1]


def _units_differ(gold: str, answer: str) -> bool:
    """Whether both end in a unit of measurement, and not in the same."""
    units = [_unit(text) for text in (gold, answer)]
    return None not in units and units[0] != units[1]


def _unit(text: str) -> str | None:
    match = _UNIT.search(text.strip().rstrip("$."))
    if match is None:
        return None
    *before, word = (match[1] or match[2]).lower().split() or [""]
    power = match[3] or ""
    if before and before[-1] in _POWERS:
        power = _POWERS[before.pop()]
    unit = _UNITS.get(word) or _UNITS.get(word.removesuffix("s"))
    return None if before or unit is None else unit + power


class _Parsed(NamedTuple):
    """What a parser found, the error that stopped it, and whether the stack gave out."""

    values: list[Any]
    error: str = ""
    too_deep: bool = False

    @property
    def text(self) -> str:
        """What was found, as text; parsers put it last."""
        return next((found for found in reversed(self.values) if isinstance(found, str)), "")


def _parsed(parser: Callable[..., list[Any]], text: str, repair: frozenset[str]) -> _Parsed:
    _exhausted.clear()
    try:
        values = parser(text, repair)
    except MemoryError:
        raise
    except Exception as error:
        return _Parsed([], f": {_told(error)}", isinstance(error, RecursionError))
    if MemoryError in _exhausted:
        raise MemoryError
    return _Parsed(values, too_deep=bool(_exhausted))


@lru_cache(maxsize=4096)
def _parsed_gold(gold: str, repair: frozenset[str]) -> _Parsed:
    return _parsed(_parse_maths, gold, repair)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _parse_maths(text: str, repair: frozenset[str]) -> list[Any]:
    """Bare mathematics: parsed, then as text. Its numbers are not picked out of what does not parse."""
    from math_verify import LatexExtractionConfig, parse

    text, percent = normalise(text, repair)
    boxed = f"\\boxed{{{text}}}"
    parsed: list[Any] = parse(boxed, [LatexExtractionConfig()], parsing_timeout=None, raise_on_error=True)
    if percent:
        from latex2sympy2_extended.latex2sympy2 import convert_to_pct
        from sympy import Number

        parsed = [convert_to_pct(value) if isinstance(value, Number) else value for value in parsed]
    return parsed


def _parse_search(text: str, repair: frozenset[str]) -> list[Any]:
    """What math-verify finds in running text."""
    from math_verify import parse

    found: list[Any] = parse(text.translate(_FULL_WIDTH), parsing_timeout=None, raise_on_error=True)
    return found


def _parse_text(text: str, repair: frozenset[str]) -> list[Any]:
    """What math-verify finds in a marked sentence, once the sentence says so in its words."""
    return _parse_search(f"The final answer is {text}", repair)


_PARSERS = {"boxed": _parse_maths, "text": _parse_text, "search": _parse_search}


_exhausted: list[type[Exception]] = []  # memory or stack that math-verify ran out of, and swallowed the error


def _noting(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose shortage of memory or stack is noted before somebody turns it into "not equal"."""

    def noting(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except (MemoryError, RecursionError) as error:
            _exhausted.append(type(error))
            raise

    return noting


@lru_cache(maxsize=1)
def _engine() -> Callable[[Any, Any, bool], bool]:
    """math-verify's `verify` for one pair, with a switch: whether nearness has to be in proportion.

    math-verify compares numbers in one function, whatever tuple or set they stand in, so the repair stands there, too.
    """
    from math_verify import grader, parser, verify

    numeric_eq = grader.sympy_numeric_eq
    in_proportion = False

    def near_eq(one: Any, other: Any, *digits: int) -> bool:
        return numeric_eq(one, other, *digits) and (not in_proportion or _near(one, other))

    def equal(expected: Any, given: Any, rounding: bool) -> bool:
        nonlocal in_proportion
        in_proportion = rounding
        try:
            return bool(verify(expected, given, timeout_seconds=None, raise_on_error=True))
        finally:
            in_proportion = False

    grader.sympy_numeric_eq = near_eq
    for module, name in ((parser, "latex2sympy"), (parser, "parse_expr"), (grader, "simplify"), (grader, "solve")):
        setattr(module, name, _noting(getattr(module, name)))
    return equal


def _near(one: Any, other: Any) -> bool:
    """Whether two numbers that math-verify calls equal are so in proportion to their size; other things are."""
    from math_verify.grader import get_pct_val
    from sympy import Float

    try:
        if one.free_symbols or other.free_symbols or get_pct_val(one) or get_pct_val(other):
            return True
        tolerance = 1.001e-3 if one.has(Float) or other.has(Float) else 1e-20
        size = max(abs(one.evalf(30)), abs(other.evalf(30)))
        return bool(abs((one - other).evalf(30)) <= tolerance * size)
    except (AttributeError, TypeError, ValueError, ArithmeticError):  # matrices, infinities and the like
        return True
