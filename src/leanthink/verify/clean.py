r"""What answers are written with, made the same: signs of Unicode, markup and sizes go, before anything is read.

Only spelling is touched here, never meaning: `½` becomes `\frac{1}{2}`, `\large 4` becomes `4`, `\left(` becomes `(`.
"""

# ruff: noqa: RUF001 (the signs are the point)

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

LONGEST: Final = 2_000  # characters; a longer answer is not read

_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_NOTHING = dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065), 0xFE0F, 0xFEFF])
_SPACES = dict.fromkeys([0x09, 0x0A, 0x0D, 0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
_DASHES = dict.fromkeys([0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2015, 0x2212, 0xFE63], "-")
_SIGNS = {
    "×": r"\times ", "✕": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "•": r"\cdot ", "÷": "/",
    "∕": "/", "⁄": "/", "∗": "*", "°": r"^\circ ", "º": r"^\circ ", "∘": r"\circ ", "℃": r"^\circ C", "℉": r"^\circ F",
    "∞": r"\infty ", "√": r"\sqrt ", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]", "≤": r"\le ", "≦": r"\le ", "⩽": r"\le ",
    "≥": r"\ge ", "≧": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "≃": r"\approx ", "≅": r"\cong ",
    "≡": r"\equiv ", "∈": r"\in ", "∉": r"\notin ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ", "⊂": r"\subset ",
    "±": r"\pm ", "∓": r"\mp ", "∑": r"\sum ", "∏": r"\prod ", "∫": r"\int ", "∧": r"\wedge ", "∨": r"\vee ",
    "→": r"\to ", "′": "'", "’": "'", "‘": "'", "″": "''", "“": '"', "”": '"', "∠": r"\angle ", "△": r"\triangle ",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "∣": "|", "，": ",", "。": ".", "、": ",",
    "π": r"\pi ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "…": r"\ldots ",
    "％": "%", "〈": r"\langle ", "〉": r"\rangle ", "⟨": r"\langle ", "⟩": r"\rangle ",
}  # fmt: skip
for _sign in "αβγδεζηθικλμνξοπρστυφχψω":
    _name = unicodedata.name(_sign).split()[-1].lower().replace("lamda", "lambda")
    _SIGNS |= {_sign: f"\\{_name} ", _sign.upper(): f"\\{_name.title()} "}
_SIGNS |= {"ϵ": r"\epsilon ", "ϕ": r"\phi ", "ϑ": r"\theta ", "µ": r"\mu "}
_TABLE: Final = {**_FULL_WIDTH, **_NOTHING, **_SPACES, **_DASHES, **{ord(sign): text for sign, text in _SIGNS.items()}}
_KEPT: Final = dict.fromkeys(map(ord, "\t\n\r•…→′″’‘“”∠△，。、"))  # in running text these are no part of a formula
_IN_TEXT: Final = {code: sign for code, sign in _TABLE.items() if code not in _KEPT}
_RAISED: Final = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ", "0123456789+-()ni", strict=True))
_LOWERED: Final = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙ", "0123456789+-()n", strict=True))
_FRACTIONS: Final = {  # `½` is made of 1, a fraction slash and 2
    sign: unicodedata.normalize("NFKC", sign).split("\u2044") for sign in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
}
_RAISED_RUN = re.compile(f"[{''.join(_RAISED)}]+")
_LOWERED_RUN = re.compile(f"[{''.join(_LOWERED)}]+")
_FRACTION_SIGN = re.compile(f"[{''.join(_FRACTIONS)}]")
_ROOT_SIGN = re.compile(r"(\\sqrt(?:\[\d\])?) *(\d+(?:\.\d+)?)")

_SIZES = re.compile(
    r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|scriptstyle|limits|nolimits|tiny|small|normalsize|large|"
    r"Large|LARGE|huge|Huge|bf|rm|it|centering|boldmath)(?![A-Za-z])"
)
_DRESS = re.compile(
    r"\\(?:boldsymbol|mathbf|bm|pmb|mathit|mathsf|mathtt|mathnormal|underline|uline|emph|boxed|fbox|ensuremath|"
    r"mathop|vphantom|smash|Large|large)\s*(?=\{)"
)
_COLOUR = re.compile(r"\\(?:text)?color\s*(?:\[[^\[\]]*\])?\s*\{[^{}]*\}|\\(?:cellcolor|colorbox)\s*\{[^{}]*\}")
_SPACE_COMMANDS = re.compile(r"(?<!\\)\\(?:quad|qquad|enspace|thinspace|space|hspace\*?\s*\{[^{}]*\}|[;: >])|~")
_FRACTION_NAMES = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_UPRIGHT = re.compile(
    r"\\math(?:rm|bf)\s*\{\s*(?:([A-Za-z]|[^A-Za-z{}\\]+)|((?:[A-Za-z /]|\\,|\\ )+|\([A-Za-z]\)))\s*\}"
)
_RAISED_PRIMES = re.compile(r"\^\s*(?:\{\s*(?:'\s*)+\}|')")
_DEGREES = re.compile(r"\^\s*\{\s*\\(?:circ|deg|degree)\s*\}|\^?\s*\\(?:deg|degree|textdegree)(?![A-Za-z])")
_SYSTEM = (
    re.compile(
        r"(?:\\\{\s*)?\\begin\s*\{(cases|aligned|align\*?|gathered|split)\}"
        r"|\\\{\s*\\begin\s*\{(array)\}\s*\{[^{}]*\}"
    ),
    re.compile(r"\\end\s*\{(cases|aligned|align\*?|gathered|split)\}|\\end\s*\{(array)\}\s*\.?"),
)
_ARRAY = re.compile(r"\\(begin|end)\s*\{(?:array|smallmatrix)\}(?:\s*\{[^{}]*\})?")
_BRACKETED = re.compile(r"[(\[]\s*\\begin\s*\{(matrix)\}"), re.compile(r"\\end\s*\{(matrix)\}\s*[)\]]")
_TIMES_TEN = re.compile(r"(?<=\d) ?[xX] ?10 ?\^")
_CODE_SIGN = {">=": r"\ge ", "<=": r"\le ", "!=": r"\ne ", "==": "=", "=>": r"\to "}
_CODE_SIGNS = re.compile(r">=|<=| != |==|=>")
_NAMES = {
    "leq": "le", "leqslant": "le", "geq": "ge", "geqslant": "ge", "neq": "ne", "lt": "<", "gt": ">", "ast": "*",
    "lbrace": "{", "rbrace": "}", "lbrack": "[", "rbrack": "]", "varnothing": "emptyset", "rightarrow": "to",
    "land": "wedge", "lor": "vee", "varphi": "phi", "varepsilon": "epsilon", "vartheta": "theta", "dbinom": "binom",
    "tbinom": "binom", "dots": "ldots", "cdots": "ldots", "vert": "|", "lvert": "|", "rvert": "|", "mid": "|",
    "imath": "i", "colon": ":", "textrm": "text", "textit": "text",
    "textbf": "text", "mbox": "text", "hbox": "text", "textnormal": "text", "textsf": "text", "texttt": "text",
}  # fmt: skip
_RENAMED = re.compile(rf"\\({'|'.join(_NAMES)})(?![A-Za-z])")
_PLAIN_RENAMED = {"<", ">", "*", "[", "]", "|", ":", "i"}
_INNER_MATHS = re.compile(r"(?<!\\)\$(?=\S)([^$]*[^\s$\\])\$(?!\d)")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_MARKS = (('"', '"'), ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("__", "__"), ("`", "`"))


@lru_cache(maxsize=16_384)
def clean(text: str) -> str:
    r"""The text in ASCII and plain LaTeX, without what only changes how it looks.

    >>> clean("$\\large\\boldsymbol{4}$."), clean("x² ≤ ½"), clean(r"\left( 1, \dfrac{1}{2} \right)")
    ('4', 'x^{2} \\le \\frac{1}{2}', '( 1, \\frac{1}{2} )')
    """
    if not text.isascii():
        text = _from_unicode(text)
    if text.count("$") > 2:
        text = _INNER_MATHS.sub(r" \1 ", text)
    text = " ".join(text.split()).strip()
    if "\\" in text:
        text = _FRACTION_NAMES.sub(r"\\frac", _SIZES.sub(" ", _COLOUR.sub("", text)))
        text = _SPACE_COMMANDS.sub(" ", _RENAMED.sub(_renamed, _DRESS.sub("", text)))
        text = re.sub(r"\\operatorname\*?\s*\{\s*([A-Za-z]+)\s*\}", r"\\\1 ", text)
        text = _DEGREES.sub(r"^\\circ ", text)
        text = _UPRIGHT.sub(_upright, text)
        text = re.sub(r"\\prime(?![A-Za-z])", "'", text)
        text = _RAISED_PRIMES.sub(lambda found: "'" * found[0].count("'"), text)
        if "\\begin" in text:
            text = _ARRAY.sub(r"\\\1{matrix}", _rewritten(text, *_SYSTEM, _listed))
            text = _rewritten(text, *_BRACKETED, lambda inner: rf"\begin{{pmatrix}}{inner}\end{{pmatrix}}")
    if "10" in text:
        text = _TIMES_TEN.sub(r"\\times 10^", text)
    if ">" in text or "<" in text or "=" in text:
        text = _CODE_SIGNS.sub(lambda found: _CODE_SIGN[found[0].strip()], text)
    text = text.replace("~", " ").replace("{:}", ":")
    return unwrapped(" ".join(text.split()))


def unwrapped(text: str) -> str:
    r"""The text without a full stop at its end and the marks of maths, bold or braces around all of it.

    >>> unwrapped("**$4$**."), unwrapped("{4}"), unwrapped("{4}{5}")
    ('4', '4', '{4}{5}')
    """
    begin, end, before = 0, len(text), None
    closes = _closed(text) if "{" in text else {}
    while before != (begin, end):
        before = (begin, end)
        begin, end = _stripped(text, begin, end)
        if text.endswith((".", ",", ";"), begin, end) and not text.endswith(("..", "m."), begin, end):
            _, end = _stripped(text, begin, end - 1)
        while end > begin and text[end - 1] in "\\ ":
            end -= 1
        for left, right in _MARKS:
            inner = begin + len(left), end - len(right)
            marked = text.startswith(left, begin, end) and text.endswith(right, begin, end) and inner[0] < inner[1]
            if marked and text.find(left, *inner) < 0 and text.find(right, *inner) < 0:
                begin, end = inner
        if end > begin and closes.get(begin) == end - 1:
            begin, end = begin + 1, end - 1
    return text[begin:end]


def _stripped(text: str, begin: int, end: int) -> tuple[int, int]:
    """The part of a text from ``begin`` to ``end``, without white space around it."""
    while begin < end and text[begin].isspace():
        begin += 1
    while begin < end and text[end - 1].isspace():
        end -= 1
    return begin, end


def _closed(text: str) -> dict[int, int]:
    r"""Where each brace that closes does so; `\{` is no brace."""
    closes: dict[int, int] = {}
    opened: list[int] = []
    for found in _BRACE.finditer(text):
        if found[0] == "{":
            opened.append(found.start())
        elif found[0] == "}" and opened:
            closes[opened.pop()] = found.start()
    return closes


def closing(text: str, start: int) -> int:
    r"""Where the brace that opens at ``start`` closes; -1 where it does not. `\{` is no brace."""
    depth, place = 0, start
    while place < len(text):
        sign = text[place]
        if sign == "\\":
            place += 2
            continue
        depth += (sign == "{") - (sign == "}")
        if depth == 0:
            return place
        place += 1
    return -1


def signs_in_text(text: str) -> str:
    r"""Running text with the signs of its formulas in ASCII and LaTeX, glued as they stood; lines and quotes stay.

    >>> signs_in_text("It’s −3√2, or π/2 in cm².")
    'It’s -3\\sqrt{2}, or \\pi/2 in cm^{2}.'
    """
    if text.isascii():
        return text
    return _GLUED.sub(r"\1", _from_unicode(_SPACED_DEGREE.sub(r"\1", text), _IN_TEXT))


_SPACED_DEGREE = re.compile(r"(?<=\d)[ \xa0]([°º℃℉])")
_GLUED = re.compile(r"(\\[A-Za-z]+) (?![A-Za-z ])")


def _from_unicode(text: str, table: Mapping[int, str | None] = _TABLE) -> str:
    text = _FRACTION_SIGN.sub(lambda found: " \\frac{{{}}}{{{}}}".format(*_FRACTIONS[found[0]]), text)
    text = _RAISED_RUN.sub(lambda found: "^{" + "".join(map(_RAISED.__getitem__, found[0])) + "}", text)
    text = _LOWERED_RUN.sub(lambda found: "_{" + "".join(map(_LOWERED.__getitem__, found[0])) + "}", text)
    rooted = "√" in text or "∛" in text or "∜" in text
    text = text.translate(table)
    return _ROOT_SIGN.sub(r"\1{\2}", text) if rooted else text


def _renamed(found: re.Match[str]) -> str:
    name = _NAMES[found[1]]
    return f" {name} " if name in _PLAIN_RENAMED else f"\\{name}" + (" " if name.isalpha() and name != "text" else "")


def _rewritten(text: str, begins: re.Pattern[str], ends: re.Pattern[str], write: Callable[[str], str]) -> str:
    """What stands from each beginning to the last end of its kind, written anew; looked for once, not at each."""
    last = {found[found.lastindex or 0]: found for found in ends.finditer(text)}
    pieces, place = [], 0
    for found in begins.finditer(text) if last else ():
        end = last.get(found[found.lastindex or 0])
        if end is not None and place <= found.start() and found.end() <= end.start():
            pieces += [text[place : found.start()], write(text[found.end() : end.start()])]
            place = end.end()
    return "".join([*pieces, text[place:]])


def _listed(lines: str) -> str:
    """The lines of a system, one after the other."""
    return lines.replace("\\\\", ", ").replace("&", "").strip(", ")


def _upright(found: re.Match[str]) -> str:
    words = re.sub(r"\\[, ]", " ", found[2] or "")
    return found[1] or rf"\text{{{words}}}"
