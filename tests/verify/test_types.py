r"""What the types say: pairs by hand, formulas as sympy prints them, and what a policy would try.

`pairs.jsonl` has right and wrong answers by gold answer; one that begins with `!` is a whole response, any other stands
in a box.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from answers import formulas, number_pairs, respelt, sums
from leanthink.verify import Verdict, Verifier, type_of
from leanthink.verify.equality import compare_trees
from leanthink.verify.grammar import parse
from leanthink.verify.judge import judge
from leanthink.verify.symbolic import prove
from leanthink.verify.typed import told_by_types

ROWS = [json.loads(line) for line in (Path(__file__).with_name("pairs.jsonl")).read_text().splitlines()]


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(workers=1, deadline=60) as verifier:
        yield verifier


def said(answer: str) -> str:
    return answer[1:] if answer.startswith("!") else rf"\boxed{{{answer}}}"


@pytest.mark.parametrize("kind", ["cases", "aligned", "split"])
def test_a_system_of_nothing_is_no_answer(kind: str) -> None:
    told = told_by_types("3", rf"\begin{{{kind}}}\end{{{kind}}}")
    assert (told.verdict, told.reason) == ("wrong", "unparsable")


def test_what_nests_too_deep_has_no_type() -> None:
    assert type_of("Q: " * 600) == "unreadable: nested too deep"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["gold"])
def test_pairs(verifier: Verifier, row: dict[str, Any]) -> None:
    for kind, verdict in (("right", Verdict.CORRECT), ("wrong", Verdict.WRONG)):
        judged = verifier.check_many([(row["gold"], said(answer)) for answer in row[kind]])
        odd = [(answer, one.code) for answer, one in zip(row[kind], judged, strict=True) if one.verdict is not verdict]
        assert not odd, (row["gold"], kind)


def verdict_of(gold: str, answer: str) -> str:
    """The types' verdict on equality alone, with the proof that they may ask for."""
    told = told_by_types(gold, answer, accept_unevaluated=True)
    return prove(told.pairs)[0] if told.reason == "proof" else told.verdict


def grown(draw: random.Random, depth: int) -> sympy.Expr:
    """A formula as answers have them."""
    x, y, t, r = sympy.symbols("x y t r_0", positive=True)
    if depth == 0:
        numbers = [sympy.Integer(draw.randint(1, 12)), sympy.Rational(draw.randint(1, 9), draw.randint(2, 9))]
        return draw.choice([x, y, t, r, sympy.pi, sympy.sqrt(draw.randint(2, 7)), *numbers])
    one, other = grown(draw, depth - 1), grown(draw, draw.randint(0, depth - 1))
    function = draw.choice([sympy.sin, sympy.cos, sympy.tan, sympy.exp])
    return draw.choice(
        [one + other, one - other, one * other, one / (other**2 + 1), one ** draw.choice([2, 3, -1]), function(one)]
    )


@pytest.mark.parametrize("seed", range(60))
def test_what_sympy_prints_is_read(seed: int) -> None:
    draw = random.Random(seed)
    formula = grown(draw, draw.randint(1, 3))
    while formula.has(sympy.zoo, sympy.nan, sympy.I):
        formula = grown(draw, 2)
    printed = [
        sympy.latex(formula),
        str(formula),
        sympy.latex(sympy.expand(formula)),
        sympy.latex(sympy.together(formula)),
    ]
    printed += [sympy.latex(formula, mul_symbol="dot"), sympy.latex(formula, ln_notation=True)]
    gold = draw.choice(printed)
    for answer in printed:
        assert verdict_of(gold, answer) == "correct", (gold, answer)
    for other in (formula + 1, formula * 2, formula + sympy.Symbol("y") ** 2, -formula):
        if sympy.simplify(other - formula) != 0:
            assert verdict_of(gold, sympy.latex(other)) == "wrong", (gold, other)


