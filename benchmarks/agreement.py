r"""Who is right: gold answers rewritten in ten equal and ten different forms each, judged by us and by math-verify.

    python benchmarks/agreement.py FILE... [--out disagreements.jsonl]

Each FILE is JSONL with `answer` (or `gold`), as GSM8K's and MATH's test sets have it. Truth is by construction: a form
is equal or different whatever any judge says. Printed is every form in which one of the two judges errs, with counts
and an example; `--out` takes every single case. Equality alone is asked for (`unevaluated="accept"`); then, by default,
the forms in which something is left to calculate (`17 + 1` for 18) have to be wrong, too.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from leanthink.verify import Verifier
from leanthink.verify.numbers import plain_number

FORMS = 10


class Case(NamedTuple):
    """One rewritten gold answer, and whether it is still right."""

    gold: str
    answer: str
    form: str
    equal: bool

    @property
    def evaluated(self) -> bool:
        """Whether nothing is left to calculate."""
        return self.form not in LEFT_UNDONE


LEFT_UNDONE = (
    "a sum", "a product", "plus 0", "plus 1 minus 1", "1 times", "twice its half", "twice less once", "minus minus",
    "first plus 0", "first twice its half", "first plus 1 minus 1",
)  # fmt: skip


def main() -> int:
    """Print the report."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("files", nargs="+", type=Path)
    options.add_argument("--out", type=Path, help="JSONL of all disagreements")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--deadline", type=float, default=20.0)
    args = options.parse_args()
    logging.disable(logging.CRITICAL)
    out = args.out.open("w", encoding="utf-8") if args.out else None
    for path in args.files:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        golds = list(dict.fromkeys(str(row.get("answer", row.get("gold"))) for row in rows))
        cases = [case for gold in golds for case in rewritten(gold)]
        pairs = [(case.gold, rf"\boxed{{{case.answer}}}") for case in cases]
        with Verifier(workers=args.workers, deadline=args.deadline, unevaluated="accept") as verifier:
            ours = [str(judgement.verdict) for judgement in verifier.check_many(pairs)]
        with Verifier(workers=args.workers, deadline=args.deadline, repair=(), shortcuts=False) as verifier:
            theirs = [str(judgement.verdict) for judgement in verifier.check_many(pairs)]
        with Verifier(workers=args.workers, deadline=args.deadline) as verifier:
            strict = [str(judgement.verdict) for judgement in verifier.check_many(pairs)]
        report(path.name, golds, cases, ours, theirs)
        undone = [verdict for case, verdict in zip(cases, strict, strict=True) if case.equal and not case.evaluated]
        others = [
            verdict == truth(case)
            for case, verdict in zip(cases, strict, strict=True)
            if case.evaluated or not case.equal
        ]
        print(
            f"  by default: {sum(others)} of {len(others)} evaluated or different forms right; of {len(undone)} with "
            f"something left to calculate {undone.count('wrong')} are wrong"
        )
        if out:
            for case, mine, plain in zip(cases, ours, theirs, strict=True):
                if not (mine == plain == truth(case)):
                    verdicts = {"truth": truth(case), "leanthink": mine, "math-verify": plain}
                    out.write(json.dumps({"file": path.name, **case._asdict(), **verdicts}) + "\n")
    return 0


def truth(case: Case) -> str:
    """The verdict that is right."""
    return "correct" if case.equal else "wrong"


def report(name: str, golds: Sequence[str], cases: Sequence[Case], ours: Sequence[str], theirs: Sequence[str]) -> None:
    """Agreement with the truth, then the forms in which somebody errs."""
    equal = sum(case.equal for case in cases)
    print(f"\n{name}: {len(golds)} gold answers, {equal} equal and {len(cases) - equal} different forms")
    for who, verdicts in (("leanthink", ours), ("math-verify, no repairs", theirs)):
        told = Counter((truth(case), verdict) for case, verdict in zip(cases, verdicts, strict=True))
        right = told["correct", "correct"] + told["wrong", "wrong"]
        print(
            f"  {who:24} right {right} of {len(cases)}; false correct {told['wrong', 'correct']}, "
            f"false wrong {told['correct', 'wrong']}, unknown {sum(n for (_, v), n in told.items() if v == 'unknown')}"
        )
    erring: dict[tuple[str, str, str, str], list[Case]] = {}
    for case, mine, plain in zip(cases, ours, theirs, strict=True):
        if not (mine == plain == truth(case)):
            erring.setdefault((case.form, truth(case), mine, plain), []).append(case)
    if erring:
        print(f"  {'form':34} {'truth':8} {'leanthink':10} {'math-verify':12} cases, first")
    for (form, right, mine, plain), found in sorted(erring.items(), key=lambda item: -len(item[1])):
        first = f"{found[0].gold!r} / {found[0].answer!r}"
        print(f"  {form:34} {right:8} {mine:10} {plain:12} {len(found):>5}  {first[:110]}")


