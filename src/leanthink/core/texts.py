r"""Texts of others where people read them: in a terminal, a picture, a page; never markup or TeX."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 200
"""The most characters of a label; what is longer ends in an ellipsis."""


def printable(text: str) -> str:
    r"""A text whose signs can all be seen; line ends and tabs stay, any other control sign is written out.

    >>> print(printable("a\x1b]0;owned\x07"))
    a\x1b]0;owned\x07
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else ascii(sign)[1:-1] for sign in text)


def as_label(text: object, most: int = LONGEST) -> str:
    r"""A text on one line, of ``most`` characters.

    >>> as_label("a\nb"), as_label("abcd", 3)
    ('a b', 'ab…')
    """
    whole = str(text)
    shown = printable(" ".join(whole[: 4 * most].split()))
    return shown if len(shown) <= most and len(whole) <= 4 * most else shown[: most - 1] + "…"


def without_tex(text: str) -> str:
    r"""A label that matplotlib draws as it stands, in its legend too.

    >>> print(without_tex("$a$"), without_tex("_b"))
    \$a\$  _b
    """
    return ("\N{SPACE}" if text.startswith("_") else "") + text.replace("$", r"\$")
