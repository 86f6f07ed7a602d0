r"""Text of others as files can hold it, and as people read it in a terminal, a picture or a page.

JSON may bring half of a surrogate pair, which is no text and has no UTF-8. What is shown is never markup, TeX or a
control sequence.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final

REPLACEMENT: Final = "\ufffd"

LONGEST: Final = 200
"""The most characters of a label; what is longer ends in an ellipsis."""

_HALVES = re.compile("[\ud800-\udfff]")


def storable(value: Any) -> tuple[Any, int]:
    r"""A value whose texts, in lists and mappings too, can be written, and how many signs were replaced for that.

    Each half of a surrogate pair becomes U+FFFD, as in browsers; a value without one is returned itself.

    >>> storable(["x \ud835", {"y": 1}])
    (['x �', {'y': 1}], 1)
    """
    if isinstance(value, str):
        return _HALVES.subn(REPLACEMENT, value) if _HALVES.search(value) else (value, 0)
    if isinstance(value, Mapping):
        pairs = [(storable(key), storable(below)) for key, below in value.items()]
        count = sum(key[1] + below[1] for key, below in pairs)
        return ({key[0]: below[0] for key, below in pairs}, count) if count else (value, 0)
    if isinstance(value, list | tuple):
        items = [storable(below) for below in value]
        count = sum(item[1] for item in items)
        return ([item[0] for item in items], count) if count else (value, 0)
    return value, 0


def first_unstorable(rows: Any) -> int | None:
    """The place of the first row, from 0, that holds a text that cannot be written; None where all can."""
    return next((place for place, row in enumerate(rows) if storable(row)[1]), None)


def printable(text: str, *, halves: bool = False) -> str:
    r"""A text whose signs can all be seen; line ends and tabs stay, any other control sign is written out.

    Half of a surrogate pair becomes U+FFFD, unless ``halves`` says to leave it to :func:`storable`, which counts them.

    >>> print(printable("a\x1b]0;owned\x07"))
    a\x1b]0;owned\x07
    """
    if text.isprintable():
        return text
    if not halves:
        text = _HALVES.sub(REPLACEMENT, text)
    kept = "".join({"\n", "\t", *_HALVES.findall(text)})
    return "".join(sign if sign.isprintable() or sign in kept else ascii(sign)[1:-1] for sign in text)


def on_one_line(text: str, *, halves: bool = False) -> str:
    r"""A text of any length without line ends, as a comment of a shell has to be; ``halves`` as for :func:`printable`.

    >>> on_one_line("say\nrm -r *")
    'say rm -r *'
    """
    return printable(" ".join(text.split()), halves=halves)


def as_label(text: object, most: int = LONGEST, *, halves: bool = False) -> str:
    r"""A text on one line, of ``most`` characters; ``halves`` as for :func:`printable`.

    >>> as_label("a\nb"), as_label("abcd", 3)
    ('a b', 'ab…')
    """
    whole = str(text)
    shown = on_one_line(whole[: 4 * most], halves=halves)
    return shown if len(shown) <= most and len(whole) <= 4 * most else shown[: most - 1] + "…"


def shortened(text: str, most: int = 20 * LONGEST) -> str:
    """A text of up to ``most`` characters; of a longer one its beginning and its end.

    >>> shortened("abcdefghij", 7)
    'ab … ij'
    """
    if len(text) <= most:
        return text
    kept = (most - 3) // 2
    return f"{text[:kept]} … {text[-kept:]}"


def listed(names: Iterable[object]) -> str:
    r"""Names that somebody else chose, in one line of an error.

    >>> listed(["group", "le\ngth"])
    'group, le gth'
    """
    return ", ".join(map(as_label, names))


def without_tex(text: str) -> str:
    r"""A label that matplotlib draws as it stands, in its legend too.

    >>> print(without_tex("$a$"), without_tex("_b"))
    \$a\$  _b
    """
    return ("\N{SPACE}" if text.startswith("_") else "") + text.replace("$", r"\$")


def quoted(word: str) -> str:
    """A word of a command for bash and zsh; control signs are written out, so that a terminal shows them, too."""
    if all(sign.isprintable() or sign == "\n" for sign in word):
        return shlex.quote(word)
    inner = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(_written(sign) for sign in inner) + "'"


def _written(sign: str) -> str:
    if sign.isprintable():
        return sign
    return "".join(f"\\x{byte:02x}" for byte in sign.encode("utf-8"))