def rewritten(gold: str) -> Iterator[Case]:
    """Ten equal and ten different forms, or as many as there are for such a gold answer."""
    equal, different = _forms(gold)
    for is_equal, forms in ((True, equal), (False, different)):
        seen: set[str] = set()
        for form, answer in forms:
            if answer not in seen and len(seen) < FORMS:
                seen.add(answer)
                yield Case(gold, answer, form, is_equal)


Forms = list[tuple[str, str]]


def _forms(gold: str) -> tuple[Forms, Forms]:
    plain = re.sub(r"\\[,!;]\s*|\\\$|\$", "", gold).strip()
    angle = plain.removesuffix(r"^\circ")
    number = plain_number(angle)
    if number is not None:
        return _number(number.value, angle, gold, "dollars" if angle == plain else "degrees")
    if word := re.fullmatch(r"\\text\{\(?([A-Za-z]+)\)?\}", plain):
        return _word(word[1], gold)
    inner = re.sub(r"\\left|\\right", "", plain).strip()
    if re.fullmatch(r"[(\[].*[)\]]", inner) and "cup" not in inner and len(_split(inner[1:-1])) > 1:
        return _tuple(inner[0], _split(inner[1:-1]), inner[-1], gold)
    if len(_split(inner)) > 1 and "matrix" not in inner and not inner.startswith("\\{"):
        return _list(_split(inner), gold)
    if re.search(r"=|\\in\b|\\cup|matrix|\\\{|\\pm|\\infty|_|\\text|\\mbox", inner):
        return _spellings(gold), _wrong_anyhow(gold)
    return _expression(inner, gold)


def _spellings(gold: str) -> Forms:
    """Forms that change only how a text is written."""
    sized = gold
    if r"\left" not in gold:
        sized = re.sub(r"(?<!\\)([)\]])", r"\\right\1", re.sub(r"(?<!\\)([(\[])", r"\\left\1", gold))
    return [
        ("as it is", gold),
        ("in dollars", f"${gold}$"),
        ("other fractions", re.sub(r"\\[dt]?frac", r"\\dfrac", gold)),
        ("sides sized", sized),
        ("sides plain", re.sub(r"\\left|\\right", "", gold)),
        ("display style", rf"\displaystyle {gold}"),
        ("full stop", f"{gold}."),
        ("spaces around operators", re.sub(r"(?<=[\w)}])([-+=])(?=[\w(\\])", r" \1 ", gold)),
        ("no spaces around operators", re.sub(r" *([-+=]) *", r"\1", gold)),
        ("thin space in front", rf"\,{gold}"),
        ("new line", f"\n{gold}\n"),
        ("braces around", f"{{{gold}}}"),
    ]


def _wrong_anyhow(gold: str) -> Forms:
    """Forms that no answer of several numbers or symbols is equal to."""
    return [
        ("another number", "7919"),
        ("another fraction", r"\frac{7919}{7907}"),
        ("another symbol", "w"),
        ("another formula", r"w^5 + 7919\pi"),
        ("another pair", "(7919, 7907)"),
        ("another list", "7919, 7907, 7901"),
        ("a word", r"\text{none}"),
        ("nothing", r"\emptyset"),
        ("another equation", "w = 7919v"),
        ("with another beside", f"{gold}, 7919"),
    ]


def _number(value: Fraction, text: str, gold: str, unit: str) -> tuple[Forms, Forms]:
    over, under = value.numerator, value.denominator
    exact = _fraction(value)
    whole, rest = divmod(abs(over), under)
    places = next((places for places in range(1, 7) if 10**places % under == 0), None)
    grouped = under == 1 and abs(over) >= 1000
    mixed = rf"{'-' * (over < 0)}{whole}\frac{{{rest}}}{{{under}}}"
    half = _fraction(abs(value) / 2)
    equal = [
        ("as it is", gold),
        ("decimal" if places else "quotient", f"{float(value):.{places}f}" if places else f"{over}/{under}"),
        ("thousands" if grouped else "in dollars", f"{over:,}" if grouped else f"${text}$"),
        ("fraction not reduced", rf"\frac{{{3 * over}}}{{{3 * under}}}"),
        ("mixed number", mixed) if whole and rest else ("quotient not reduced", f"{2 * over} / {2 * under}"),
        ("a sum", f"{_fraction(value - 1)} + 1"),
        ("a product", rf"{'-' * (over < 0)}2 \cdot {half}"),
        ("an equation", f"x = {exact}"),
        ("with a unit", rf"{exact} \text{{ {unit}}}"),
        ("in parentheses", rf"\left({exact}\right)"),
        ("full stop", f"{exact}."),
    ]
    other = value + Fraction(1, 7)
    different = [
        ("one more", _fraction(value + 1)),
        ("a seventh more", _fraction(other)),
        ("other sign", _fraction(-value)) if value else ("one less", "-1"),
        ("ten times", _fraction(10 * value)) if value else ("ten", "10"),
        ("a hundredth more", f"{float(value) + 0.01:.2f}" if value.denominator == 1 else f"{float(value) + 0.01:.4f}"),
        ("times pi", rf"{exact}\pi") if value else ("pi", r"\pi"),
        ("times x", f"{exact}x") if value else ("x", "x"),
        ("two answers", f"{exact}, {_fraction(value + 1)}"),
        ("a range", f"({exact}, {_fraction(value + 1)})"),
        ("square root of two more", rf"{exact} + \sqrt{{2}}"),
        ("a millionth more", f"{exact} + 10^{{-6}}"),
    ]
    return equal, different


