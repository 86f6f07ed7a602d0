r"""Answers as hypothesis strategies: numbers in many spellings, formulas, letters, junk; and answers that do harm."""

from __future__ import annotations

import re
from fractions import Fraction

from hypothesis import strategies as st


def _grouped(number: int, separator: str) -> str:
    return re.sub(r"(?<=\d)(?=(?:\d{3})+$)", lambda _: separator, str(number))


@st.composite
def spelt(draw: st.DrawFn, value: Fraction) -> str:
    """A number, written in one of the ways in which answers write numbers; a decimal may be rounded."""
    sign = "-" if value < 0 else draw(st.sampled_from(["", "", "", "+"]))
    size, times = abs(value), draw(st.integers(1, 4))
    over, under = size.numerator * times, size.denominator * times
    whole, rest = divmod(over, under)
    places = draw(st.integers(1, 8))
    digits = str(round(size * 10**places)).rjust(places + 1, "0")
    decimal = f"{digits[:-places]}.{digits[-places:]}"
    frac = draw(st.sampled_from([r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"]))
    ways = [
        f"{sign}{frac}{{{over}}}{{{under}}}",
        f"{frac}{{{sign}{over}}}{{{under}}}",
        f"{sign}{over}/{under}",
        f"{sign}{decimal}",
        f"{sign}{decimal.lstrip('0')}",
        f"{sign}{whole}{draw(st.sampled_from(['', ' ']))}{frac}{{{rest}}}{{{under}}}",
    ]
    if over < 10:
        ways.append(f"{sign}{frac}{over}{under}")
    if size.denominator == 1:
        separator = draw(st.sampled_from([",", "{,}", r"\!", r",\!"]))
        ways += [
            f"{sign}{size}",
            f"{sign}{size}",
            f"{sign}{'0' * draw(st.integers(0, 3))}{size}",
            f"{sign}{_grouped(int(size), separator)}",
            f"{sign}{_grouped(int(size), ',')}.{'0' * places}",
        ]
    dressed = draw(st.sampled_from(["%s", "%s", "%s", "$%s$", r"\$%s", "%s.", " %s "]))
    return str(dressed % draw(st.sampled_from(ways)))


values = st.one_of(
    st.integers(-30, 30).map(Fraction),
    st.integers(-(10**14), 10**14).map(Fraction),
    st.fractions(-30, 30, max_denominator=20),
    st.builds(Fraction, st.integers(-(10**6), 10**6), st.sampled_from([10**places for places in range(9)])),
    st.fractions(-10_000, 10_000, max_denominator=10_000),
)
nudges = st.builds(Fraction, st.integers(-5, 5), st.sampled_from([10**places for places in range(3, 10)]))


@st.composite
def number_pairs(draw: st.DrawFn) -> tuple[str, str]:
    """Two spellings of one number, of two that are nearly the same, or of any two."""
    value = draw(values)
    other = draw(st.one_of(st.just(value), nudges.map(lambda nudge: value + nudge), st.just(-value), values))
    return draw(spelt(value)), draw(spelt(other))


atoms = st.one_of(
    st.integers(0, 20).map(str),
    st.sampled_from(list("abdeikmnstxyzAI")),
    st.sampled_from([r"\pi", r"\frac12", r"\sqrt2", r"\infty", "3.5", "1,000", r"\text{ cm}", r"\text{east}", "x^2"]),
)


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def join(pattern: str) -> st.SearchStrategy[str]:
        return st.tuples(inner, inner).map(lambda pair: pattern.replace("A", pair[0]).replace("B", pair[1]))

    patterns = [
        "A+B", "A - B", "A=B", "AB", "A B", r"A \cdot B", "A^{B}", "(A,B)", "A,B", r"\left(A, B\right]", "-A",
        "A/B", r"\frac{A}{B}", r"\sqrt{A}", r"\{A, B\}", r"(A)", r"A \pm B", "A_{B}", r"\log_{A} B",
    ]  # fmt: skip
    return st.one_of([join(pattern) for pattern in patterns])


formulas = st.recursive(atoms, _grow, max_leaves=6)

_factor = st.sampled_from(["x", "t", "c", "y", "i", "e", "d", r"\pi", r"\sqrt{3}", r"\sqrt {5}", "x^2", "t^{12}", ""])
_term = st.tuples(st.sampled_from(["", "3", "12", "3 ", "12 "]), _factor).map("".join).filter(str.strip)
_operator = st.sampled_from(["+", "-", " + ", " - ", "=", " = ", "+ ", " -"])
sums = st.lists(st.tuples(_operator, _term), min_size=1, max_size=4).map(
    lambda terms: "".join("".join(term) for term in terms).lstrip("+= ")
)

TOKENS = (
    *"0123456789abcdehkmnstxyzAEI+-*/=^(){}[],.;|<>!_%$~\"'&", " ", " ", "  ", "\\", "\n", "\t", "\x00", "°", "é",
    *(r"\ ", r"\,", r"\!", r"\\", r"\%", r"\$", r"\{", r"\}", r"\frac", r"\dfrac", r"\pi", r"\cdot", "\uff15"),
    *(r"\left(", r"\right)", r"\left", r"\right", r"\left[", r"\right]", r"\text{", r"\mathrm{", r"\mbox{", r"\infty"),
    *(r"^\circ", r"\pm", r"\cup", r"\in", r"\le", r"\ldots", r"\displaystyle", r"\log", r"\sin", r"\sum", r"\boxed{"),
    *(r"\begin{pmatrix}", r"\end{pmatrix}", " cm", " m", "percent", " and ", " or ", "sqrt", "inf", r"\text{ cm}"),
    *(r"\frac{1}{2}", r"\frac12", "x^2", "10", "3.5", "1,000", "10{,}000", "{1}", "a_1", "f(x)", "th", "</think>"),
)  # fmt: skip
junk = st.lists(st.sampled_from(TOKENS), min_size=1, max_size=8).map("".join)
texts = st.one_of(formulas, sums, junk)


@st.composite
def respelt(draw: st.DrawFn, text: str) -> str:
    """The text with other fractions, sides and spaces: mostly what the judge does not look at, not always."""
    text = text.replace(r"\frac", draw(st.sampled_from([r"\frac", r"\dfrac", r"\tfrac"])))
    if draw(st.booleans()):
        text = re.sub(r"\\left|\\right", "", text) if r"\left" in text else re.sub(r"\(", r"\\left(", text)
    spaces = draw(st.sampled_from(["keep", "none", "some"]))
    if spaces == "none":
        return text.replace(" ", "")
    if spaces == "some":
        at = draw(st.sets(st.integers(0, len(text)), max_size=3))
        return "".join((" " if place in at else "") + sign for place, sign in enumerate(text))
    return text


LETTERS = [
    form % letter
    for letter in "ABCDEFGHJZ"
    for form in ("%s", "(%s)", r"\text{%s}", r"\text{(%s)}", r"\textbf{(%s)}", r"\mathrm{%s}", r"\mathbf{(%s)}")
]

SLOW = [
    "(10^9)!",
    "9^{9^9}",
    "9^{9^{9^{9^9}}}",
    "2^{2^{2^{2^{2^2}}}}",
    r"\sum_{k=1}^{1000000000} k^k",
    r"\sum_{k=1}^{10^9} \frac{1}{k^2+1}",
    r"\prod_{n=1}^{10^9} (n + \sqrt{n})",
    "1+" * 20_000 + "1",
    "(" * 3_000 + "1" + ")" * 3_000,
    "(" * 300 + "x" + ")^2" * 300,
    r"\frac{1}{" * 400 + "2" + "}" * 400,
    r"\sqrt{" * 500 + "2" + "}" * 500,
    "x^{" * 400 + "2" + "}" * 400,
    r"\int_0^1 \frac{\sin(x^{x^x})}{\log(x+2)^{x}} dx",
    r"\binom{10^9}{5 \cdot 10^8}",
    r"\begin{pmatrix}" + r"\\".join(["&".join(["x+y"] * 30)] * 30) + r"\end{pmatrix}^{100}",
    "(a+b+c+d+e+f+g+h)^{60}",
    r"\gcd(10^{10^8}, 3)",
    r"\sin(10^{10^{10}})",
    "-" * 5_000 + "1",
]
BROKEN = [
    *("\x00", "5\x005", "\ud800", "\udfff\ud800", "5\u202e", "\U0001d7d3", "\ufeff5", "5\r\n", "\x1b[31m5"),
    *("{" * 50, "}" * 50, r"\frac{1}{", r"\frac", r"\frac{}{}", r"\sqrt{", r"\left(", r"\left( 1, 2 \right"),
    *(r"\begin{pmatrix} 1", "$", "$$", "$$$", "\\", "\\\\", r"\text{", "^", "_", "5^", "5_", "&", "#", "%", "~"),
    *("=", "==", "<", "1=", ",", ";", "1,,2", "()", "[]", "{}", r"\{\}", r"\infty", r"-\infty", r"\frac{1}{0}"),
    *(r"\frac{0}{0}", "nan", "inf", "zoo", "oo", "None", "True", "0/0", "9" * 1_000_000, "0." + "3" * 100_000),
    *("\\" * 10_000, "x" * 50_000, " " * 100_000, "é" * 10_000, "5" + "\n" * 10_000),
]
INJECTIONS = [
    "__import__('os').system('touch {path}')",
    r"\text{{__import__('os').system('touch {path}')}}",
    r"$__import__(\'os\').system(\'touch {path}\')$",
    "exec(\"open('{path}', 'w')\")",
    "eval(compile(\"open('{path}', 'w')\", '', 'exec'))",
    r"\operatorname{{eval}}(open('{path}', 'w'))",
    r"\operatorname{{exec}}(1)",
    r"\mathrm{{__import__}}(x)",
    r"\input{{{path}}} \write18{{touch {path}}}",
    r"\immediate\write18{{touch {path}}}",
    "(1).__class__.__base__.__subclasses__()",
    "().__class__.__mro__[1].__subclasses__()",
    "lambda: open('{path}', 'w')",
    "[x for x in ().__class__.__bases__]",
    "{{}}.__class__",
    "Symbol('x').__class__.__init__.__globals__",
    'f\'{{open("{path}", "w")}}\'',
    "1; import os; os.system('touch {path}')",
    "1\nimport os\nos.system('touch {path}')",
    "a_{{__import__('os').system('touch {path}')}}",
    "x = open('{path}', 'w')",
    "5 if open('{path}', 'w') else 6",
    "@open('{path}', 'w')",
    "print(open('{path}', 'w'))",
    "1 + breakpoint()",
]