@st.composite
def calculations(draw: st.DrawFn) -> tuple[str, int]:
    """Something to calculate, and its value."""
    one, other = draw(st.integers(2, 60)), draw(st.integers(2, 60))
    times = draw(st.sampled_from([r"\cdot", r"\times", "*", "\u00d7", r"\ast"]))
    ways = [
        (f"{one} {times} {other}", one * other),
        (f"{one}({other})", one * other),
        (f"({one})({other})", one * other),
        (f"{one} + {other}", one + other),
        (f"{one + other} - {other}", one),
        (f"{one}^2", one**2),
        (f"{one}^{{{other % 5 + 2}}}", one ** (other % 5 + 2)),
        (rf"\sqrt{{{one**2}}}", one),
        (rf"\frac{{{one * other} + {other}}}{{{other}}}", one + 1),
        (rf"\sum_{{k=1}}^{{{one}}} k", one * (one + 1) // 2),
        (rf"\prod_{{k=1}}^{{3}} (k + {one})", (one + 1) * (one + 2) * (one + 3)),
        (rf"\log_{{2}} {2 ** (one % 20 + 1)}", one % 20 + 1),
        (rf"\gcd({one * 6}, {one * 35})", one),
        (rf"\binom{{{one}}}{{2}}", one * (one - 1) // 2),
        (rf"\lfloor {one}.7 \rfloor", one),
        (rf"|{one} - {one + other}|", other),
        (f"{one % 7 + 2}!", sympy.factorial(one % 7 + 2)),
        (rf"{one} \bmod {one + other}", one),
        (rf"\int_0^{{{one}}} 2x\,dx", one**2),
        (rf"\lim_{{x \to {one}}} x", one),
        (rf"\max({one}, {one + other})", one + other),
        (rf"{one} \cdot 1 + 0", one),
        (rf"{one} \sin 90^\circ", one),
        (rf"\operatorname{{lcm}}({one}, 1)", one),
    ]
    text, value = draw(st.sampled_from(ways))
    dressed = draw(
        st.sampled_from(["%s", "$%s$", r"\displaystyle %s", r"\left(%s\right)", "x = %s", r"\color{red}{%s}", "%s."])
    )
    return dressed.replace("%s", text), int(value)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(calculation=calculations())
def test_what_is_left_to_calculate_is_no_answer(calculation: tuple[str, int]) -> None:
    text, value = calculation
    with Verifier() as verifier:
        judgement = verifier.check(str(value), rf"\boxed{{{text}}}")
        assert judgement.verdict is Verdict.WRONG, judgement
        assert verifier.worker_pids == ()
        copied = verifier.check(str(value), rf"\boxed{{{text}}}", problem=f"What is ${text}$?")
        assert copied.verdict is Verdict.WRONG


def test_a_copy_of_the_problem_is_no_answer() -> None:
    problem = (
        r"Express $0.375$ as a fraction, expand $(x+5)(x-3)$ or simplify $\sqrt{242}$; is \(x = 3\) less than $5$?"
    )
    with Verifier(workers=1, deadline=60) as verifier:
        pairs = [(r"\frac{3}{8}", "0.375"), ("x^2+2x-15", "(x+5)(x-3)"), (r"11\sqrt2", r"\sqrt{242}")]
        for gold, copy in pairs:
            told = [verifier.check(gold, rf"\boxed{{{answer}}}", problem=problem).code for answer in (copy, gold)]
            assert told == ["wrong/echo", "correct/equal"], gold
            assert verifier.check(gold, rf"\boxed{{{copy}}}").correct == 1
        for gold, copy in (("3:4:5", "6:8:10"), ("2:3", "12:18")):
            told = [
                verifier.check(gold, rf"\boxed{{{answer}}}", problem=f"Simplify the ratio {copy}.").code
                for answer in (copy, gold, copy.replace("8", "7"))
            ]
            assert told == ["wrong/echo", "correct/equal", "wrong/not_equal"], gold
        assert verifier.check("9:05 am", r"\boxed{9:05 AM}", problem="At $9:05 AM$ or at $10:15$?").correct == 1
        assert verifier.check("5", r"\boxed{5}", problem=problem).correct == 1
        assert verifier.check("3", r"\boxed{x = 3}", problem=problem).correct == 1
        assert verifier.check("3", "The answer is $3$.", problem=problem).correct == 1
    with Verifier(workers=1, deadline=60, unevaluated="accept") as verifier:
        assert verifier.check("x^2+2x-15", r"\boxed{(x+5)(x-3)}", problem=problem).correct == 1
        assert verifier.check("437", r"\boxed{19 \cdot 23}").correct == 1


BESIDE = (
    "is wrong", "is not the answer", "or so", "or 6", "million", "thousand", "dozen", "squared", "plus one",
    "minus one", "more than x", "if n is even", "otherwise", "percent less", "halves", "times ten", "at least",
    "and a half", "mod 7", "but maybe not", "to 10", "negative", "factorial", "degrees or radians", "I think",
    "unless x = 2",
)  # fmt: skip


@pytest.mark.parametrize("gold", ["5", "5.5", r"\frac{5}{2}", "x", "5 cm", r"2\pi", "(5, 6)"])
def test_words_behind_a_value_are_not_dropped(gold: str) -> None:
    with Verifier() as verifier:
        for words in BESIDE:
            for answer in (rf"{gold} \text{{ {words}}}", rf"{gold}\text{{ ({words})}}", rf"\text{{{gold} {words}}}"):
                assert verifier.check(gold, rf"\boxed{{{answer}}}").verdict is Verdict.WRONG, answer
        assert verifier.worker_pids == ()


GOLDS = (
    "437", r"\frac{3}{7}", "0.25", "x^2+1", r"2\sqrt{3}", r"2\pi", "3+4i", "(1, 2)", "[0, 1)", "1, 2",
    r"\text{east}", "B", "18 dollars", r"30^\circ", r"50\%", "y = 2x + 1", "x > 3",
    r"(-\infty, 1) \cup (3, \infty)", "4:30 p.m.", "12:30", "3:4:5", "2023-05-01", "52_8", "60 km/h",
    r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"n \text{ even}",
)  # fmt: skip
CHANGED = (
    "@ t", "@'", r"@\text{ million}", "@_7", "7 @", r"\text{not }@", r"@\text{ or }7", r"@ \text{ wrong}", "-(@)-1",
    "(@)^3+1", r"@ \pm 1", r"@ \cup \{7919\}", "@, 7919", "(@, 7919)", "@ = 7919", "7919 = @", r"@ \ne 7919",
    "@ > 7919", r"@ \approx 7919", "@ + 9^{9^9}", r"@ \cdot (9^{9^9})", r"@\text{ dozen}", "@ and 7919", "@; 7919",
    "@ + 0.001", r"@ \text{ if } x>0", "@ + 10^{-9}", "@ or not", r"\{@, 7919\}", r"@\text{ minus }1", "@ (maybe)",
    "about @ or so", r"@\text{ hours and }5\text{ minutes}", r"@ \cdot 1000", r"@\%\text{ of it}", "@?",
    r"@ \to 7919", "@-7919", r"@ \text{ to } 7919", "@ | 7919", r"\lfloor @ \rfloor + 7919", r"@ \text{ cm or in}",
    "x^{@} + 7919",
)  # fmt: skip


@pytest.mark.parametrize("gold", GOLDS)
def test_a_changed_answer_is_wrong(gold: str) -> None:
    with Verifier(workers=1, deadline=60) as verifier:
        assert verifier.check(gold, rf"\boxed{{{gold}}}").correct == 1
        for change in CHANGED:
            if (gold, change) == ("B", "@ t"):
                continue  # a choice with what it stands for
            judgement = verifier.check(gold, rf"\boxed{{{change.replace('@', gold)}}}")
            assert judgement.verdict is Verdict.WRONG, (change, judgement)
        assert len(verifier.worker_pids) <= (gold == r"2\sqrt{3}")  # 10^{-9} more than a root takes a proof


HEDGES = (
    "The final answer is {} or {}.", "final answer is either {} or {}", "<answer>{} or {}</answer>", "#### {} or {}",
    "<answer>either {} or {}</answer>", "It is {} or maybe {}.", "Final Answer: {}, or possibly {}", "{} or {}",
    "The answer is {}, or perhaps {}.", "<answer>{}, {}</answer>", "<answer>${}$ or ${}$</answer>",
    r"$\boxed{{{}}}$ or $\boxed{{{}}}$", r"\boxed{{{}}}, \boxed{{{}}}", r"\boxed{{{} \text{{ or }} {}}}",
)  # fmt: skip


@pytest.mark.parametrize("form", HEDGES)
def test_a_hedge_is_no_answer(form: str) -> None:
    with Verifier() as verifier:
        for one, other in (("4", "5"), ("12", "-12"), ("0.5", "2"), ("100", "250")):
            for response in (form.format(one, other), form.format(other, one)):
                assert verifier.check(one, response).verdict is Verdict.WRONG, response


either = st.one_of(
    number_pairs(),
    st.one_of(sums, formulas).flatmap(lambda text: st.tuples(st.just(text), respelt(text))),
    st.tuples(sums, sums),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(pair=either.filter(lambda pair: len(pair[0] + pair[1]) < 80))
def test_the_types_and_the_judge_agree(pair: tuple[str, str]) -> None:
    """Where both read the pair. The judge reads nothing where a letter stands alone behind a space (`12t+ d`)."""
    gold, answer = pair
    verdict, reason, _ = judge(gold, answer, "boxed")
    if verdict == "unknown" or reason.startswith(("not_equal_text", "unparsable")) or "," in gold + answer:
        return
    ours = verdict_of(gold, answer)
    assert ours in (verdict, "ask", "unknown") or cannot_tell(gold, answer), (gold, answer, verdict, ours)


def cannot_tell(gold: str, answer: str) -> bool:
    """Whether the judge, which reads every letter in lower case, and `i` in some, cannot tell."""
    return bool(re.search("[A-Z]|i", gold + answer)) or any(len(text.split(".")[-1]) > 6 for text in (gold, answer))


def test_why_nothing_is_read() -> None:
    assert type_of("7 0") == "unreadable: two numbers side by side"
    assert type_of("x" * 3000) == "unreadable: too long"
    assert type_of("(" * 60 + "1" + ")" * 60) == "unreadable: nested too deep"


@pytest.mark.parametrize(("gold", "answer", "equal"), [(8130, "0.000123", True), (83333, "0.000012", False)])
def test_a_rounded_decimal_shows_three_digits_at_least(gold: int, answer: str, equal: bool) -> None:
    assert compare_trees(parse(rf"\frac{{1}}{{{gold}}}"), parse(answer)).equal is equal