def _fraction(value: Fraction) -> str:
    sign = "-" if value < 0 else ""
    value = abs(value)
    return f"{sign}{value}" if value.denominator == 1 else rf"{sign}\frac{{{value.numerator}}}{{{value.denominator}}}"


def _word(word: str, gold: str) -> tuple[Forms, Forms]:
    other = "north" if word.lower() != "north" else "south"
    forms = (
        r"\text{%s}",
        "%s",
        r"\textbf{%s}",
        r"\mathrm{%s}",
        r"\text{(%s)}",
        r"$\text{%s}$",
        r"\text{ %s}",
        "%s.",
        r"\mathbf{%s}",
        r"\text{%s }",
    )
    equal = [(form, form % word) for form in forms]
    if len(word) == 1:
        other = chr(ord(word) + 1)
    different = [(f"another word: {form}", form % other) for form in forms]
    return equal, different


def _expression(text: str, gold: str) -> tuple[Forms, Forms]:
    equal = [
        *_spellings(gold)[:3],
        ("plus 0", f"{text} + 0"),
        ("plus 1 minus 1", f"{text} + 1 - 1"),
        ("1 times", rf"1 \cdot ({text})"),
        ("twice its half", rf"\frac{{2({text})}}{{2}}"),
        ("twice less once", f"2({text}) - ({text})"),
        ("minus minus", f"-(-({text}))"),
        ("in parentheses", rf"\left({text}\right)"),
        *_spellings(gold)[6:9],
    ]
    different = [
        ("one more", f"{text} + 1"),
        ("twice", f"2({text})"),
        ("other sign", f"-({text})"),
        ("a third", rf"\frac{{{text}}}{{3}}"),
        ("plus pi", rf"{text} + \pi"),
        ("a thousandth more", f"{text} + 0.001"),
        ("plus w", f"{text} + w"),
        ("times w", f"w({text})"),
        ("two answers", f"{text}, 7919"),
        ("another number", "7919"),
    ]
    return equal, different


def _tuple(left: str, parts: list[str], right: str, gold: str) -> tuple[Forms, Forms]:
    def joined(parts: Sequence[str], separator: str = ", ") -> str:
        return left + separator.join(parts) + right

    first, *others = parts
    finite = "infty" not in first
    equal = [
        *_spellings(gold)[:5],
        ("spaced", joined(parts)),
        ("not spaced", joined(parts, ",")),
        ("first plus 0", joined([f"{first} + 0" if finite else first, *others])),
        ("first twice its half", joined([rf"\frac{{2({first})}}{{2}}" if finite else first, *others])),
        ("first plus 1 minus 1", joined([f"{first} + 1 - 1" if finite else first, *others])),
        *_spellings(gold)[6:],
    ]
    bump = joined([f"{first} + 1", *others]) if finite else joined(["-7919", *others])
    different = [
        ("first one more", bump),
        ("last one less", joined([*parts[:-1], f"{parts[-1]} - 1" if "infty" not in parts[-1] else "7919"])),
        ("one left out", joined(others) if len(others) > 1 else others[0]),
        ("one too many", joined([*parts, "7919"])),
        ("first other", joined(["-7919", *others])),
        ("last other", joined([*parts[:-1], "7919"])),
        *_wrong_anyhow(gold),
    ]
    if parts[0] != parts[-1]:
        different.insert(2, ("order", joined(parts[::-1])))
    return equal, different


def _list(parts: list[str], gold: str) -> tuple[Forms, Forms]:
    first, *others = parts
    equal = [
        ("as it is", gold),
        ("other order", ", ".join(reversed(parts))),
        ("not spaced", ",".join(parts)),
        ("as a set", rf"\{{{', '.join(parts)}\}}"),
        ("with and", rf"{', '.join(parts[:-1])} \text{{ and }} {parts[-1]}"),
        ("in dollars", f"${gold}$"),
        ("first plus 0", ", ".join([f"{first} + 0", *others])),
        ("first twice its half", ", ".join([rf"\frac{{2({first})}}{{2}}", *others])),
        *_spellings(gold)[6:],
    ]
    different = [
        ("first one more", ", ".join([f"{first} + 1", *others])),
        ("one left out", ", ".join(others)),
        ("one too many", ", ".join([*parts, "7919"])),
        ("first other", ", ".join(["7919", *others])),
        *_wrong_anyhow(gold)[:-1],
    ]
    return equal, different


def _split(text: str) -> list[str]:
    """The parts between commas that stand in no brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


if __name__ == "__main__":
    sys.exit(main())
