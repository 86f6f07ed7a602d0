r"""A formula as a tree, by a grammar of our own: LaTeX, plain text and code, and nothing that only looks like them.

Letters keep their case, their index and their primes: `R`, `r`, `r_0` and `r'` are four names. A letter before a
parenthesis is a factor, unless it is f, g or h. The trees are those of `leanthink.verify.trees`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Final

from leanthink.verify.tokens import Cursor, Token, Unreadable, tokens_of
from leanthink.verify.trees import FUNCTIONS, TRIG, Tree, num
from leanthink.verify.words import GLUED, GREEK

_ALIASES: Final = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "ceiling": "ceil", "tg": "tan", "ctg": "cot"}
_BIG: Final = {"sum", "prod", "int", "iint", "iiint", "oint", "lim", "limsup", "liminf", "coprod", "bigcup", "bigcap"}
_LETTERS: Final = ("theta", "alpha", "beta", "gamma", "omega", "lambda", "phi")  # by name also without a backslash
_OPEN: Final = {"(": ")", "[": "]", "\\{": "\\}", "{": "}"}
_DEPTH: Final = 40


class Parser(Cursor):
    """One pass over the pieces of a formula; every step forward is a token, so it ends."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        super().__init__(tokens)
        self._depth = 0
        self._bars = False  # whether the innermost bracket is an open bar

    def whole(self) -> Tree:
        """The formula that all the pieces make up."""
        tree = self.sum()
        if self._place < len(self._tokens):
            raise Unreadable(f"{self._peek().text!a} after a formula")
        return tree

    def sum(self) -> Tree:
        """Terms with signs between them."""
        self._depth += 1
        if self._depth > _DEPTH:
            raise Unreadable("nested too deep")
        terms: list[Tree] = []
        while True:
            wrap: list[str] = []
            while (sign := self._peek().text) in ("+", "-", "\\pm", "\\mp") and self._peek().kind != "prose":
                self._place += 1
                if len(wrap) > 8:
                    raise Unreadable("too many signs")
                if sign != "+":
                    wrap.append("neg" if sign == "-" else "pm" if sign == "\\pm" else "mp")
            term = self._product()
            for name in reversed(wrap):
                term = ("neg", term) if name == "neg" else ("pm", term if name == "pm" else ("neg", term))
            terms.append(term)
            if self._peek().text not in ("+", "-", "\\pm", "\\mp"):
                break
        self._depth -= 1
        return terms[0] if len(terms) == 1 else ("add", *terms)

    def _product(self) -> Tree:
        factors, ratio = [self._power()], False
        while True:
            token = self._peek()
            if token.text in ("*", "\\cdot", "\\times") and token.kind != "prose":
                self._place += 1
                self._take("*")  # the power of code is met in _power
                factors.append(self._signed_power())
            elif token.text in ("/", "\\div", ":") and token.kind != "prose":
                if ratio and token.text == ":":
                    raise Unreadable("a ratio of three terms in a formula")
                ratio = ratio or token.text == ":"
                self._place += 1
                factors = [("div", _product_of(factors), self._signed_power())]
            elif self._starts_factor():
                if token.kind == "number":
                    before = self._tokens[self._place - 1]
                    if before.kind == "number" or (before.text == "}" and factors[-1][0] == "num"):
                        raise Unreadable("two numbers side by side")
                factors.append(self._power())
            else:
                return _product_of(factors)

    def _signed_power(self) -> Tree:
        if self._take("-"):
            return ("neg", self._signed_power())
        if self._take("+"):
            return self._signed_power()
        return self._power()

    def _starts_factor(self) -> bool:
        token = self._peek()
        if token.kind in ("number", "word"):
            return True
        if token.kind == "sign":
            return token.text in "([{" or (token.text == "|" and not self._bars)
        return token.kind == "command" and (
            token.text in ("\\{", "\\lfloor", "\\lceil", "\\frac", "\\sqrt", "\\binom", "\\infty", "\\pi", "\\overline")
            or (name := token.text[1:]) in FUNCTIONS
            or name in GREEK
            or name in _BIG
            or name in _ALIASES
            or name in ("mathbb", "vec", "hat", "bar", "tilde", "mathcal", "overrightarrow", "angle", "triangle")
        )

    def _power(self) -> Tree:
        self._depth += 1
        if self._depth > _DEPTH:
            raise Unreadable("nested too deep")
        base = self._atom()
        while True:
            token = self._peek()
            if token.text == "!" and token.kind == "sign":
                self._place += 1
                base = ("fact", base)
            elif token.text == "'" and token.kind == "sign":
                self._place += 1
                if base[0] != "sym":
                    raise Unreadable("prime")
                base = ("sym", base[1] + "'")
            elif token.text == "\\%" or (token.text == "%" and token.kind == "sign"):
                self._place += 1
                base = ("div", base, num(100))
            elif token.text == "^" or (token.text == "*" and self._peek(1).text == "*" and not self._peek(1).spaced):
                self._place += 1 if token.text == "^" else 2
                if self._take("\\circ"):
                    base = ("deg", base)
                    continue
                base = ("pow", base, self._argument(whole_number=True))
            else:
                self._depth -= 1
                return base

    def _argument(self, *, whole_number: bool = False) -> Tree:
        """What a command takes: a group, or the next sign; of a number its first digit, except as an exponent."""
        if self._take("{"):
            tree = self.sum()
            self._expect("}")
            return tree
        if whole_number and self._take("-"):
            return ("neg", self._argument(whole_number=True))
        if whole_number and self._take("+"):
            return self._argument(whole_number=True)
        token = self._peek()
        if token.kind == "number" and not whole_number and len(token.text) > 1:
            if not token.text.isdigit():
                raise Unreadable("number without braces")
            self._tokens[self._place] = Token(
                "number", token.text[1:], False, Fraction(int(token.text[1:])), 0, "integer"
            )
            return num(int(token.text[0]))
        return self._atom()

    def _atom(self) -> Tree:
        token = self._next()
        if token.kind == "number":
            return self._after_number(token)
        if token.kind == "word":
            return self._letters(token)
        if token.kind == "sign" and token.text in "([{":
            return self._inside(_OPEN[token.text])
        if token.text == "|" and token.kind == "sign":
            return self._absolute()
        if token.kind == "command":
            return self._command(token.text[1:])
        raise Unreadable(f"{token.text!a}" if token.kind != "end" else "an end too early")

    def _inside(self, close: str) -> Tree:
        bars, self._bars = self._bars, False
        tree = self.sum()
        if self._take("\\choose"):
            tree = ("fn", "binom", tree, self.sum())
        self._bars = bars
        self._expect(close)
        return tree

    def _absolute(self) -> Tree:
        bars, self._bars = self._bars, True
        tree = self.sum()
        self._bars = bars
        self._expect("|")
        return ("fn", "abs", tree)

    def _after_number(self, token: Token) -> Tree:
        tree: Tree = ("num", token.value, token.places, token.style)
        following = self._peek()
        if following.text == "_":
            raise Unreadable("a number with an index")
        if token.style != "integer" or not (
            following.text == "\\frac" or (following.kind == "number" and following.spaced)
        ):
            return tree
        start, tokens = self._place, list(self._tokens)
        part = self._plain_fraction() if following.kind == "number" else self._stacked_fraction()
        if part is not None and 0 < part[0] < part[1]:
            return ("mixed", token.value, *part)
        self._place, self._tokens = start, tokens
        return tree

    def _plain_fraction(self) -> tuple[Fraction, Fraction] | None:
        """`1/2` behind a whole number and a space: a mixed number's."""
        over, slash, under = self._next(), self._next(), self._next()
        plain = slash.text == "/" and over.style == under.style == "integer" and under.kind == "number"
        return (over.value, under.value) if plain else None

    def _stacked_fraction(self) -> tuple[Fraction, Fraction] | None:
        r"""`\frac{1}{2}` behind a whole number: a mixed number's, where both parts are whole."""
        self._place += 1
        over, under = self._argument(), self._argument()
        plain = over[0] == under[0] == "num" and over[3] == under[3] == "integer"
        return (over[1], under[1]) if plain else None

    def _letters(self, token: Token) -> Tree:
        name = _ALIASES.get(token.text, token.text)
        if name not in FUNCTIONS and (glued := GLUED.fullmatch(name)):  # sinx
            self._place -= 1
            self._tokens[self._place] = Token("word", glued[2])
            return self._command(glued[1])
        if name in FUNCTIONS or name == "sqrt" or name == "frac":
            return self._command(name)
        if name in ("pi", *_LETTERS):
            return self._symbol(name if name == "pi" else f"\\{name}")
        if name in ("infinity", "inf", "oo"):
            return self._symbol("infty")
        first, rest = name[0], name[1:]
        if rest:  # the other letters are factors of their own
            self._place -= 1
            self._tokens[self._place] = Token("word", rest)
        return self._symbol(first)

    def _symbol(self, name: str) -> Tree:
        """A letter with its index and primes, and what it is applied to where it is a function's name."""
        primes = ""
        while self._take("'"):
            primes += "'"
        index = ""
        if self._take("_"):
            index = "_" + self._index()
        while self._take("'"):
            primes += "'"
        if not index and not primes:
            if name in ("pi", "e", "i"):
                return (name,)
            if name == "infty":
                return ("oo",)
        if name in ("f", "g", "h") and self._peek().text == "(" and not self._peek().spaced:
            return ("fn", f"{name}{index}{primes}()", *self._arguments())
        return ("sym", f"{name}{index}{primes}")

    def _index(self) -> str:
        if not self._take("{"):
            token = self._next()
            if token.kind not in ("number", "word", "command", "prose"):
                raise Unreadable("an index")
            if token.kind == "word" and len(token.text) > 1:
                self._place -= 1
                self._tokens[self._place] = Token("word", token.text[1:])
                return token.text[0]
            return token.text
        depth, pieces = 1, []
        while depth:
            token = self._next()
            if token.kind == "end":
                raise Unreadable("an index without an end")
            depth += (token.text == "{") - (token.text == "}")
            if token.text not in ("{", "}", "\\mathrm", "\\text") and depth:
                pieces.append(token.text)
        return "".join(pieces)

    def _arguments(self) -> list[Tree]:
        self._expect("(")
        arguments = [self.sum()]
        while self._take(","):
            arguments.append(self.sum())
        self._expect(")")
        return arguments

    def _command(self, name: str) -> Tree:
        name = _ALIASES.get(name, name)
        if name == "frac":
            return self._fraction()
        if name == "sqrt":
            order: Tree = num(2)
            if self._take("["):
                order = self.sum()
                self._expect("]")
            if self._peek().text == "(":
                return ("root", self._atom(), order)
            return ("root", self._argument(), order)
        if name in ("{", "lfloor", "lceil"):
            tree = self._inside({"{": "\\}", "lfloor": "\\rfloor", "lceil": "\\rceil"}[name])
            return tree if name == "{" else ("fn", "floor" if name == "lfloor" else "ceil", tree)
        if name == "binom" and self._peek().text != "(":
            return ("fn", "binom", self._argument(), self._argument())
        if name in _BIG:
            return self._big(name)
        if name in FUNCTIONS:
            return self._function(name)
        if name in GREEK or name in ("pi", "infty"):
            return self._symbol(name if name in ("pi", "infty") else f"\\{name}")
        if name in ("overline", "vec", "hat", "bar", "tilde", "mathbb", "mathcal", "overrightarrow", "widehat"):
            return ("sym", f"\\{name}_{self._index()}")
        if name in ("angle", "triangle"):
            return ("sym", f"\\{name}_{self._next().text}")
        raise Unreadable(f"command {name!a}")

    def _fraction(self) -> Tree:
        start = self._place
        if (where := _derivative(self._tokens[start : start + 12])) is not None:
            self._place += where
            return self._big("d")
        return ("div", self._argument(), self._argument())

    def _big(self, name: str) -> Tree:
        """Everything up to where the surrounding bracket closes: it is not calculated here."""
        depth = 0
        pieces: list[str] = []
        while self._peek().kind != "end":
            token = self._peek()
            opens, closes = token.text in _OPEN, token.text in _OPEN.values()
            if not depth and (closes or (token.text in (",", "=") and token.kind == "sign")):
                break
            depth += (opens and token.kind != "prose") - (closes and token.kind != "prose")
            pieces.append(token.text)
            self._place += 1
        if not pieces:
            raise Unreadable(f"{name} of nothing")
        return ("big", name, " ".join(pieces))

    def _function(self, name: str) -> Tree:
        base, exponent = None, None
        while (token := self._peek()).text in ("_", "^") and token.kind == "sign":
            self._place += 1
            argument = self._argument(whole_number=True)
            if token.text == "_":
                base = argument
            else:
                exponent = argument
        if name == "log" and base is None and self._peek(1).text == "(" and self._peek().text in ("2", "10"):
            base = num(int(self._next().text))  # log10(x)
        extra = [] if base is None else [base]
        if self._peek().text == "(":
            arguments = self._arguments()
        elif self._peek().text == "{":
            arguments = [self._argument()]
        elif self._take("["):
            arguments = [self._inside("]")]
        else:
            arguments = [self._bare_argument()]
        if exponent == ("neg", num(1)) and name in TRIG:
            return ("fn", f"arc{name}", *arguments)
        tree: Tree = ("fn", name, *arguments, *extra)
        if name == "exp" and len(arguments) == 1:
            tree = ("pow", ("e",), arguments[0])
        return tree if exponent is None else ("pow", tree, exponent)

    def _bare_argument(self) -> Tree:
        r"""`\sin 2x`: factors without a sign between them, up to the next function."""
        if self._take("-"):
            return ("neg", self._bare_argument())
        factors = [self._power()]
        while self._starts_factor():
            token = self._peek()
            name = _ALIASES.get(token.text.lstrip("\\"), token.text.lstrip("\\"))
            if name in FUNCTIONS or name in _BIG or token.text in ("(", "[", "|") or token.kind == "number":
                break
            factors.append(self._power())
        while self._peek().text == "/" and self._peek().kind == "sign":
            self._place += 1
            factors = [("div", _product_of(factors), self._power())]
        return _product_of(factors)


def _product_of(factors: Sequence[Tree]) -> Tree:
    return factors[0] if len(factors) == 1 else ("mul", *factors)


def _derivative(tokens: Sequence[Token]) -> int | None:
    r"""How many tokens `{d}{dx}` takes after `\frac`, where that stands there."""
    texts = [token.text for token in tokens]
    if texts[:1] + texts[2:4] != ["{", "}", "{"] or texts[1] not in ("d", "\\partial") or len(texts) < 6:
        return None
    return texts.index("}", 4) + 1 if texts[4].startswith(("d", "\\partial")) and "}" in texts[4:] else None


@lru_cache(maxsize=16_384)
def parse(text: str, commas: bool = True) -> Tree:
    r"""The tree of a clean formula.

    >>> parse("x_1 + 2") == ("add", ("sym", "x_1"), num(2))
    True
    >>> parse(r"\frac12") == ("div", num(1), num(2))
    True

    Raises:
        Unreadable: it is none.
    """
    return Parser(tokens_of(text, commas=commas)).whole()
